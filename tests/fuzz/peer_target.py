"""Frames of any kind and content come to a node from a peer: its log has some lines, and nobody else notices.

What this node has open with the peer (questions, receipts, monitors, members of an audience) ends, once, at the latest
when the peer is down; all that came from it is accounted for; and what others send arrives.
"""

from __future__ import annotations

import traceback

from manifold import ports
from manifold.cluster.peer import _COMPLAINTS_MAX, Peer
from manifold.core.bodies import (
    Answer,
    Ask,
    AudienceChange,
    AudienceSend,
    Down,
    Kind,
    Members,
    Outcome,
    Send,
    Watch,
)
from manifold.core.codec import encode
from manifold.core.frames import Frame
from manifold.core.link import LinkLimits
from manifold.core.pid import PID
from tests.cluster.support import audience
from tests.fuzz.home import at_home, linked
from tests.fuzz.script import Script

FAR, OTHER = "far@1", "other@1"
FAR_IDS = (7, 8)
STEPS_MAX = 60
MESSAGES = (*map(encode, (None, 1, "text", [1, (2, {3})], {"a": PID(FAR, 7)}, [])), b"", b"\xc1", b"\x92")
NAMES = ("ValueError", "SyntaxError", "KeyError", "pykka.ActorDeadError", "Unknown", "ExceptionGroup", "", 5, [], None)
ARGS = ([], ["x"], ["m", ["f", 1, {}, 5]], [["x"]], None, 7, [b"ascii", b"x", 0, 1, "why"])
UNPACKED_BY = {
    Kind.SEND: Send, Kind.AUDIENCE_CHANGE: AudienceChange, Kind.AUDIENCE_SEND: AudienceSend,
    Kind.AUDIENCE_LEFT: AudienceChange, Kind.ASK: Ask, Kind.ANSWER: Answer, Kind.WATCH: Watch, Kind.UNWATCH: Watch,
    Kind.DOWN: Down, Kind.OUTCOME: Outcome, Kind.MEMBERS: Members,
}  # fmt: skip
KINDS = (*Kind, 200)


def run(data):
    with at_home() as home:
        World(home, Script(data)).play()


class Ends:
    """Counts how often it is told of an end."""

    def __init__(self):
        self.told = 0

    def on_end(self, pid, reason):
        self.told += 1


class World:
    """One peer that sends anything, and one that is as it should be."""

    def __init__(self, home, script):
        self.home = home
        self.script = script
        self.actors = home.node.stats().actors
        self.mortal = home.begin()
        self.met = []
        self.peer, self.far = self._peer(FAR)
        self.other, _ = self._peer(OTHER)
        self._open()

    def _peer(self, name):
        link, far = linked(self.home.node.id, name, LinkLimits(ping_period_s=1e6, node_down_after_s=1e7))
        cluster = self.home.node.cluster
        peer = Peer(f"tcp://{name}", link, self.home.node, lambda: None, cluster.members_left, self.met.append)
        peer.node, peer.up = name, True
        cluster.peers[name] = peer
        return peer, far

    def _open(self):
        """Have something open with the peer: under the numbers 1, 2 (asks), 3 (a receipt), 4 (a monitor)."""
        node, pids = self.home.node, [PID(FAR, number) for number in FAR_IDS]
        self.asks = [node.ask(pids[0], "?", timeout=None) for _ in range(2)]
        self.receipt = node.send(pids, "!", receipt=True)
        self.ends = Ends()
        node.monitor(pids[0], self.ends)
        self.audience = audience(node, [*pids, self.home.steady.pid])
        self.audience_number = self.audience._away.number

    def play(self):
        for _ in range(STEPS_MAX):
            if not self.script:
                break
            what = self.script.below(16)
            if what == 0:
                self.home.rest()
            elif what == 1:
                self.peer.account([self.script.number() for _ in range(3)])
            elif what == 2:
                self.mortal.actor_ref.stop(block=False)
            else:
                self.frame()
        self.end()

    def frame(self):
        kind = self.script.pick(KINDS)
        how = self.script.below(8)
        body = self.script.take(self.script.below(64)) if how == 0 else self.body(kind)
        self.peer.handle(kind, memoryview(self.script.edit(body) if how == 1 else body))

    # Bodies.

    def body(self, kind):
        value = getattr(self, f"a_{kind.name.lower()}")() if kind in UNPACKED_BY else None
        return b"" if value is None else b"".join(value.pack())

    def a_send(self):
        return Send(self.script.below(3), self.ids(), self.message())

    def a_audience_send(self):
        members = self.script.number() & 0xFFFFFFFF
        return AudienceSend(self.script.below(3), self.script.below(3), members, self.message())

    def a_audience_change(self):
        return AudienceChange(self.script.below(3), self.script.below(4), self.ids())

    def a_audience_left(self):
        return AudienceChange(self.audience_number, self.script.below(4), [self.script.pick((*FAR_IDS, 9))])

    def a_ask(self):
        return Ask(self.script.number(), self.script.below(3), self.script.pick(self.known()), self.message())

    def a_answer(self):
        return Answer(self.script.below(5), bool(self.script.below(2)), self.answer())

    def a_watch(self):
        return Watch(self.script.below(3), self.script.pick(self.known()))

    a_unwatch = a_watch

    def a_down(self):
        return Down(self.script.below(6), self.script.pick(("stopped", "", "\n" * 9)))

    def a_outcome(self):
        counts = [self.script.pick((0, 1, 2, 2**32 - 1)) for _ in range(3)]
        return Outcome(self.script.pick((3, 3, 1, 9)), *counts)

    def a_members(self):
        return Members([(self.script.pick((FAR, "", "x")), "tcp://x") for _ in range(self.script.below(3))])

    def known(self):
        return self.home.steady.pid.id, self.home.busy.pid.id, self.mortal.pid.id, 5, 2**64 - 1

    def ids(self):
        return [self.script.pick(self.known()) for _ in range(self.script.below(6))]

    def message(self):
        return self.script.pick(MESSAGES)

    def answer(self):
        if self.script.below(3) == 0:
            return self.message()
        texts = self.script.pick((("said", "traceback"), (1, None), ([[]], {})))
        return encode([self.script.pick(NAMES), self.script.pick(ARGS), *texts])

    # The end.

    def end(self):
        self.check_others()
        self.home.rest()
        assert self.peer.arrivals.backlog() == 0
        self.check_output()
        for peer in (self.peer, self.other):
            self.home.node.cluster.drop(peer)
        self.mortal.actor_ref.stop(block=False)
        self.home.rest()
        self.check_open()
        self.audience.close()
        self.home.rest()
        self.home.check(lines_max=_COMPLAINTS_MAX)
        assert self.home.node.stats().actors == self.actors

    def check_others(self):
        """What comes behind it, and from others, arrives."""
        number = self.home.steady.pid.id
        body = memoryview(b"".join(Send(0, [number], encode("after")).pack()))
        self.home.rest()
        before = self.home.steady.got.count("after")
        for peer in (self.peer, self.other):
            peer.handle(Kind.SEND, body)
        self.home.node.send(self.audience, "after")
        self.home.rest()
        assert self.home.steady.got.count("after") == before + 3
        assert self.other.tally.counts == [1, 0, 0, 0]
        assert ports.find_host(self.home.steady.pid) is self.home.node

    def check_output(self):
        """What goes to the peer can be sent, and makes sense there."""
        fresh = self.peer.tally.fresh()
        assert min(fresh) >= 0, fresh
        self.peer.link.settle(*fresh, 0.0)
        self.peer.link.backlog(self.peer.arrivals.backlog(), 0.0)
        for packet in self.peer.link.packets_to_send(1.0):
            for event in self.far.receive_packet(packet, 1.0):
                if type(event) is Frame:
                    UNPACKED_BY[event.kind].unpack(event.body)

    def check_open(self):
        """Nothing is open any more: the peer is down."""
        assert all(future.is_set() for future in self.asks), "a question was forgotten"
        for error in filter(None, map(_raised, self.asks)):
            traceback.format_exception(error)
        assert self.receipt.done(), self.receipt
        assert self.ends.told == 1
        assert len(self.audience) == 1
        assert not self.peer._asks and not self.peer._receipts and not self.peer._monitors
        assert not self.peer.arrivals._replicas and not self.peer.arrivals._watchers


def _raised(future):
    try:
        future.get(timeout=0)
    except Exception as error:
        return error
    return None
