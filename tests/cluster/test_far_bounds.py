"""What waits for another node, and here for what came from one: how much that may be, and in which form it waits."""

from __future__ import annotations

import asyncio
import gc
import sysconfig
import threading
import tracemalloc

import pytest

import manifold
from manifold import Limits
from manifold.core.bodies import Ask, AudienceChange, AudienceSend, Kind, Send
from manifold.core.codec import encode
from manifold.core.flow import frame_cost
from tests.cluster.hand import Hand
from tests.cluster.support import audience, meet, outcome, quiet, record, until
from tests.support import AsyncRecorder, Hold, pids, spawn

# What cannot be read: by whoever has no such type, or another one under its code.


class Odd:
    """What can be written, and cannot be read: it stands for a type that two nodes register differently."""


def write(_):
    return 1


def read(_):
    raise LookupError("nobody knows what this was")


@pytest.fixture
def odd(own_registry):
    manifold.register_type(Odd, 97, write, read)
    return {"of": Odd()}


class Busy(AsyncRecorder):
    """Is busy with "wait" until it is let go."""

    def __init__(self):
        super().__init__()
        self.waits = threading.Event()
        self.go = threading.Event()

    async def on_receive(self, message):
        if message == "wait":
            self.waits.set()
            assert await asyncio.to_thread(self.go.wait, 10)
        return await super().on_receive(message)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("form", ["one", "list", "audience"])
def test_what_cannot_be_read_is_shed_and_what_is_behind_it_is_not(nodes, odd, form, workers, lines):
    a, b = nodes.together("a", "b", workers=workers)
    actors = spawn(b, 1 if form == "one" else 700) + spawn(b, 0 if form == "one" else 7, AsyncRecorder)
    to = actors[0].pid if form == "one" else audience(a, pids(actors)) if form == "audience" else pids(actors)
    receipts = [a.send(to, odd if number == 1 else number, receipt=True) for number in range(3)]
    a.send(to, odd)
    a.send(to, "last")
    got = [outcome(receipt) for receipt in receipts]
    every = len(actors)
    assert got == [{"b": {"delivered": every}}, {"b": {"shed": every}}, {"b": {"delivered": every}}]
    stats = quiet(a)
    assert (stats.delivered, stats.shed) == (3 * every, 2 * every)
    assert until(lambda: [actor.got for actor in actors] == [[0, 2, "last"]] * every)
    assert lines
    assert all("cannot be read here" in line and "shed" in line and "nobody knows" in line for line in lines)


def test_a_question_that_cannot_be_read_is_answered_so(nodes, odd, lines):
    a, b = nodes.together("a", "b")
    actor = record(b)
    with pytest.raises(manifold.RemoteError, match="nobody knows"):
        a.ask(actor.pid, odd, timeout=5).get()
    assert a.ask(actor.pid, "next").get() == "next"
    assert actor.got == ["next"]
    stats = quiet(a)
    assert (stats.delivered, stats.shed) == (1, 1)
    assert len(lines) == 1


def test_a_busy_actor_gets_what_it_can_read_of_what_waited(nodes, odd, lines):
    a, b = nodes.together("a", "b", workers=1)
    busy, idle = spawn(b, 1, Busy)[0], record(b)
    both = [busy.pid, idle.pid]
    group = audience(a, both)
    a.send(busy.pid, "wait")
    assert busy.waits.wait(10)
    for number, to in enumerate((both, group, busy.pid)):
        a.send(to, number)
        a.send(to, odd)
    asked = a.ask(busy.pid, odd, timeout=10)
    assert a.ask(idle.pid, "behind all of it").get() == "behind all of it"
    assert idle.got == [0, 1, "behind all of it"]
    busy.go.set()
    with pytest.raises(manifold.RemoteError, match="nobody knows"):
        asked.get()
    stats = quiet(a)
    assert (stats.delivered, stats.shed) == (7, 6)
    assert until(lambda: busy.got == ["wait", 0, 1, 2])
    assert lines


def test_however_much_cannot_be_read_it_costs_some_lines(nodes, odd, lines):
    a, b = nodes.together("a", "b")
    actors = spawn(b, 4)
    for _ in range(100):
        a.send(pids(actors), odd)
        a.send(actors[0].pid, odd)
    assert quiet(a).shed == 500
    assert len(lines) == 10
    assert "more of this will not be logged" in lines[-1]


def test_a_copy_of_this_process_that_cannot_be_read_is_shed_too(odd, lines):
    with manifold.Node(workers=2) as node:
        actors = spawn(node, 5) + spawn(node, 5, AsyncRecorder)
        for to in (pids(actors), audience(node, pids(actors))):
            assert outcome(node.send(to, odd, pack_mode="binary", receipt=True)) == {node.name: {"shed": 10}}
        node.send(actors[0].pid, odd, pack_mode="binary")
        assert until(lambda: node.stats().shed == 21)
        assert outcome(node.send(pids(actors), "next", receipt=True)) == {node.name: {"delivered": 10}}
        assert node.stats().in_flight == 0
    assert [actor.got for actor in actors] == [["next"]] * 10
    assert all("cannot be read" in line for line in lines)


# How much it is.


# Where there is no interpreter lock an object is larger by 16 bytes.
OBJECTS = 1.25 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1
TEXT = encode({"t": "PRESENCE_UPDATE", "d": {"name": "x" * 50, "of": [1, 2, 3], "at": 1.5}})


def frame(kind, number, ids):
    """Give the body of a frame that waits for one worker, or for all members of the audience 1."""
    if kind == "audience":
        return Kind.AUDIENCE_SEND, AudienceSend(1, number if number % 2 else 0, len(ids), TEXT)
    if kind == "ask":
        return Kind.ASK, Ask(number, 0, ids[number % len(ids)], TEXT)
    return Kind.SEND, Send(number if number % 2 else 0, [ids[number % len(ids)]], TEXT)


@pytest.fixture
def hand():
    made = Hand(frame_max_bytes=8_000, window_bytes=50_000)
    made.meet()
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["one", "audience", "ask"])
def test_what_waits_takes_no_more_memory_than_is_counted(hand, kind):
    peer = hand.peers[hand.b]
    ids = [actor.pid.id for actor in spawn(hand.b, 5)]
    peer.handle(Kind.AUDIENCE_CHANGE, memoryview(b"".join(AudienceChange(1, join=1, ids=ids).pack())))
    frames = [(kind, b"".join(body.pack())) for kind, body in (frame(kind, n, ids) for n in range(1000))]
    with Hold(hand.b):
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for each, body in frames:
            peer.handle(each, memoryview(body))
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert peer.arrivals.backlog() == sum(frame_cost(len(body)) for _, body in frames)
        assert held <= peer.arrivals.backlog() * OBJECTS


def test_what_waits_and_what_may_come_are_never_more_than_the_inbox(hand):
    a, b = hand.a, hand.b
    actors = spawn(b, 20) + spawn(b, 1, Busy)
    busy = actors[-1]
    group = audience(a, pids(actors))
    hand.settle()
    a.send(busy.pid, "wait")
    hand.carry(9, a)
    assert busy.waits.wait(10)
    peer, most = hand.peers[b], 0
    with Hold(b):
        for number in range(600):
            to = (actors[number % 21].pid, pids(actors), group)[number % 3]
            a.send(to, number, receipt=number % 2 == 0)
            a.ask(actors[0].pid, number)
            hand.carry(9, a)
            hand.carry(9, b)
            waiting, flow = peer.arrivals.backlog(), peer.link._in
            most = max(most, waiting)
            assert waiting + flow.credit - flow.received_bytes <= 50_000
    assert most > 50_000 - 8_000
    busy.go.set()
    hand.settle()
    assert quiet(a).shed == 0
    assert peer.arrivals.backlog() == 0


def test_an_inbox_that_does_not_hold_a_packet_is_refused():
    for inbox_max_bytes in (1 << 20, Limits().packet_max_bytes, Limits().packet_max_bytes + 1023):
        with pytest.raises(ValueError, match=r"inbox_max_bytes .* packet_max_bytes") as caught:
            Limits(inbox_max_bytes=inbox_max_bytes)
        assert str(inbox_max_bytes) in str(caught.value)
    small = Limits(message_max_bytes=1000, packet_max_bytes=4096, inbox_max_bytes=5120)
    assert small.inbox_max_bytes == 5120


# Two nodes of which one takes less.

SMALL = Limits(message_max_bytes=1000, packet_max_bytes=4096, inbox_max_bytes=16_384)


@pytest.fixture(params=["the sender", "the receiver"])
def uneven(request, nodes):
    """A sender and a receiver, one of which has the limits SMALL."""
    sends = request.param == "the sender"
    a = nodes.node("a", limits=SMALL if sends else Limits())
    b = nodes.node("b", limits=Limits() if sends else SMALL)
    meet(a, b)
    return a, b


def test_a_list_goes_in_frames_that_both_take(uneven):
    a, b = uneven
    far = spawn(b, 1500)
    for message in ("x", "x" * 990):
        assert outcome(a.send(pids(far), message, receipt=True)) == {"b": {"delivered": 1500}}
    assert all(actor.got == ["x", "x" * 990] for actor in far)


def test_an_audience_goes_in_frames_that_both_take(uneven):
    a, b = uneven
    far = spawn(b, 1500)
    group = audience(a, pids(far[:1200]))
    assert len(group) == 1200
    assert outcome(a.send(group, 0, receipt=True)) == {"b": {"delivered": 1200}}
    group.update(pids(far))
    for actor in far[:3]:
        group.discard(actor.pid)
    assert outcome(a.send(group, 1, receipt=True)) == {"b": {"delivered": 1497}}
    assert quiet(a).shed == 0
    assert [actor.got for actor in far] == [[0]] * 3 + [[0, 1]] * 1197 + [[1]] * 300


def test_what_is_too_large_for_the_other_node_costs_some_lines(nodes, lines):
    a, b = nodes.node("a"), nodes.node("b", limits=SMALL)
    meet(a, b)
    far = spawn(b, 50)
    for _ in range(30):
        with pytest.raises(manifold.Overloaded) as raised:
            a.send(pids(far), "x" * 5000)
        assert (raised.value.shed, raised.value.nodes) == (50, (b.id,))
    assert outcome(a.send(pids(far), "next", receipt=True)) == {"b": {"delivered": 50}}
    assert quiet(a).shed == 1500
    assert len(lines) == 10


class Large(manifold.Actor):
    """Answers, or ends, with more than a small node takes."""

    def on_receive(self, message):
        if message == "end":
            raise ValueError("x" * 10_000)
        return "x" * 10_000


class Monitoring(manifold.Actor):
    """Tells how what it monitors has ended."""

    def __init__(self):
        self.reasons = []
        self.told = threading.Event()

    def on_receive(self, message):
        if type(message) is manifold.Down:
            self.reasons.append(message.reason)
            self.told.set()
        else:
            self.monitor(message)


def test_an_answer_too_large_for_the_node_that_asks_is_an_error_there(nodes):
    a, b = nodes.node("a", limits=SMALL), nodes.node("b")
    meet(a, b)
    pid = b.spawn(Large)
    with pytest.raises(manifold.RemoteError, match="MessageTooLarge"):
        a.ask(pid, 1, timeout=10).get()
    assert a.ask(record(b).pid, "next").get() == "next"


def test_an_end_with_a_reason_too_large_for_the_node_that_monitors_is_told(nodes):
    a, b = nodes.node("a", limits=SMALL), nodes.node("b")
    meet(a, b)
    pid = b.spawn(Large)
    made = []

    class Known(Monitoring):
        def __init__(self):
            super().__init__()
            made.append(self)

    watcher = a.spawn(Known)
    a.ask(watcher, pid).get()
    a.send(pid, "end")
    assert made[0].told.wait(10)
    assert made[0].reasons[0].startswith("failed: ValueError('xxx")
