"""Starting, failing and ending: what came before the start arrives after it, in order; what comes late is counted."""

import asyncio
import threading

import pykka
import pytest

from manifold import PID, Audience, Down, Limits, Node
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncGate,
    Recorder,
    Threads,
    actor_of,
    ask,
    counts,
    read,
    spawn,
)


class Early(Recorder):
    """Gives its PID away in its constructor."""

    def __init__(self, publish):
        super().__init__()
        publish(self.pid)


class EarlyStarting(Early):
    """The same, with an `on_start`."""

    def on_start(self):
        self.got.append("started")


class EarlyAsync(EarlyStarting):
    """The same, `async def` throughout."""

    async def on_start(self):
        await asyncio.sleep(0)
        super().on_start()

    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


KINDS = pytest.mark.parametrize("cls", [Early, EarlyStarting, EarlyAsync])


def from_start(cls, *messages):
    return [*(["started"] if cls is not Early else []), *messages]


@KINDS
@pytest.mark.parametrize("resizes", [(), (3,), (1, 4), (4, 1, 2)], ids=str)
def test_what_was_sent_before_the_start_arrives_after_it_in_order(cls, resizes):
    answers = []

    def publish(pid):
        audience = Audience([other])
        node.send(pid, 1)
        resize()
        node.send([other, pid, PID.parse(str(pid))], 2)
        audience.add(pid)
        node.send(audience, 3)
        resize()
        answers.append(node.ask(pid, "ask", WAIT_S))
        node.send([pid], 4, send_mode="offload")
        node.send(audience, 5, pack_mode="binary")
        resize()
        node.send(pid, 6)
        answers.append(audience)

    def resize():
        if left:
            node.resize(left.pop(0))

    for _ in range(5):
        left = list(resizes)
        with Node(workers=2) as node:
            other = node.spawn(Recorder)
            pid = node.spawn(cls, publish)
            node.send(pid, 7)
            assert read(node, pid) == from_start(cls, 1, 2, 2, 3, "ask", 4, 5, 6, 7)
            assert read(node, other) == [2, 3, 5]
            assert answers[0].get() is None
            node.send(answers[1], 8)
            assert read(node, pid)[-1] == read(node, other)[-1] == 8
            assert counts(node)["in_flight"] == 0
        answers.clear()


@KINDS
def test_messages_that_wait_for_the_start_are_in_flight_and_hinder_nobody(cls):
    def publish(pid):
        receipts.append(node.send([pid, *others], "m", receipt=True))
        assert [read(node, other) for other in others] == [["m"]] * 20
        assert not receipts[0].done()
        assert counts(node)["in_flight"] == 1

    receipts = []
    with Node(workers=2) as node:
        others = spawn(node, 20)
        pid = node.spawn(cls, publish)
        assert dict(receipts[0].get(timeout=WAIT_S)[node.id])["delivered"] == 21
        assert read(node, pid) == from_start(cls, "m")


@KINDS
def test_a_monitor_set_before_the_start_hears_of_the_end_once(cls):
    def publish(pid):
        ask(node, watcher, pid)

    with Node(workers=2) as node:
        watcher = node.spawn(Watcher)
        pid = node.spawn(cls, publish)
        assert actor_of(watcher).downs.empty()
        actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        down = actor_of(watcher).downs.get(timeout=WAIT_S)
        assert (down.pid, down.reason) == (pid, "stopped")
        read(node, watcher)
        assert actor_of(watcher).downs.empty()


class Watcher(Recorder):
    """Monitors every PID it gets."""

    def __init__(self):
        super().__init__()
        self.downs = __import__("queue").Queue()

    def take(self, message):
        if type(message) is Down:
            self.downs.put(message)
        else:
            self.monitor(message)


def test_one_sent_to_while_it_is_being_started_gets_it_exactly_once():
    # The list is long, so that the start falls in the middle of looking at it.
    with Node(workers=2) as node:
        other = PID.parse(str(node.spawn(Recorder)))
        for number in range(30):
            pids, go, published = [], threading.Event(), threading.Event()

            def publish(pid, pids=pids, go=go, published=published):
                pids.append(PID.parse(str(pid)))
                published.set()
                assert go.wait(WAIT_S)

            with Threads() as threads:
                threads.start(node.spawn, Early, publish)
                assert published.wait(WAIT_S)
                to = [*[other] * (number * 300), *pids, *[other] * 20_000]
                go.set()
                outcome = node.send(to, "m", receipt=True).get(timeout=WAIT_S)[node.id]
            assert outcome.delivered == len(to)
            assert read(node, pids[0]) == ["m"]
        assert counts(node)["in_flight"] == 0


@pytest.mark.parametrize("cls", [Early, EarlyAsync])
def test_what_was_sent_to_one_whose_constructor_then_raises_is_dead(cls):
    class Failing(cls):
        def __init__(self, publish):
            super().__init__(publish)
            raise LookupError

    receipts = []
    with Node(workers=1, limits=Limits(stop_grace_s=1.0)) as node:
        with pytest.raises(LookupError):
            node.spawn(Failing, lambda pid: receipts.append(node.send([pid], "m", receipt=True)))
        assert dict(receipts[0].get(timeout=WAIT_S)[node.id])["dead"] == 1
        assert counts(node)["in_flight"] == 0
        assert node.stats().actors == 0


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_one_whose_on_start_raises_is_dead_to_all_that_was_sent(error):
    class Failing(Recorder):
        def on_start(self):
            raise error

    class AsyncFailing(Recorder):
        async def on_start(self):
            await asyncio.sleep(0)
            raise error

    with Node(workers=1) as node:
        for cls in (Failing, AsyncFailing):
            pid, other = node.spawn(cls), node.spawn(Recorder)
            outcome = node.send([pid, other], "m", receipt=True).get(timeout=WAIT_S)[node.id]
            assert (outcome.delivered, outcome.dead) == (1, 1)
            with pytest.raises(pykka.ActorDeadError):
                node.ask(pid, "m", WAIT_S).get()
        assert node.stats().actors == 2


def test_on_stop_runs_once_after_what_was_queued_before():
    class Stopping(Recorder):
        def on_stop(self):
            self.got.append("stopped")

    class AsyncStopping(Recorder):
        async def on_stop(self):
            await asyncio.sleep(0)
            self.got.append("stopped")

    with Node(workers=2) as node:
        for cls in (Stopping, AsyncStopping):
            pid = node.spawn(cls)
            actor = actor_of(pid)
            node.send([pid], 1)
            node.send(pid, 2, send_mode="offload")
            stopped = actor.actor_ref.stop(block=False)
            late = node.send([pid], 3, receipt=True)
            assert stopped.get(timeout=WAIT_S) is True
            assert actor.got == [1, 2, "stopped"]
            assert late.get(timeout=WAIT_S)[node.id].dead == 1


def test_what_waits_for_one_that_ends_while_its_worker_is_taken_away_is_counted():
    """Its hook still runs when the worker has no other actors left; what waited in its mailbox is dead after that."""

    class Ending(AsyncGate):
        def __init__(self):
            super().__init__()
            self.ending, self.end = threading.Event(), threading.Event()

        async def on_receive(self, message):
            await super().on_receive(message)
            raise ValueError

        async def on_failure(self, *exc_info):
            self.ending.set()
            assert await asyncio.to_thread(self.end.wait, WAIT_S)

    with Node(workers=4) as node:
        probes = spawn(node, 100)
        stays = min(worker_threads(node), key=lambda thread: thread.name).ident
        pids = spawn(node, 40, Ending)
        for pid in pids:
            node.send(pid, "hold")
        actors = [actor_of(pid) for pid in pids]
        assert all(actor.entered.wait(WAIT_S) for actor in actors)
        receipts = [node.send(pids, number, receipt=True) for number in range(5)]
        for actor in actors:
            actor.opened.set()
        assert all(actor.ending.wait(WAIT_S) for actor in actors)
        threads = [thread for thread in worker_threads(node) if thread.ident != stays]
        node.resize(1)
        for pid in probes:
            read(node, pid)
        for actor in actors:
            actor.end.set()
        for receipt in receipts:
            assert receipt.get(timeout=WAIT_S)[node.id].dead == 40
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        stats = counts(node)
        assert stats["dead"] == 5 * 40
        assert stats["in_flight"] == 0


def worker_threads(node):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{node.name}-worker-")]


def test_a_nodes_stop_counts_all_that_is_left():
    with Node(workers=2, limits=Limits(stop_grace_s=0.05)) as node:
        gates = spawn(node, 6, AsyncGate)
        for gate in gates:
            node.send(gate, "hold")
        actors = [actor_of(gate) for gate in gates]
        assert all(actor.entered.wait(WAIT_S) for actor in actors)
        for number in range(5):
            node.send(gates, number)
        node.stop()
        stats = counts(node)
        for actor in actors:
            actor.opened.set()
        assert stats["in_flight"] == 0
        assert stats["sent"] == 36
        assert (stats["delivered"], stats["dead"]) == (6, 30)


def test_a_nodes_stop_handles_what_is_queued():
    with Node(workers=3) as node:
        log = []
        pids = spawn(node, 500, Recorder, log)
        for number in range(10):
            node.send(pids, number)
            node.send(pids, number, send_mode="offload")
        node.stop()
        assert len(log) == 10_000
        assert counts(node)["delivered"] == 10_000
        assert node.stats().actors == 0
