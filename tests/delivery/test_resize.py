"""Resizes: about 1/(n+1) of the actors move, nothing is lost, doubled, reordered, shed or left behind."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest

import manifold
from manifold.testing import Simulation
from tests.support import PATIENCE_S, AsyncRecorder, Hold, Recorder, done, pids, settled, spawn


@pytest.fixture
def switching():
    """Have threads take turns far more often, so that what is right by luck alone goes wrong."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("kind", [Recorder, AsyncRecorder])
@pytest.mark.parametrize("sizes", [[2, 1], [2, 1, 2], [2, 1, 2, 1], [2, 3, 2, 1], [3, 1, 3, 1, 3, 1], [4, 2, 6, 1, 5]])
def test_nothing_is_lost_when_resizes_follow_each_other_while_a_worker_is_busy(sizes, kind):
    with manifold.Node(workers=1) as node:
        actors = spawn(node, 40, kind)
        with Hold(node):
            for number, workers in enumerate(sizes):
                node.send(pids(actors), number)
                node.resize(workers)
            receipt = node.send(pids(actors), len(sizes), receipt=True)
        assert done(receipt) == {"delivered": 40}
        assert [actor.got for actor in actors] == [list(range(len(sizes) + 1))] * 40
        assert node.stats().in_flight == 0


def test_sends_while_the_node_is_resized_all_arrive_in_order(switching):
    with manifold.Node(workers=2) as node:
        actors = spawn(node, 2_000)
        some = pids(actors[:50])
        errors: list[BaseException] = []
        receipts: list[manifold.Receipt | None] = []
        stop = threading.Event()

        def send() -> None:
            try:
                while not stop.is_set():
                    receipts.append(node.send(some, len(receipts), receipt=True))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        for turn in range(40):
            node.resize(3 - turn % 2)
        stop.set()
        thread.join(PATIENCE_S)
        assert not errors
        for receipt in receipts:
            assert done(receipt) == {"delivered": 50}
        assert [actor.got for actor in actors[:50]] == [list(range(len(receipts)))] * 50


def test_an_idle_actor_that_moves_sheds_nothing_however_small_its_mailbox():
    class Small(Recorder):
        mailbox_max = 1

    with manifold.Node(workers=1) as node:
        actors = spawn(node, 10, Small)
        with Hold(node):
            node.resize(2)
            receipts = [node.send(pids(actors), number, receipt=True) for number in range(5)]
        assert [done(receipt) for receipt in receipts] == [{"delivered": 10}] * 5


def test_what_is_sent_to_an_idle_actor_that_has_moved_while_it_works_off_what_waited_is_not_shed():
    class Small(Recorder):
        mailbox_max = 1

        def on_receive(self, message):
            if message == 0:
                for number in range(20, 30):
                    self.node.send(self.pid, number)
            return super().on_receive(message)

    with manifold.Node(workers=1, limits=manifold.Limits(slice_s=1e-6)) as node:
        actors = spawn(node, 10, Small)
        with Hold(node):
            node.resize(2)
            for number in range(20):
                node.send(pids(actors), number)
        stats = settled(node)
        while stats.in_flight:
            stats = settled(node)
        assert (stats.shed, stats.dead) == (0, 0)
        assert [actor.got for actor in actors] == [list(range(30))] * 10


def test_what_came_before_an_actor_was_started_makes_it_no_busier():
    class Early(Recorder):
        mailbox_max = 1

        def __init__(self):
            super().__init__()
            for number in range(20):
                self.node.send(self.pid, number)

        def on_receive(self, message):
            if message == 0:
                for number in range(20, 30):
                    self.node.send(self.pid, number)
            return super().on_receive(message)

    with manifold.Node(workers=1, limits=manifold.Limits(slice_s=1e-6)) as node:
        (actor,) = spawn(node, 1, Early)
        while settled(node).in_flight:
            pass
        assert node.stats().shed == 0
        assert actor.got == list(range(30))


def test_an_audience_that_is_dropped_after_resizes_has_reached_its_members():
    with manifold.Node(workers=2) as node:
        actors = spawn(node, 16)
        audience = manifold.Audience(pids(actors))
        done(manifold.send(audience, 0, receipt=True))
        with Hold(node), Hold(node):
            receipt = manifold.send(audience, 1, receipt=True)
            node.resize(1)
            node.resize(2)
            del audience
            fresh = spawn(node, 8)
            free = [node.ask(actor.pid, "there?") for actor in fresh]
            assert any(answered(future) for future in free)
        assert done(receipt) == {"delivered": 16}
        assert [actor.got for actor in actors] == [[0, 1]] * 16


def answered(future: manifold.Future[str]) -> bool:
    try:
        return future.get(timeout=0.5) == "there?"
    except manifold.AskTimeout:
        return False


def test_a_question_to_an_actor_that_cannot_move_while_the_handler_waits_for_it_raises():
    class Asking(manifold.Actor):
        def on_receive(self, others: list[manifold.PID]) -> list[str]:
            self.node.resize(3)
            return [self.asked(other) for other in others]

        def asked(self, other: manifold.PID) -> str:
            try:
                return manifold.ask(other, "there?", timeout=1).get()
            except manifold.ManifoldError as error:
                return type(error).__name__

    with manifold.Node(workers=1) as node:
        others = pids(spawn(node, 6))
        got = node.ask(node.spawn(Asking), others, timeout=PATIENCE_S).get()
    assert got == ["WouldDeadlock"] * 6


def test_actors_that_a_resize_does_not_move_stay_where_they_are():
    with manifold.Node(workers=3) as node:
        actors = spawn(node, 400)
        done(node.send(pids(actors), 0, receipt=True))
        before = [set(actor.threads) for actor in actors]
        node.resize(4)
        done(node.send(pids(actors), 1, receipt=True))
        moved = sum(actor.threads != threads for actor, threads in zip(actors, before, strict=True))
    assert 80 <= moved <= 120


def test_workers_that_are_taken_away_leave_nothing_behind():
    with manifold.Node(workers=2) as node:
        actors = spawn(node, 20)
        done(node.send(pids(actors), 0, receipt=True))
        threads = set(threading.enumerate())
        for _ in range(20):
            node.resize(4)
            node.resize(2)
            done(node.send(pids(actors), 0, receipt=True))
        for thread in set(threading.enumerate()) - threads:
            if thread.name.endswith(("worker-2", "worker-3")):
                thread.join(PATIENCE_S)
                assert not thread.is_alive()
        assert set(node.local.threads) == set(node.local.workers), "each has a file to be woken by"
        assert node.stats().delivered >= 21 * 20


class Ending(manifold.Actor):
    """One that takes its time: to fail, and to end."""

    async def on_receive(self, message):
        await asyncio.sleep(0.2)
        raise ValueError(message)

    async def on_failure(self, *_):
        await asyncio.sleep(0.2)


def test_actors_that_end_while_they_move_keep_no_worker(caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")
    with Simulation(seed=1) as simulation:
        node = simulation.node("a", workers=2)
        node.send([node.spawn(Ending) for _ in range(40)], "end")
        simulation.run(0.1)
        node.resize(3)
        simulation.run(0.2)
        node.resize(2)
        simulation.run(1.0)
        assert not node.local.former
        assert node.stats().actors == 0


def test_a_node_can_be_stopped_right_after_a_resize(switching):
    for _ in range(100):
        node = manifold.Node(workers=6)
        node.send(pids(spawn(node, 100)), 1)
        node.resize(1)
        node.stop()
        assert node.stats().in_flight == 0
