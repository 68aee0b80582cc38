"""Counts add up at any time: sent is delivered, dead, shed, unreachable or in flight; nothing is, in the end."""

import contextlib
import itertools
import random
import threading

import pytest

from manifold import PID, Audience, Limits, Node, Outcome, Overloaded, Stats
from tests.cluster.support import until
from tests.delivery.actors_for_tests import (
    CAUSES,
    WAIT_S,
    AsyncCrasher,
    AsyncRecorder,
    Crasher,
    Recorder,
    Threads,
    actor_of,
    counts,
    read,
    spawn,
)


def test_a_fresh_nodes_counts_are_zero():
    with Node(workers=3) as node:
        assert dict(node.stats()) == {
            **dict.fromkeys(CAUSES, 0),
            "actors": 0,
            "workers": 3,
            "queued_bytes": 0,
            "handoffs": 0,
        }


def test_counts_read_as_attributes_and_as_a_mapping_and_stay_as_they_were():
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        before = node.stats()
        read(node, pid)
        after = node.stats()
        assert (before.sent, after.sent, after["sent"]) == (0, 1, 1)
        assert set(before) == {*CAUSES, "actors", "workers", "queued_bytes", "handoffs"}
        assert len(before) == 10
        assert "sent" in before
        assert "colour" not in before
        with pytest.raises(KeyError):
            before["colour"]
        with pytest.raises(KeyError):
            before["__class__"]
        with pytest.raises(AttributeError):
            before.sent = 7
        assert isinstance(before, Stats)


def test_outcomes_are_equal_by_their_numbers():
    assert Outcome(1, 2, 3, 4) == Outcome(delivered=1, dead=2, shed=3, unreachable=4)
    assert Outcome(1) != Outcome(2)
    assert dict(Outcome(1)) == {"delivered": 1, "dead": 0, "shed": 0, "unreachable": 0}


def test_what_is_no_message_is_not_counted():
    with Node(workers=2) as node:
        pids = spawn(node, 10)
        audience = Audience(pids)
        audience.discard(pids[0])
        for pid in pids[:5]:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        node.resize(3)
        audience.close()
        for pid in pids[5:]:
            read(node, pid)
        assert counts(node) == {**dict.fromkeys(CAUSES, 0), "sent": 5, "delivered": 5}
        assert node.stats().actors == 5


def test_each_cause_is_counted_once_for_each_way_of_sending():
    with Node(workers=2) as node:
        live, dead = spawn(node, 3), spawn(node, 2)
        for pid in dead:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        everyone = [*live, *dead, PID("away@00000000", 1)]
        ways = [
            lambda: node.send(everyone, "m"),
            lambda: node.send(everyone, "m", send_mode="offload"),
            lambda: node.send(everyone, "m", pack_mode="binary"),
            lambda: node.send(everyone, "m", receipt=True),
            lambda: [node.send(pid, "m") for pid in everyone],
            lambda: [node.ask(pid, "m") for pid in everyone],
        ]
        for number, way in enumerate(ways, 1):
            way()
            for pid in live:
                read(node, pid)
            stats = counts(node)
            assert (stats["dead"], stats["unreachable"]) == (2 * number, number)
            assert (stats["delivered"], stats["in_flight"], stats["shed"]) == (6 * number, 0, 0)


class Checker:
    """Polls a node's counts until it is told to end; keeps the first that do not add up, or run backwards."""

    def __init__(self, node):
        self.node = node
        self.polls = 0
        self.wrong = None
        self.end = threading.Event()

    def run(self):
        before = self.node.stats()
        while not self.end.is_set() and self.wrong is None:
            now = self.node.stats()
            self.polls += 1
            total = now.delivered + now.dead + now.shed + now.unreachable + now.in_flight
            backwards = [cause for cause in CAUSES[:-1] if now[cause] < before[cause]]
            if total != now.sent or min(now.values()) < 0 or backwards:
                self.wrong = (before, now, backwards)
            before = now


def load(node, seed, pids, audience, stop):
    """Send, crash, stop and start in every way, at random."""
    choose = random.Random(seed)
    away = PID("away@00000000", 1)

    def crash():
        bad = node.spawn(choose.choice([Crasher, AsyncCrasher]))
        node.send([bad, *pids, bad], ValueError("crash"))
        audience.add(bad)
        pids.append(bad)
        if len(pids) > 40:
            pids.pop(0)

    ways = [
        lambda: node.send(pids, "m"),
        lambda: node.send(pids, "m", send_mode="offload"),
        lambda: node.send([*pids, away, None], "m", pack_mode="binary", receipt=True),
        lambda: node.send(audience, "m"),
        lambda: node.send(audience, "m", send_mode="offload"),
        lambda: [node.send(pid, "m") for pid in pids],
        lambda: [node.ask(pid, "m") for pid in pids[:5]],
        lambda: node.send_after(0, pids, "m"),
        lambda: pids.append(node.spawn(AsyncRecorder)),
        crash,
    ]
    while not stop.is_set():
        for _ in range(10):
            with contextlib.suppress(Overloaded):
                choose.choice(ways)()
        soon(node, pids[-1])


@pytest.mark.parametrize("limits", [Limits(), Limits(worker_queue_max_bytes=20_000)], ids=["roomy", "tight"])
@pytest.mark.parametrize("resizing", [False, True], ids=["steady", "resizing"])
def test_they_add_up_at_any_time_under_load(limits, resizing):
    with Node(workers=2, limits=limits) as node:
        checker, stop = Checker(node), threading.Event()
        groups = [spawn(node, 20, cls) for cls in (Crasher, AsyncCrasher)]
        audiences = [Audience(pids) for pids in groups]
        with Threads() as threads:
            threads.start(checker.run)
            with Threads() as senders:
                for seed, (pids, audience) in enumerate(zip(groups, audiences, strict=True)):
                    senders.start(load, node, seed, pids, audience, stop)
                probe = node.spawn(Recorder)
                workers = itertools.cycle([3, 1, 2, 4] if resizing else [2])
                for _ in range(25):
                    node.resize(next(workers))
                    for _ in range(5):
                        soon(node, probe)
                # Threads that begin late begin all the same.
                assert until(lambda: checker.wrong or (checker.polls > 10 and counts(node)["sent"] > 1000), WAIT_S)
                stop.set()
            node.stop()
            checker.end.set()
        assert checker.wrong is None
        assert counts(node)["in_flight"] == 0


def soon(node, pid):
    """Let a round trip's time pass."""
    with contextlib.suppress(Overloaded):
        node.send([pid], "m", receipt=True).get(timeout=WAIT_S)
