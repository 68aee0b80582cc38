"""A batch reaches each of its recipients once for each time listed, whoever fails, stops or is busy in its midst."""

import pytest

from manifold import PID, Audience, Limits, Node
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncCrasher,
    AsyncGate,
    AsyncRecorder,
    Crasher,
    Recorder,
    actor_of,
    counts,
    held,
    read,
    spawn,
)

MODES = [{}, {"pack_mode": "binary"}, {"send_mode": "offload"}]


class Picky(Recorder):
    """Raises at the message that stands for it alone, or at any "crash"."""

    def __init__(self, bad=False):
        super().__init__()
        self.bad = bad

    def take(self, message):
        super().take(message)
        if self.bad and message == "crash":
            raise RuntimeError(message)


class AsyncPicky(Picky):
    """The same."""

    async def on_receive(self, message):
        return super().on_receive(message)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("cls", [Picky, AsyncPicky])
@pytest.mark.parametrize("form", [list, Audience])
@pytest.mark.parametrize("every", [1, 2, 7, 300])
def test_handlers_that_raise_in_the_middle_cost_the_others_nothing(mode, cls, form, every):
    with Node(workers=2) as node:
        pids = [node.spawn(cls, index % every == every - 1) for index in range(1200)]
        to = form(pids)
        node.send(to, "before", **mode)
        crash = node.send(to, "crash", receipt=True, **mode)
        after = node.send(pids, "after", receipt=True, **mode)
        assert dict(crash.get(timeout=WAIT_S)[node.id])["delivered"] == 1200
        bad = 1200 // every
        outcome = dict(after.get(timeout=WAIT_S)[node.id])
        assert (outcome["delivered"], outcome["dead"]) == (1200 - bad, bad)
        good = [pid for index, pid in enumerate(pids) if index % every != every - 1]
        assert [read(node, pid) for pid in good] == [["before", "crash", "after"]] * len(good)
        assert counts(node)["in_flight"] == 0


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("cls", [Picky, AsyncPicky])
def test_a_pid_listed_twice_whose_first_delivery_ends_it_gets_no_second(mode, cls):
    with Node(workers=1) as node:
        good = spawn(node, 10, cls)
        for between in (0, 1, 10):
            bad = node.spawn(cls, True)
            log = actor_of(bad).got
            to = [*good[:3], bad, *good[:between], bad, PID.parse(str(bad)), *good[3:]]
            outcome = dict(node.send(to, "crash", receipt=True, **mode).get(timeout=WAIT_S)[node.id])
            assert (outcome["delivered"], outcome["dead"]) == (10 + between + 1, 2)
            assert log == ["crash"]
        assert len(read(node, good[0])) == 5


def test_one_that_stops_itself_gets_what_was_queued_before():
    class Stops(Recorder):
        def take(self, message):
            super().take(message)
            if message == "stop":
                self.stop()

    with Node(workers=1) as node:
        pid, other = node.spawn(Stops), node.spawn(Recorder)
        log = actor_of(pid).got
        node.send([pid, other, pid, other], "stop")
        assert read(node, other) == ["stop", "stop"]
        assert log[:1] == ["stop"]
        outcome = dict(node.send([pid, other], "late", receipt=True).get(timeout=WAIT_S)[node.id])
        assert (outcome["delivered"], outcome["dead"]) == (1, 1)
        assert "late" not in log


@pytest.mark.parametrize("form", [list, Audience])
def test_one_recipient_that_stops_another_in_the_batch(form):
    class Killer(Recorder):
        victims = ()

        def take(self, message):
            super().take(message)
            for ref in self.victims:
                ref.stop(block=False)

    with Node(workers=1) as node:
        pids = spawn(node, 20)
        killer = node.spawn(Killer)
        actor_of(killer).victims = [actor_of(pid).actor_ref for pid in pids[::2]]
        to = form([*pids[:10], killer, *pids[10:]])
        receipts = [node.send(to, number, receipt=True) for number in range(3)]
        total = [dict(receipt.get(timeout=WAIT_S)[node.id]) for receipt in receipts]
        assert all(one["delivered"] + one["dead"] <= 21 for one in total)
        assert [read(node, pid) for pid in pids[1::2]] == [[0, 1, 2]] * 10
        assert counts(node)["in_flight"] == 0


def test_busy_and_idle_plain_and_async_in_one_batch():
    with Node(workers=2) as node:
        gates, plain, waiting = spawn(node, 2, AsyncGate), spawn(node, 30), spawn(node, 30, AsyncRecorder)
        everyone = [pid for trio in zip(plain, waiting, gates * 15, strict=True) for pid in trio]
        with held(node, gates[0]), held(node, gates[1]):
            for number in range(5):
                node.send(everyone, number)
            assert [read(node, pid) for pid in [*plain, *waiting]] == [list(range(5))] * 60
            assert [actor_of(gate).got for gate in gates] == [[], []]
        expected = [number for number in range(5) for _ in range(15)]
        assert [read(node, gate) for gate in gates] == [["hold", *expected]] * 2


@pytest.mark.parametrize("form", [list, Audience])
def test_a_batch_cut_into_many_chunks_keeps_its_order_with_crashes_on_the_way(form):
    with Node(workers=1, limits=Limits(slice_s=0.00001)) as node:
        pids = [node.spawn(AsyncCrasher if index % 3 else Crasher) for index in range(700)]
        to = form(pids)
        for number in range(6):
            node.send(to, number)
            if number == 3:
                node.send(pids[::5], RuntimeError("crash"))
        good = [pid for index, pid in enumerate(pids) if index % 5]
        assert [read(node, pid) for pid in good] == [list(range(6))] * len(good)
        receipt = node.send(pids, "m", receipt=True)
        assert dict(receipt.get(timeout=WAIT_S)[node.id])["dead"] == 140
        assert counts(node)["in_flight"] == 0
