"""Two endpoints over the simulated network, and a judge who looks at every packet and event and knows the rules.

What the judge knows of the links he takes from the packets themselves and from what was sent, not from the links.
"""

from collections import defaultdict, deque
from dataclasses import replace
from itertools import permutations

from manifold.core.flow import frame_cost
from manifold.core.frames import Frame, decode_packet
from manifold.core.link_terms import Down, LinkFull, LinkLimits, Room, Settled, Up
from manifold.testing import Faults, Network

LIMITS = LinkLimits(
    frame_max_bytes=2_000,
    window_bytes=8_000,
    outbox_max_bytes=30_000,
    ack_delay_s=0.005,
    ack_timeout_s=0.05,
    ack_timeout_max_s=0.4,
    hello_period_s=0.02,
    ping_period_s=0.2,
    node_down_after_s=1.0,
)
OTHERS = replace(LIMITS, frame_max_bytes=1_200, window_bytes=1_600, outbox_max_bytes=60_000, ack_delay_s=0.02)
LARGER = replace(LIMITS, frame_max_bytes=9_000, window_bytes=40_000, outbox_max_bytes=20_000, drain_below=0.9)
KIND = 16
FAST, SLOW, STALLED = "fast", "slow", "stalled"


class Session:
    """What the judge knows of one link."""

    def __init__(self, me, link, limits):
        self.me, self.link, self.limits = me, link, limits
        self.sent = []  # the numbers of its frames
        self.offsets = [0]  # where each ends in the stream
        self.got = []
        self.got_bytes = self.handled_bytes = 0
        self.partner = 0
        self.acked = self.credit = 0  # as told by packets that arrived
        self.settled = self.reported = (0, 0, 0)
        self.is_over = False


class World:
    """All talk to one another, with the limits given for each; a frame holds a number that no other frame has."""

    def __init__(self, seed, faults=None, limits=None):
        limits = limits or {"a": LIMITS, "b": LIMITS}
        self.network = Network(seed, faults=faults)
        self.limits = limits
        self.frame_max_bytes = min(each.frame_max_bytes for each in limits.values())
        self.network.on_packet = self._on_packet
        self.sessions = {}
        self.partners = defaultdict(set)
        self.number = 0
        self.queues = {name: deque() for name in limits}
        self.consumers = dict.fromkeys(limits, FAST)
        self.refused = 0
        self.ups = 0
        self.downs = []
        for name, each in limits.items():
            self._watch(self.network.add(name, limits=each))
        for name in limits:
            for peer in limits:
                if name != peer:
                    self.network.endpoints[name].connect(peer)
            self.network.after(0.01, lambda name=name: self._consume(name))

    def _watch(self, endpoint):
        endpoint.on_event = lambda peer, link, event: self._on_event(endpoint.name, peer, link, event)
        receive = endpoint._receive

        def spy(peer, packet):
            link = endpoint.links.get(peer)
            if link and packet.ack and packet.receiver == link.session and packet.sender == link.peer_session:
                session = self._of(endpoint.name, link)
                session.acked = max(session.acked, packet.ack.seq)
                session.credit = max(session.credit, packet.ack.credit)
            receive(peer, packet)
            assert not endpoint.errors, endpoint.errors

        endpoint._receive = spy

    def _of(self, me, link):
        if link.session not in self.sessions:
            self.sessions[link.session] = Session(me, link, self.limits[me])
        return self.sessions[link.session]

    # What the schedule does.

    def send(self, me, peer, count, size):
        endpoint = self.network.endpoints[me]
        link = endpoint.connect(peer)
        size = min(size, self.frame_max_bytes)
        for _ in range(count):
            self.number += 1
            body = self.number.to_bytes(4, "little") + bytes(max(0, size - 4))
            session = self._of(me, link)
            assert endpoint.links[peer] is link
            session.sent.append(self.number)
            session.offsets.append(session.offsets[-1] + frame_cost(len(body)))
            try:
                endpoint.send(peer, KIND, body[:3], body[3:], tag=self.number)
            except LinkFull:
                assert link.pending_bytes >= session.limits.outbox_max_bytes
                session.sent.pop()
                session.offsets.pop()
                self.refused += 1
            self._check_bounds(session)
            if endpoint.links.get(peer) is not link:
                break  # it was found out to be down

    def run(self, for_s):
        self.network.run(for_s)
        for endpoint in self.network.endpoints.values():
            for link in endpoint.links.values():
                self._check_bounds(self._of(endpoint.name, link))

    def _check_bounds(self, session):
        limits = session.limits
        most = limits.outbox_max_bytes + frame_cost(limits.frame_max_bytes)
        assert session.link.pending_bytes < most
        assert 0 <= session.link.in_flight_bytes <= limits.window_bytes

    # What the judge sees.

    def _on_packet(self, sender, receiver, data):
        packet = decode_packet(data, self.limits[receiver].frame_max_bytes)
        if packet.frames:
            session = self.sessions[packet.sender]
            end = session.offsets[packet.first - 1 + len(packet.frames)]
            numbers = session.sent[packet.first - 1 :][: len(packet.frames)]
            assert [_number(frame) for frame in packet.frames] == numbers
            assert end <= session.credit, "credit"
            assert end - session.offsets[session.acked] <= session.limits.window_bytes, "window"
            # A session is for one session of the peer, for ever.
            self.partners[packet.sender].add(packet.receiver)
            assert len(self.partners[packet.sender]) == 1

    def _on_event(self, me, peer, link, event):
        session = self._of(me, link)
        assert not session.is_over
        if type(event) is Up:
            assert not session.partner
            assert event.hello.node == peer
            session.partner = link.peer_session
            session.credit = event.hello.limits["window_bytes"]
            self.ups += 1
        elif type(event) is Frame:
            self._on_frame(me, session, link, event)
        elif type(event) is Settled:
            self._on_settled(session, event)
        elif type(event) is Down:
            session.is_over = True
            self.downs.append(event.reason)
            assert link.abandoned() == session.sent[session.acked :]
        else:
            assert type(event) is Room
            assert link.pending_bytes < session.limits.outbox_max_bytes * session.limits.drain_below

    def _on_frame(self, me, session, link, frame):
        sender = self.sessions[session.partner]
        session.got.append(_number(frame))
        assert session.got[-1] == sender.sent[len(session.got) - 1], "lost, doubled or out of order"
        session.got_bytes += frame_cost(len(frame.body))
        assert session.got_bytes - session.handled_bytes <= session.limits.window_bytes, "backlog"
        self.queues[me].append((session, link, len(frame.body)))
        self._work(me, 10**9 if self.consumers[me] == FAST else 0)

    def _on_settled(self, session, event):
        assert all(count >= 0 for count in event)
        assert any(event)
        session.settled = tuple(map(sum, zip(session.settled, event, strict=True)))
        reported = self.sessions[session.partner].reported
        assert all(seen <= done for seen, done in zip(session.settled, reported, strict=True))

    # Those who handle what came in.

    def _consume(self, me):
        """As a node's own threads would: every 10 ms, a few."""
        self.network.after(0.01, lambda: self._consume(me))
        if not self.network.endpoints[me].is_paused:
            self._work(me, {FAST: 10**9, SLOW: 2, STALLED: 0}[self.consumers[me]])
            for peer in list(self.network.endpoints[me].links):
                self.network.endpoints[me].flush(peer)

    def _work(self, me, count):
        queue, now = self.queues[me], self.network.now
        for _ in range(min(count, len(queue))):
            session, link, size = queue.popleft()
            session.handled_bytes += frame_cost(size)
            if not session.is_over:
                outcome = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 1, 0))[size % 4]
                link.settle(*outcome, now)
                session.reported = tuple(map(sum, zip(session.reported, outcome, strict=True)))
        backlog = sum(frame_cost(size) for _, _, size in queue)
        for link in self.network.endpoints[me].links.values():
            link.backlog(backlog, now)

    # The end.

    def settle_down(self, within_s=5.0):
        """End all faults; whatever was queued must arrive, and both sides agree on what became of it."""
        self.network.faults = Faults()
        pairs = list(permutations(self.network.endpoints, 2))
        for me, peer in pairs:
            self.consumers[me] = FAST
            self.network.heal(me, peer)
            if self.network.endpoints[me].is_paused:
                self.network.endpoints[me].resume()
        end = self.network.now + within_s
        while not self.network.run_until(lambda: all(self._is_done(*pair) for pair in pairs), within_s=0.25):
            assert self.network.now < end, f"not quiet after {within_s} s: {self.network!r}, {self.downs}"
            for me, peer in pairs:  # a goodbye that was on its way may have ended what somebody wants now
                self.network.endpoints[me].connect(peer)
        self._check_end()

    def _is_done(self, me, peer):
        endpoint, other = self.network.endpoints[me], self.network.endpoints[peer]
        if not endpoint.is_quiet(peer) or not other.is_up(me) or self.queues[peer]:
            return False
        mine, theirs = endpoint.links[peer], other.links[me]
        if (mine.peer_session, theirs.peer_session) != (theirs.session, mine.session):
            return False
        return self._of(me, mine).settled == self._of(peer, theirs).reported

    def _check_end(self):
        for session in self.sessions.values():
            partner = self.sessions.get(next(iter(self.partners[session.link.session]), 0))
            got = partner.got if partner and partner.partner == session.link.session else []
            assert got == session.sent[: len(got)]
            assert session.acked <= len(got) <= len(session.sent)
            if not session.is_over:
                assert len(got) == len(session.sent)


def _number(frame):
    return int.from_bytes(frame.body[:4], "little")
