"""A worker serves its actors in slices, one message at a time each, in order, and goes on whatever is raised on it."""

import asyncio
import threading
import time

import pytest

from manifold import Actor, Audience, Limits, Node
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncCrasher,
    AsyncGate,
    AsyncRecorder,
    Caller,
    Crasher,
    Recorder,
    ask,
    counts,
    held,
    read,
    spawn,
)

ENDINGS = [SystemExit(1), KeyboardInterrupt(), MemoryError(), GeneratorExit(), asyncio.CancelledError(), ValueError()]


class Slow(Recorder):
    """Takes 10 ms for a message."""

    def take(self, message):
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass
        super().take(message)


@pytest.mark.parametrize("cls", [Recorder, AsyncRecorder])
@pytest.mark.parametrize("form", [list, Audience])
def test_a_slow_handler_does_not_make_a_batch_start_anew(cls, form):
    with Node(workers=1) as node:
        pids = spawn(node, 200, cls)
        pids[100] = node.spawn(Slow)
        to = form(pids)
        receipts = [node.send(to, number, receipt=True) for number in range(3)]
        for receipt in receipts:
            assert dict(receipt.get(timeout=WAIT_S)[node.id])["delivered"] == 200
        assert [read(node, pid) for pid in pids] == [[0, 1, 2]] * 200
        assert counts(node)["in_flight"] == 0


@pytest.mark.parametrize("size", [1, 511, 512, 513, 1024, 1025, 5000])
@pytest.mark.parametrize("form", [list, Audience])
def test_batches_of_every_size_reach_everyone_once(size, form):
    with Node(workers=1, limits=Limits(slice_s=0.0001)) as node:
        log = []
        pids = spawn(node, size, Recorder, log)
        to = form(pids)
        for number in range(3):
            receipt = node.send(to, number, receipt=True)
        assert dict(receipt.get(timeout=WAIT_S)[node.id])["delivered"] == size
        assert log == [0] * size + [1] * size + [2] * size


@pytest.mark.parametrize("way", ["list", "audience", "async list", "one by one"])
def test_the_loop_keeps_running_other_things_while_much_is_handled(way):
    with Node(workers=1) as node:
        cls = AsyncCounter if way == "async list" else Counter
        clock = node.spawn(Clock)
        actors = [node.spawn(cls, clock._actor) for _ in range(1000)]
        node.send(clock, "start")
        number = 20_000 if way == "async list" else 100_000
        if way == "audience":
            audience = Audience(actors)
            for _ in range(100):
                node.send(audience, "m")
        elif way == "one by one":
            for pid in actors * 100:
                node.send(pid, "m")
        else:
            node.send(actors * (number // 1000), "m")
        ask(node, actors[0], "m")
        ticks = ask(node, clock, "stop")
        assert clock._actor.handled >= number
        assert sum(0 < handled < number for handled in ticks) >= 5


class Clock(Actor):
    """Between start and stop, notes at every tick of a timer of the worker's loop how much was handled."""

    def __init__(self):
        super().__init__()
        self.handled = 0
        self.ticks = []

    def on_receive(self, message):
        if message == "start":
            self.loop = asyncio.get_running_loop()
            self.timer = self.loop.call_later(0.0005, self.tick)
            return None
        self.timer.cancel()
        return self.ticks

    def tick(self):
        self.ticks.append(self.handled)
        self.timer = self.loop.call_later(0.0005, self.tick)


class Counter(Actor):
    """Works for a microsecond or two, and is counted."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_receive(self, message):
        sum(range(100))
        self.clock.handled += 1


class AsyncCounter(Counter):
    """The same."""

    async def on_receive(self, message):
        super().on_receive(message)


class Watched(Recorder):
    """Notes if it handles two at a time."""

    inside = 0
    worst = 0

    async def on_receive(self, message):
        self.inside += 1
        self.worst = max(self.worst, self.inside)
        for _ in range(3):
            await asyncio.sleep(0)
        self.inside -= 1
        return super().on_receive(message)


def test_an_async_handler_handles_one_message_at_a_time_in_order():
    with Node(workers=2) as node:
        pids = spawn(node, 20, Watched)
        audience = Audience(pids)
        for number in range(0, 200, 4):
            node.send(pids, number)
            for pid in pids:
                node.send(pid, number + 1)
            node.send(audience, number + 2)
            node.send(pids, number + 3, send_mode="offload")
        assert [read(node, pid) for pid in pids] == [list(range(200))] * 20
        assert [pid._actor.worst for pid in pids] == [1] * 20


def test_while_one_awaits_its_worker_serves_the_others():
    with Node(workers=1) as node:
        gate, other, third = node.spawn(AsyncGate), node.spawn(Recorder), node.spawn(AsyncRecorder)
        with held(node, gate):
            for number in range(10):
                node.send([gate, other, third], number)
            assert read(node, other) == read(node, third) == list(range(10))
        assert read(node, gate) == ["hold", *range(10)]


def test_an_actor_without_pause_does_not_starve_the_others_of_its_worker():
    class Busy(Recorder):
        more = True

        async def on_receive(self, message):
            if self.more:
                self.node.send(self.pid, message)

    with Node(workers=1) as node:
        busy, other = node.spawn(Busy), node.spawn(Recorder)
        node.send(busy, "go")
        for number in range(50):
            node.send(other, number)
            assert read(node, other) == list(range(number + 1))
        busy._actor.more = False


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("cls", [Crasher, AsyncCrasher])
@pytest.mark.parametrize("form", ["one", "list", "audience"])
def test_whatever_a_handler_raises_the_worker_goes_on_and_nobody_else_loses_anything(error, cls, form):
    with Node(workers=1) as node:
        pids = spawn(node, 60)
        bad = spawn(node, 3, cls)
        everyone = [*pids[:20], bad[0], bad[1], *pids[20:], bad[2]]
        to = Audience(everyone) if form == "audience" else everyone
        node.send(to, "before")
        if form == "one":
            for pid in bad:
                node.send(pid, error)
        else:
            node.send(to if form == "audience" else bad, error)
        node.send(to, "after")
        kept = [error] if form == "audience" else []
        assert [read(node, pid) for pid in pids] == [["before", *kept, "after"]] * 60
        receipt = node.send(bad, "m", receipt=True)
        assert dict(receipt.get(timeout=WAIT_S)[node.id])["dead"] == 3
        stats = counts(node)
        assert stats["in_flight"] == 0
        assert node.stats().actors == 60


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("kind", ["task", "callback"])
def test_a_task_of_the_users_that_raises_does_not_end_the_worker(error, kind):
    raised = threading.Event()

    async def task():
        await asyncio.sleep(0)
        callback()

    def callback():
        raised.set()
        raise error

    def start():
        loop = asyncio.get_running_loop()
        if kind == "task":
            kept.append(loop.create_task(task()))
        else:
            loop.call_soon(callback)

    kept = []
    with Node(workers=1) as node:
        caller, pids = node.spawn(Caller), spawn(node, 500, AsyncRecorder)
        node.send(pids, 0)
        node.send(caller, start)
        for number in range(1, 20):
            node.send(pids, number)
        assert raised.wait(WAIT_S)
        for number in range(20, 40):
            node.send(pids, number)
        assert [read(node, pid) for pid in pids] == [list(range(40))] * 500
        for done in kept:
            assert isinstance(done.exception(), error)


def test_a_handler_that_stops_the_loop_stops_nothing():
    with Node(workers=1) as node:
        caller, pids = node.spawn(Caller), spawn(node, 500, AsyncRecorder)
        for number in range(20):
            node.send(pids, number)
            node.send(caller, lambda: asyncio.get_running_loop().stop())
        assert [read(node, pid) for pid in pids] == [list(range(20))] * 500
        assert counts(node)["in_flight"] == 0


def test_a_message_to_itself_comes_after_what_was_queued_before():
    class Again(Recorder):
        def take(self, message):
            super().take(message)
            if message == "first":
                self.node.send(self.pid, "own")

    with Node(workers=1) as node:
        caller, pid = node.spawn(Caller), node.spawn(Again)

        def send():
            node.send(pid, "first")
            node.send(pid, "second")

        ask(node, caller, send)
        read(node, pid)
        assert read(node, pid) == ["first", "second", "own"]


def test_a_batch_sent_in_a_handler_keeps_order_with_single_sends():
    with Node(workers=2) as node:
        caller, pids = node.spawn(Caller), spawn(node, 30)

        def send():
            for number in range(0, 60, 3):
                node.send(pids, number)
                for pid in pids:
                    node.send(pid, number + 1)
                node.send(pids, number + 2, send_mode="offload")
            return [node.send([pid], 60, receipt=True) for pid in pids]

        for receipt in ask(node, caller, send):
            receipt.get(timeout=WAIT_S)
        assert [read(node, pid) for pid in pids] == [list(range(61))] * 30
