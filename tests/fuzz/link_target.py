"""Two links, from their first hello to their end, with honest packets, damaged ones and forged ones in any order.

Whatever comes in: nothing but the documented errors is raised; a packet that is refused changes nothing; states, sizes
and times stay within what the link promises; and until the first forged packet is taken, order is kept.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from manifold.core.flow import Inflow, Outflow, frame_cost
from manifold.core.frames import (
    FIRST_SEQUENCED,
    PACKET_SLACK_BYTES,
    RESET,
    Ack,
    Frame,
    FrameError,
    FrameTooLarge,
    Hello,
    decode_packet,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
)
from manifold.core.link import Link
from manifold.core.link_terms import (
    TRANSITIONS,
    Down,
    Input,
    LinkDown,
    LinkFull,
    LinkLimits,
    Refused,
    Room,
    Settled,
    State,
    Up,
)
from tests.fuzz.frames_target import a_hello
from tests.fuzz.script import Script

SMALL = LinkLimits(frame_max_bytes=300, window_bytes=1_000, outbox_max_bytes=3_000, node_down_after_s=4.0)
LARGE = LinkLimits(frame_max_bytes=5_000, window_bytes=20_000, outbox_max_bytes=9_000, drain_below=0.9)
UNEVEN = LinkLimits(frame_max_bytes=40, window_bytes=400, outbox_max_bytes=100, ack_delay_s=0.5, ping_period_s=0.3)
LIMITS = (SMALL, LARGE, UNEVEN)
KIND = 20
SIZES = (12, 13, 40, 41, 300, 301, 1_000, 5_000, 5_001)
WAITS_S = (0.0, 0.001, 0.005, 0.1, 0.3, 1.0, 3.9, 11.0)
STEPS_MAX = 200
KEPT_PACKETS = 32

# Where one call may lead: some steps through the table.
AFTER = {
    State.CONNECTING: set(State),
    State.MEETING: {State.MEETING, State.UP, State.DOWN},
    State.UP: {State.UP, State.DOWN},
    State.DOWN: {State.DOWN},
}


def run(data):
    World(Script(data)).play()


def snapshot(value):
    """Give the state of a link, down to what is in its queues, to be compared."""
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, Link | Inflow | Outflow):
        return {name: snapshot(getattr(value, name)) for name in type(value).__slots__}
    return value  # and cannot change


class Side:
    """One end, and what it was seen to do."""

    def __init__(self, name, limits, session):
        self.name = name
        self.limits = limits
        self.packets = deque(maxlen=KEPT_PACKETS)  # what it has sent, for the network to deliver, or to damage
        self.sent = {}  # by session: the numbers in the frames it sent
        self.number = 0
        self.begin(session, 0.0)

    def begin(self, session, now):
        """Start over, in a new session."""
        self.session = session
        self.link = Link(Hello(f"{self.name}@1", f"tcp://{self.name}"), session, now=now, limits=self.limits)
        self.sent[session] = []
        self.got = 0
        self.state = State.CONNECTING
        self.ups = self.downs = 0
        self.unbounded_bytes = 0

    def check(self, now):
        """Look at what must hold at any time."""
        link, limits = self.link, self.limits
        assert link.state in AFTER[self.state], (self.state, link.state)
        self.state = link.state
        assert 0 <= link.in_flight_bytes <= limits.window_bytes
        assert link.pending_bytes == sum(cost for _, cost, _ in self._waiting())
        most = limits.outbox_max_bytes + frame_cost(limits.frame_max_bytes)
        assert link.pending_bytes <= most + self.unbounded_bytes
        assert len(link.abandoned()) == link.unacked
        timeout = link.next_timeout(now)
        assert timeout is None or timeout >= 0

    def _waiting(self):
        return [*self.link._out._flight, *self.link._out._queue]


class World:
    """Both ends, the time, and what the script does to them."""

    def __init__(self, script):
        self.script = script
        self.now = 0.0
        self.next_session = 100
        self.is_forged = False
        self.sides = [Side(name, script.pick(LIMITS), self._session()) for name in "ab"]
        self.steps = (
            self.deliver, self.deliver, self.turn, self.turn, self.send, self.send, self.damage, self.forge,
            self.forge, self.wait, self.settle, self.backlog, self.noise, self.rare,
        )  # fmt: skip

    def _session(self):
        self.next_session += 1 + self.script.below(3)
        return self.next_session

    def play(self):
        for _ in range(STEPS_MAX):
            if not self.script:
                break
            choice = self.script.below(2 * len(self.steps))
            me, other = self.sides if choice % 2 else reversed(self.sides)
            self.steps[choice // 2](me, other)
            me.check(self.now)
        for me in self.sides:
            self.turn(me, None)
            me.check(self.now)

    # What an owner does.

    def turn(self, me, _):
        self.take(me, me.link.tick(self.now))
        was_up = me.link.state is State.UP
        size = self.script.pick((64 * 1024, 100, 1))
        for packet in me.link.packets_to_send(self.now, size):
            self._check_packet(me, packet, was_up)
            me.packets.append(packet)
        timeout = me.link.next_timeout(self.now)
        assert timeout is None or timeout > 0, "its owner would never rest"

    def _check_packet(self, me, data, was_up):
        packet = decode_packet(data, me.limits.frame_max_bytes)
        if was_up:
            peer_max = me.link.peer.limits["frame_max_bytes"]
            assert len(data) <= peer_max + PACKET_SLACK_BYTES
            assert all(len(frame.body) <= peer_max for frame in packet.frames)
        else:
            assert not packet.frames

    def send(self, me, _):
        size, must_fit = self.script.pick(SIZES), self.script.below(8) > 0
        kind = KIND if self.script.below(16) else self.script.below(FIRST_SEQUENCED)
        body = me.number.to_bytes(4, "little") + me.session.to_bytes(8, "little") + bytes(size - 12)
        before = snapshot(me.link)
        try:
            me.link.send(kind, [body[:5], memoryview(body)[5:]], me.number, must_fit=must_fit)
        except (LinkFull, LinkDown, FrameTooLarge, ValueError) as error:
            assert snapshot(me.link) == before
            self._check_refusal(me, error, kind, must_fit)
            return
        me.sent[me.session].append(me.number)
        me.number += 1
        me.unbounded_bytes += 0 if must_fit else frame_cost(size)

    def _check_refusal(self, me, error, kind, must_fit):
        if isinstance(error, LinkFull):
            assert must_fit and me.link.pending_bytes >= me.limits.outbox_max_bytes
        elif isinstance(error, LinkDown):
            assert me.link.state is State.DOWN
        else:
            assert isinstance(error, FrameTooLarge) or kind < FIRST_SEQUENCED

    def settle(self, me, _):
        me.link.settle(self.script.below(5), self.script.below(5), self.script.below(5), self.now)

    def backlog(self, me, _):
        me.link.backlog(me.limits.window_bytes * self.script.below(256) // 128, self.now)

    def wait(self, _, __):
        self.now += self.script.pick(WAITS_S)

    def rare(self, me, _):
        what = self.script.below(5)
        if what == 0:
            me.link.reconnected()
        elif what == 1:
            me.link.ask()
        elif what == 2:
            me.link.close("x" * self.script.below(200))
            me.downs = 1  # it needs no event: its owner did it
        elif what == 3:
            members = (("c" * 1000, "d" * 1000),) * self.script.pick((0, 1, 20, 1000))
            try:
                me.link.introduce(Hello(f"{me.name}@1", "", {}, members))
            except FrameTooLarge:
                assert len(members) == 1000
        else:
            me.begin(self._session(), self.now)

    # What comes in.

    def deliver(self, me, other):
        """A packet of the other side arrives: sooner, later, or once more."""
        if other.packets:
            at = self.script.below(len(other.packets))
            packet = other.packets[at]
            if self.script.below(4):
                del other.packets[at]
            if self.is_forged:  # what it means now is anybody's guess
                self._feed(me, packet)
            else:
                self.take(me, me.link.receive_packet(packet, self.now))

    def damage(self, me, other):
        if other.packets:
            self._feed(me, self.script.edit(self.script.pick(other.packets)))

    def noise(self, me, _):
        self._feed(me, self.script.take(self.script.below(80)))

    def forge(self, me, other):
        self._feed(me, self._forged(me, other))

    def _feed(self, me, packet):
        """A packet of nobody in his senses arrives."""
        before = snapshot(me.link)
        try:
            events = me.link.receive_packet(packet, self.now)
        except FrameError:
            assert snapshot(me.link) == before
            return
        self.is_forged = True
        self.take(me, events)

    def _forged(self, me, other):
        """Give a packet of the right form that says anything."""
        script, link = self.script, me.link
        sender = script.pick((link.peer_session, link.peer_session, other.session, me.session, script.number()))
        receiver = script.pick((me.session, me.session, 0, other.session, script.number()))
        expected = link._in.received + 1
        chunks = [self._forged_frame(me) for _ in range(script.below(5))]
        has_frames = any(chunk[0] >= FIRST_SEQUENCED for chunk in chunks)
        first = script.pick((expected, expected, 1, expected + 1, script.number())) if has_frames else 0
        return encode_packet(sender or 1, receiver, first, chunks)

    def _forged_frame(self, me):
        script, out = self.script, me.link._out
        what = script.below(8)
        if what == 0:
            return encode_hello(a_hello(script))
        if what == 1:
            return encode_ping(script.pick((0, me.link._in.received, script.number())))
        if what == 2:
            return encode_goodbye("why")
        if what == 3:
            return encode_frame_header(RESET, 0)
        if what < 6:
            seq = script.pick((out.acked, out.sent, out.sent + 1, max(0, out.sent - 1), script.number()))
            counts = (script.number() for _ in range(4))
            return encode_ack(Ack(seq, *counts, bool(script.below(2))))
        body = bytes(script.pick(SIZES))
        return encode_frame_header(FIRST_SEQUENCED + script.below(3), len(body)) + body

    # What it means.

    def take(self, me, events):
        """Look at the events of one call."""
        for event in events:
            assert not me.downs, "an event after the last"
            look = {Up: self._on_up, Frame: self._on_frame, Down: self._on_down, Refused: self._on_refused}
            look.get(type(event), partial(_on_other, self))(me, event)

    def _on_up(self, me, event):
        me.ups += 1
        assert me.ups == 1
        assert event.hello == me.link.peer

    def _on_frame(self, me, frame):
        assert me.ups
        if not self.is_forged:
            number = int.from_bytes(frame.body[:4], "little")
            session = int.from_bytes(frame.body[4:12], "little")
            assert session == me.link.peer_session
            sender = next(side for side in self.sides if side is not me)
            assert number == sender.sent[session][me.got], "lost, doubled or out of order"
        me.got += 1
        assert me.got <= me.link._in.received

    def _on_down(self, me, event):
        me.downs += 1
        assert me.link.state is State.DOWN
        assert Input(event.reason) and event.reason == me.link.reason

    def _on_refused(self, me, event):
        me.sent[me.session].remove(event.tag)


def _on_other(_, me, event):
    if type(event) is Settled:
        assert min(event) >= 0 and any(event)
    else:
        assert type(event) is Room
        assert me.link.pending_bytes < me.limits.outbox_max_bytes * me.limits.drain_below


def _closed(states):
    """Give all states that the table leads to from some, in any number of steps."""
    reached = {after for state in states for after in TRANSITIONS[state].values()} | states
    return reached if reached == states else _closed(reached)


assert {state: _closed({state}) for state in State} == AFTER
