"""A lone node: its options, its block, its counts, and its end: all that is queued is handled, and nothing hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time

import pykka
import pytest

import manifold
from manifold import PID, Actor, Limits, Node, NodeDown, NodeStopped, Outcome, WouldDeadlock, ports
from manifold.actors import ActorDeadError

LONG = 20
"""Seconds after which something that should have happened is given up on. Nothing waits so long when all is well."""

BAD_NAMES = ["", " ", "a b", "a/b", "a@b", "-a", ".a", "\u00e4", "a\n", "x" * 65, 5, b"a", ["a"]]
BAD_WORKERS = [0, -1, 1.5, True, False, "2", [2]]
CAUSES = ("delivered", "dead", "shed", "unreachable", "in_flight")


class Log:
    """What happened, in order; from any thread."""

    def __init__(self):
        self.entries = []
        self._changed = threading.Condition()

    def add(self, entry):
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.entries) >= number, LONG), self.entries
            return list(self.entries)


class Echo(Actor):
    """Answers with what it got."""

    def on_receive(self, message):
        return message


class Teller(Actor):
    """Writes down what it gets, and its end."""

    def __init__(self, log, name="", gate=None):
        super().__init__()
        self.log = log
        self.name = name
        self.gate = gate

    def on_receive(self, message):
        if self.gate is not None:
            assert self.gate.wait(LONG)
        self.log.add((self.name, message))

    def on_stop(self):
        self.log.add((self.name, "stopped"))


class AsyncTeller(Actor):
    """The same, with `async def`."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    async def on_receive(self, message):
        await asyncio.sleep(0)
        self.log.add(message)

    async def on_stop(self):
        await asyncio.sleep(0)
        self.log.add("stopped")


class Stuck(Actor):
    """Its handler says that it runs, and then waits for the event."""

    def __init__(self, runs, end):
        super().__init__()
        self.runs = runs
        self.end = end

    def on_receive(self, message):
        self.runs.set()
        self.end.wait(LONG)


class StuckAsync(Actor):
    """Its `async def` handler says that it runs, and never ends."""

    def __init__(self, runs):
        super().__init__()
        self.runs = runs

    async def on_receive(self, message):
        self.runs.set()
        await asyncio.Event().wait()


class Stopper(Actor):
    """Stops its node when told."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def on_receive(self, message):
        self.node.stop()
        self.log.add("returned")

    def on_stop(self):
        self.log.add("stopped")


class Thread(Actor):
    """Tells on which thread and node it runs."""

    def on_receive(self, message):
        return threading.get_ident(), manifold.current_node()


def assert_reconciled(stats):
    assert stats.sent == sum(stats[cause] for cause in CAUSES)
    assert all(stats[cause] >= 0 for cause in CAUSES)


def threads_of(node):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{node.name}-")]


def join_threads(node):
    for thread in threads_of(node):
        thread.join(LONG)
        assert not thread.is_alive()


def in_thread(function):
    """Run it in a thread of its own; gives a function that waits for what it returns."""
    future = manifold.Future()

    def run():
        try:
            future.set(function())
        except BaseException:
            future.set_exception()

    threading.Thread(target=run).start()
    return lambda: future.get(timeout=LONG)


# Its options.


def test_the_id_is_the_name_and_an_incarnation():
    with Node("north", workers=1) as one, Node("north", workers=1) as two:
        assert one.name == two.name == "north"
        assert one.id.startswith("north")
        assert two.id.startswith("north")
        assert one.id not in {two.id, "north"}


def test_a_name_is_made_up_if_none_is_given():
    with Node(workers=1) as one, Node(workers=1) as two:
        assert one.name
        assert one.name != two.name


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "9", "x" * 64])
def test_a_good_name_is_taken(name):
    with Node(name, workers=1) as node:
        assert node.name == name
        assert PID.parse(str(node.spawn(Echo))).node == node.id


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_bad_name_is_one_clear_error(name):
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="name is 1 to 64 letters, digits") as caught:
        Node(name, workers=1)
    assert repr(name) in str(caught.value)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("workers", BAD_WORKERS, ids=repr)
@pytest.mark.parametrize("kind", ["thread", "loop"])
async def test_a_bad_number_of_workers_is_one_clear_error(workers, kind):
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="workers") as caught:
        Node(workers=workers, worker_kind=kind)
    assert repr(workers) in str(caught.value)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("kind", ["threads", "", "LOOP", None, 1], ids=repr)
def test_a_bad_kind_of_workers_is_one_clear_error(kind):
    with pytest.raises(ValueError, match="worker_kind must be 'thread'") as caught:
        Node(worker_kind=kind)
    assert repr(kind) in str(caught.value)


def test_a_node_that_was_refused_is_not_among_the_running_ones():
    with Node("first", workers=1) as first:
        with pytest.raises(ValueError):
            Node("second", workers=0)
        assert manifold.current_node() is first
    with pytest.raises(TypeError):
        Node(workrs=1)


def test_there_is_one_worker_per_core_that_the_process_may_use():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with Node() as node:
        assert node.stats().workers == cores


def test_there_are_as_many_workers_as_asked_for():
    with Node(workers=3) as node:
        assert node.stats().workers == 3
        threads = {node.ask(node.spawn(Thread), 0).get(timeout=LONG)[0] for _ in range(30)}
        assert len(threads) == 3
        assert threading.get_ident() not in threads


# Its block.


def test_it_is_the_current_node_of_its_block_and_stops_at_the_end():
    with Node("outer", workers=1) as outer:
        assert manifold.current_node() is outer
        with Node("inner", workers=1) as inner:
            assert manifold.current_node() is inner
            assert Echo.start().pid.node == inner.id
        assert manifold.current_node() is outer
        assert Echo.start().pid.node == outer.id
        with pytest.raises(NodeStopped):
            inner.spawn(Echo)
    with pytest.raises(NodeStopped):
        outer.spawn(Echo)
    assert threads_of(outer) == threads_of(inner) == []


async def test_it_is_the_current_node_of_its_async_block_and_stops_at_the_end():
    async with Node("outer", workers=1) as outer:
        assert manifold.current_node() is outer
        async with Node("inner", workers=1) as inner:
            assert manifold.current_node() is inner
            assert await manifold.ask(Echo.start().pid, 5) == 5
        assert manifold.current_node() is outer
        with pytest.raises(NodeStopped):
            inner.spawn(Echo)
    with pytest.raises(NodeStopped):
        outer.spawn(Echo)
    assert threads_of(outer) == threads_of(inner) == []


def test_a_block_that_fails_stops_the_node_and_lets_the_exception_through():
    log = Log()
    with pytest.raises(KeyError, match="mine"), Node(workers=1) as node:
        node.spawn(Teller, log)
        raise KeyError("mine")
    assert log.entries == [("", "stopped")]


async def test_an_async_block_that_fails_stops_the_node_and_lets_the_exception_through():
    log = Log()
    with pytest.raises(KeyError, match="mine"):
        async with Node(worker_kind="loop") as node:
            node.spawn(AsyncTeller, log)
            raise KeyError("mine")
    assert log.entries == ["stopped"]


def test_a_node_stopped_inside_its_block_is_fine():
    with Node(workers=1) as node:
        node.stop()


def test_the_current_node_of_a_handler_is_that_of_its_actor():
    with Node("one", workers=1) as one, Node("two", workers=1) as two:
        pid = one.spawn(Thread)
        assert manifold.current_node() is two
        assert one.ask(pid, 0).get(timeout=LONG)[1] is one


def test_an_actor_started_in_a_handler_lives_on_the_same_node():
    class Parent(Actor):
        def on_receive(self, message):
            return Echo.start().pid

    with Node(workers=2) as one, Node(workers=2):
        assert one.ask(one.spawn(Parent), 0).get(timeout=LONG).node == one.id


def test_one_node_can_be_the_current_one_twice_over():
    with Node(workers=1) as one, Node(workers=1) as two:
        with pytest.raises(ZeroDivisionError), one:
            assert manifold.current_node() is one
            1 / 0  # noqa: B018
        assert manifold.current_node() is two


# Several in one process.


def test_several_nodes_in_one_process_keep_apart():
    with Node("one", workers=1) as one, Node("two", workers=1) as two:
        there = two.spawn(Echo)
        assert there.node == two.id
        assert one.send(there, "hello", receipt=True).get(timeout=LONG) == {two.id: Outcome(unreachable=1)}
        with pytest.raises(NodeDown):
            one.ask(there, "hello").get(timeout=LONG)
        assert two.ask(there, "hello").get(timeout=LONG) == "hello"
        assert (one.stats().actors, two.stats().actors) == (0, 1)
        one.stop()
        assert two.ask(there, "still here").get(timeout=LONG) == "still here"


def test_a_pid_of_a_stopped_node_means_nobody_on_the_next_of_the_same_name():
    with Node("same", workers=1) as before:
        old = before.spawn(Echo)
    with Node("same", workers=1) as after:
        new = after.spawn(Echo)
        assert new.id == old.id
        assert new != old
        assert after.send(old, 1, receipt=True).get(timeout=LONG) == {before.id: Outcome(unreachable=1)}


def test_an_actor_knows_its_node_until_that_has_stopped():
    made = []

    class Known(Actor):
        def on_start(self):
            made.append(self)

        def on_receive(self, message):
            return self.node

    with Node(workers=1) as node:
        pid = node.spawn(Known)
        assert node.ask(pid, 0).get(timeout=LONG) is node
    assert made[0].node is None


# A lone node.


def test_a_lone_node_knows_itself_alone_and_has_no_address():
    with Node(workers=1) as node:
        assert node.nodes() == [node.id]
        assert node.address == ""


async def test_nothing_happens_to_a_lone_node():
    async with Node(workers=1) as node:
        events = node.events()
        first = asyncio.ensure_future(anext(events))
        assert await node.ask(node.spawn(Echo), 1) == 1
        assert not first.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await events.aclose()


def test_its_repr_tells_its_id_and_its_end():
    node = Node("north", workers=1)
    assert node.id in repr(node)
    assert "stopped" not in repr(node)
    node.stop()
    assert "stopped" in repr(node)


# Stopping.


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_is_queued_is_handled_before_on_stop(kind):
    log, gate = Log(), threading.Event()
    node = Node(workers=2)
    blocked = [node.spawn(Teller, Log(), "blocker", gate) for _ in range(8)]
    pid = node.spawn(Teller, log, "t") if kind == "plain" else node.spawn(AsyncTeller, log)
    node.send(blocked, 0)
    for number in range(100):
        node.send(pid, number)
    ended = in_thread(node.stop)
    gate.set()
    ended()
    expected = [*range(100), "stopped"]
    assert log.entries == ([("t", entry) for entry in expected] if kind == "plain" else expected)
    stats = node.stats()
    assert (stats.sent, stats.delivered, stats.actors) == (108, 108, 0)


def test_actors_stop_last_started_first():
    log = Log()
    with Node(workers=1) as node:
        for number in range(50):
            node.spawn(Teller, log, number)
    assert log.entries == [(number, "stopped") for number in reversed(range(50))]


@pytest.mark.parametrize("workers", [1, 4])
def test_every_on_stop_runs_once(workers):
    log = Log()
    with Node(workers=workers) as node:
        for number in range(200):
            node.spawn(Teller, log, number)
    assert sorted(log.entries) == [(number, "stopped") for number in range(200)]


def test_a_stopped_node_leaves_no_thread_and_nothing_in_pykkas_registry():
    node = Node("clean", workers=3)
    pids = {node.spawn(Echo) for _ in range(5)}
    assert pids <= {ref.pid for ref in pykka.ActorRegistry.get_all()}
    node.stop()
    assert threads_of(node) == []
    assert not pids & {ref.pid for ref in pykka.ActorRegistry.get_all()}


def test_stopping_twice_does_nothing_more():
    log = Log()
    node = Node(workers=1)
    node.spawn(Teller, log)
    node.stop()
    before = dict(node.stats())
    node.stop()
    assert log.entries == [("", "stopped")]
    assert dict(node.stats()) == before


def test_stopping_from_many_threads_at_once_stops_once():
    log = Log()
    node = Node(workers=2)
    for number in range(20):
        node.spawn(Teller, log, number)
    for wait in [in_thread(node.stop) for _ in range(8)]:
        wait()
    join_threads(node)
    assert sorted(log.entries) == [(number, "stopped") for number in range(20)]


def test_a_handler_that_never_ends_holds_stop_up_for_the_grace_alone(caplog):
    runs, end, log = threading.Event(), threading.Event(), Log()
    node = Node("grace", workers=1, limits=Limits(stop_grace_s=0.2))
    try:
        behind = node.spawn(Teller, log)
        pid = node.spawn(Stuck, runs, end)
        node.send(pid, 0)
        assert runs.wait(LONG)
        receipt = node.send([behind, pid], 1, receipt=True)
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, "manifold"):
            node.stop()
        assert time.monotonic() - began < LONG / 2
        assert any(node.id in record.getMessage() for record in caplog.records)
        assert receipt.get(timeout=LONG) == {node.id: Outcome(dead=2)}
        stats = node.stats()
        assert (stats.sent, stats.dead, stats.in_flight, stats.actors) == (3, 2, 0, 0)
        assert_reconciled(stats)
    finally:
        end.set()
    join_threads(node)
    assert log.entries == []
    assert_reconciled(node.stats())


def test_an_async_handler_that_never_ends_is_cancelled_after_the_grace(caplog):
    runs = threading.Event()
    node = Node("grace", workers=1, limits=Limits(stop_grace_s=0.2))
    pid = node.spawn(StuckAsync, runs)
    node.send(pid, 0)
    assert runs.wait(LONG)
    receipt = node.send(pid, 1, receipt=True)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "manifold"):
        node.stop()
    assert time.monotonic() - began < LONG / 2
    assert any(node.id in record.getMessage() for record in caplog.records)
    assert receipt.get(timeout=LONG) == {node.id: Outcome(dead=1)}
    join_threads(node)
    assert_reconciled(node.stats())


def test_one_stuck_worker_keeps_no_other_from_ending_well():
    runs, end, log = threading.Event(), threading.Event(), Log()
    node = Node(workers=2, limits=Limits(stop_grace_s=2))
    try:
        node.send(node.spawn(Stuck, runs, end), 0)
        assert runs.wait(LONG)
        pid = node.spawn(Teller, log, "fine")  # the next actor is on the other worker
        node.send(pid, 1)
        node.stop()
        assert log.entries == [("fine", 1), ("fine", "stopped")]
    finally:
        end.set()
    join_threads(node)


def test_an_on_stop_that_raises_keeps_no_other_from_ending_well(caplog):
    class Bad(Actor):
        def on_stop(self):
            raise RuntimeError("bad end")

    log = Log()
    with caplog.at_level(logging.ERROR), Node(workers=1) as node:
        node.spawn(Teller, log)
        node.spawn(Bad)
    assert log.entries == [("", "stopped")]
    assert "bad end" in caplog.text
    assert threads_of(node) == []


def test_stop_inside_a_handler_returns_and_the_node_stops_behind_it():
    log = Log()
    node = Node("selfstop", workers=2)
    node.send(node.spawn(Stopper, log), 0)
    assert log.wait(2)[:2] == ["returned", "stopped"]
    join_threads(node)
    with pytest.raises(NodeStopped):
        node.spawn(Echo)
    assert node.stats().actors == 0


def test_an_actor_started_or_told_in_on_stop_meets_a_node_that_is_stopping():
    log = Log()

    class Restless(Actor):
        def on_stop(self):
            try:
                Echo.start()
            except NodeStopped:
                log.add("refused")

    with Node(workers=1) as node:
        node.spawn(Restless)
    assert log.entries == ["refused"]
    assert node.stats().actors == 0


def test_what_an_actor_sends_in_on_stop_to_one_still_there_arrives_or_is_counted_as_dead():
    log = Log()

    class Parting(Actor):
        def __init__(self, to):
            super().__init__()
            self.to = to

        def on_stop(self):
            manifold.send(self.to, "farewell")

    with Node(workers=1) as node:
        node.spawn(Parting, node.spawn(Teller, log))
    stats = node.stats()
    assert (stats.sent, stats.delivered + stats.dead, stats.in_flight) == (1, 1, 0)
    assert log.entries[-1] == ("", "stopped")


async def test_aclose_stops_without_blocking_the_loop():
    gate, log = threading.Event(), Log()
    node = Node(workers=1)
    node.send(node.spawn(Teller, log, "", gate), 1)
    closing = asyncio.ensure_future(node.aclose())
    await asyncio.sleep(0)
    gate.set()  # the loop is free to do it
    await closing
    assert log.entries == [("", 1), ("", "stopped")]
    assert threads_of(node) == []


# After the end.


def test_after_stop_every_use_says_that_the_node_is_stopped():
    node = Node(workers=1)
    pid = node.spawn(Echo)
    node.stop()
    uses = [
        lambda: node.spawn(Echo),
        lambda: node.send(pid, 1),
        lambda: node.send([pid], 1),
        lambda: node.send([], 1),
        lambda: node.send(pid, 1, send_mode="offload"),
        lambda: node.send(pid, 1, receipt=True),
        lambda: node.send_after(0, pid, 1),
        lambda: node.resize(2),
    ]
    for use in uses:
        with pytest.raises(NodeStopped, match=re.escape(node.id)):
            use()
    assert (node.stats().sent, node.stats().actors) == (0, 0)


def test_an_ask_after_stop_raises_at_once():
    node = Node(workers=1)
    pid = node.spawn(Echo)
    node.stop()
    with pytest.raises((NodeStopped, ActorDeadError)):
        node.ask(pid, 1, timeout=None).get(timeout=LONG)
    assert_reconciled(node.stats())


def test_a_reference_to_an_actor_of_a_stopped_node_is_dead():
    with Node(workers=1):
        ref = Echo.start()
        assert ref.is_alive()
    assert not ref.is_alive()
    assert ref.stop() is False
    with pytest.raises(ActorDeadError):
        ref.tell(1)
    with pytest.raises(ActorDeadError):
        ref.ask(1, timeout=LONG)


async def test_a_drain_after_stop_returns():
    node = Node(workers=1)
    node.stop()
    async with asyncio.timeout(LONG):
        await node.drain()


# On a loop.


def test_a_loop_node_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="running event loop"):
        Node(worker_kind="loop")


async def test_a_loop_node_has_one_worker():
    for workers in (None, 1):
        async with Node(worker_kind="loop", workers=workers) as node:
            assert node.stats().workers == 1
    with pytest.raises(ValueError, match="workers=2"):
        Node(worker_kind="loop", workers=2)


async def test_actors_of_a_loop_node_run_on_the_loop():
    before = set(threading.enumerate())
    async with Node(worker_kind="loop") as node:
        pid = node.spawn(Thread)
        assert await node.ask(pid, 0) == (threading.get_ident(), node)
        assert set(threading.enumerate()) <= before


async def test_a_send_on_the_loop_runs_no_handler_inside_it():
    log = Log()
    async with Node(worker_kind="loop") as node:
        receipt = node.send(node.spawn(Teller, log), 1, receipt=True)
        assert log.entries == []
        assert (await receipt)[node.id].delivered == 1
        assert log.entries == [("", 1)]


async def test_other_threads_may_send_to_and_ask_a_loop_node():
    async with Node(worker_kind="loop") as node:
        pid = node.spawn(Echo)
        answers = await asyncio.to_thread(lambda: [node.ask(pid, n).get(timeout=LONG) for n in range(20)])
        assert answers == list(range(20))


async def test_a_blocking_wait_on_the_thread_of_its_loop_would_deadlock_and_says_so():
    async with Node(worker_kind="loop") as node:
        ref = Echo.start()
        with pytest.raises(WouldDeadlock, match="await"):
            node.ask(ref.pid, 1).get()
        with pytest.raises(WouldDeadlock):
            node.ask(ref.pid, 1).get(timeout=LONG)
        with pytest.raises(WouldDeadlock):
            ref.ask(1)
        with pytest.raises(WouldDeadlock):
            node.send(ref.pid, 1, receipt=True).get(timeout=LONG)
        assert await node.ask(ref.pid, 2) == 2


async def test_waiting_on_the_loop_for_an_actor_of_a_thread_node_is_allowed():
    async with Node(worker_kind="loop"), Node(workers=1) as node:
        assert node.ask(node.spawn(Echo), 1).get(timeout=LONG) == 1


async def test_the_loop_is_free_once_no_loop_node_runs_on_it():
    async with Node(worker_kind="loop"):
        pass
    async with Node(workers=1) as node:
        assert node.ask(node.spawn(Echo), 1).get(timeout=LONG) == 1


async def test_async_with_handles_what_is_queued_and_awaits_async_handlers():
    log = Log()
    async with Node(worker_kind="loop") as node:
        pid = node.spawn(AsyncTeller, log)
        for number in range(50):
            node.send(pid, number)
    assert log.entries == [*range(50), "stopped"]
    assert node.stats().delivered == 50


async def test_async_with_gives_up_an_async_handler_that_never_ends_after_the_grace(caplog):
    runs = threading.Event()
    began = time.monotonic()
    async with Node(worker_kind="loop", limits=Limits(stop_grace_s=0.2)) as node:
        pid = node.spawn(StuckAsync, runs)
        await node.send(pid, 0, receipt=True)
        assert runs.is_set()
        receipt = node.send(pid, 1, receipt=True)
    assert time.monotonic() - began < LONG / 2
    assert (await receipt) == {node.id: Outcome(dead=1)}
    assert node.id in caplog.text
    assert_reconciled(node.stats())


async def test_a_plain_stop_on_the_loop_handles_what_is_queued_for_plain_handlers():
    log = Log()
    node = Node(worker_kind="loop")
    pid = node.spawn(Teller, log)
    for number in range(50):
        node.send(pid, number)
    node.stop()
    assert log.entries == [*(("", number) for number in range(50)), ("", "stopped")]
    assert node.stats().delivered == 50
    node.stop()
    await node.aclose()


async def test_a_plain_stop_on_the_loop_gives_up_async_handlers_and_returns():
    runs = threading.Event()
    node = Node(worker_kind="loop")
    pid = node.spawn(StuckAsync, runs)
    await node.send(pid, 0, receipt=True)
    receipt = node.send(pid, 1, receipt=True)
    node.stop()
    assert (await receipt) == {node.id: Outcome(dead=1)}
    assert node.stats().actors == 0
    assert_reconciled(node.stats())


async def test_stop_in_a_handler_on_the_loop_returns_and_the_node_stops():
    log = Log()
    node = Node(worker_kind="loop")
    await node.send(node.spawn(Stopper, log), 0, receipt=True)
    await node.aclose()
    assert node.id not in ports.hosts
    assert sorted(log.entries) == ["returned", "stopped"]
    with pytest.raises(NodeStopped):
        node.spawn(Echo)


async def test_whoever_closes_a_loop_node_waits_until_it_has_stopped():
    log = Log()
    node = Node(worker_kind="loop")
    node.spawn(Stopper, log)
    first = asyncio.create_task(node.aclose())
    await asyncio.sleep(0)
    first.cancel()  # who does not wait any more does not keep it from stopping
    await node.aclose()
    assert node.id not in ports.hosts
    assert log.entries == ["stopped"]
    assert first.cancelled()


async def test_another_thread_may_stop_a_loop_node():
    log = Log()
    node = Node(worker_kind="loop")
    pid = node.spawn(AsyncTeller, log)
    node.send(pid, 1)
    await asyncio.to_thread(node.stop)
    assert log.entries == [1, "stopped"]


def test_a_loop_that_closes_without_a_stop_does_no_harm():
    log = Log()

    async def main():
        node = Node(worker_kind="loop", limits=Limits(stop_grace_s=3 * LONG))
        pid = node.spawn(Teller, log)
        await node.send(pid, "first", receipt=True)
        node.send(pid, "second")
        return node

    node = asyncio.run(main())
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < LONG
    assert log.entries[0] == ("", "first")
    stats = node.stats()
    assert (stats.sent, stats.delivered + stats.dead, stats.in_flight, stats.actors) == (2, 2, 0, 0)


def test_a_send_to_a_node_whose_loop_is_closed_does_no_harm():
    async def main():
        node = Node(worker_kind="loop")
        return node, node.spawn(Echo)

    node, pid = asyncio.run(main())
    receipt = node.send(pid, 1, receipt=True)
    node.stop()
    outcome = receipt.get(timeout=LONG)[node.id]
    assert outcome.delivered + outcome.dead == 1
    assert_reconciled(node.stats())
    assert node.stats().in_flight == 0


# Resizing.


@pytest.mark.parametrize("workers", BAD_WORKERS, ids=repr)
def test_a_resize_to_a_bad_number_is_one_clear_error_and_changes_nothing(workers):
    with Node(workers=2) as node:
        with pytest.raises(ValueError, match="workers must be a number") as caught:
            node.resize(workers=workers)
        assert repr(workers) in str(caught.value)
        assert node.stats().workers == 2
        assert len(threads_of(node)) == 2


async def test_a_loop_node_cannot_be_resized():
    async with Node(worker_kind="loop") as node:
        for workers in (1, 2):
            with pytest.raises(ValueError, match="one worker"):
                node.resize(workers)
        assert await node.ask(node.spawn(Echo), 1) == 1


def test_a_resize_takes_effect_and_loses_no_actor():
    with Node(workers=1) as node:
        pids = [node.spawn(Thread) for _ in range(40)]
        for workers in (3, 1, 2, 2):
            node.resize(workers)
            assert node.stats().workers == workers
            threads = {ask.get(timeout=LONG)[0] for ask in [node.ask(pid, 0) for pid in pids]}
            assert len(threads) == workers
        assert node.stats().actors == 40
    assert threads_of(node) == []


def test_a_resize_in_the_middle_of_a_stop_hangs_nothing():
    for _ in range(5):
        log = Log()
        node = Node(workers=2, limits=Limits(stop_grace_s=3 * LONG))
        pids = [node.spawn(Teller, log, number) for number in range(50)]
        node.send(pids, 1)
        node.resize(4)
        node.resize(1)
        began = time.monotonic()
        node.stop()
        assert time.monotonic() - began < LONG
        join_threads(node)
        assert node.stats().delivered == 50
        assert len(log.entries) == 100


# Counts.


def test_stats_are_read_by_name_and_as_a_mapping():
    with Node(workers=2) as node:
        pid = node.spawn(Echo)
        node.send([pid, pid], 1, receipt=True).get(timeout=LONG)
        stats = node.stats()
    assert (stats.sent, stats.delivered, stats.actors, stats.workers) == (2, 2, 1, 2)
    assert stats["sent"] == stats.sent
    assert {"sent", *CAUSES, "actors", "workers"} <= set(stats)
    assert dict(stats) == {name: getattr(stats, name) for name in stats}
    assert len(stats) == len(dict(stats))
    assert "sent" in stats
    assert "nonsense" not in stats
    with pytest.raises(KeyError):
        stats["nonsense"]
    with pytest.raises(AttributeError):
        stats.sent = 5


def test_stats_are_a_picture_of_one_moment():
    with Node(workers=1) as node:
        before = node.stats()
        node.send(node.spawn(Echo), 1, receipt=True).get(timeout=LONG)
        assert before.sent == 0
        assert node.stats().sent == 1


def test_every_cause_is_counted():
    runs, end = threading.Event(), threading.Event()

    class Small(StuckAsync):
        mailbox_max = 1

    with Node(workers=1, limits=Limits(stop_grace_s=0.2)) as node:
        try:
            small, dead = node.spawn(Small, runs), node.spawn(Echo)
            node.ask(dead, 0).get(timeout=LONG)
            pykka.ActorRegistry.get_by_class(Echo)[0].stop()
            node.send(small, 0, receipt=True).get(timeout=LONG)  # and is busy with it for ever
            node.send(small, 1)  # waits
            shed = node.send(small, 2, receipt=True).get(timeout=LONG)
            gone = node.send([dead, dead], 3, receipt=True).get(timeout=LONG)
            away = node.send(PID("nowhere@0", 1), 4, receipt=True).get(timeout=LONG)
            stats = node.stats()
        finally:
            end.set()
    assert shed == {node.id: Outcome(shed=1)}
    assert gone == {node.id: Outcome(dead=2)}
    assert away == {"nowhere@0": Outcome(unreachable=1)}
    assert [stats[name] for name in ("sent", *CAUSES)] == [7, 2, 2, 1, 1, 1]
    after = node.stats()
    assert [after[name] for name in ("sent", *CAUSES)] == [7, 2, 3, 1, 1, 0]


def test_counts_add_up_at_any_time():
    done = threading.Event()
    with Node(workers=2) as node:
        pids = [node.spawn(Echo) for _ in range(20)]

        def watch():
            seen = 0
            while not done.is_set():
                stats = node.stats()
                assert_reconciled(stats)
                assert stats.sent >= seen
                seen = stats.sent
            return seen

        watching = in_thread(watch)
        try:
            for number in range(300):
                node.send([*pids, pids[0]], number, send_mode="offload" if number % 7 == 0 else None)
                node.send(pids[number % 20], number)
        finally:
            done.set()
        assert watching() <= 300 * 22
    stats = node.stats()
    assert (stats.sent, stats.delivered) == (300 * 22, 300 * 22)


def test_stops_and_monitors_are_not_counted_as_messages():
    class Watcher(Actor):
        def on_receive(self, message):
            self.monitor(message) if isinstance(message, PID) else None

    with Node(workers=2) as node:
        ref = Echo.start()
        node.ask(node.spawn(Watcher), ref.pid).get(timeout=LONG)
        ref.stop()
        assert node.stats().sent == 1
    assert node.stats().sent == 1
