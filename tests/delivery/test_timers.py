"""A timer sends once, not before its time, in the order of sends of that moment; a cancelled one leaves nothing."""

import asyncio
import gc
import math
import threading
import time
import weakref

import pytest

import manifold
from manifold import PID, Audience, Limits, Node, NodeStopped, Overloaded
from manifold.testing import Simulation
from tests.delivery.actors_for_tests import (
    WAIT_S,
    Caller,
    Recorder,
    Threads,
    actor_of,
    ask,
    blocked,
    counts,
    read,
    spawn,
    thread_of,
)
from tests.support import shown


class Ticking(manifold.Actor):
    """Sends itself all it gets once more, later; and has it once more come when it stops."""

    def on_receive(self, delay_s):
        self.next = manifold.send_after(delay_s, self.pid, delay_s)

    def on_stop(self):
        self.next.cancel()
        self.on_receive(0.0)


class Signal(Recorder):
    """Says when it has got "end"."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def take(self, message):
        super().take(message)
        if message == "end":
            self.ended.set()


def end(node, pid, delay_s=0.0):
    node.send_after(delay_s, pid, "end")
    assert actor_of(pid).ended.wait(WAIT_S)


def test_it_sends_once_and_not_before_its_time():
    with Node(workers=2) as node:
        pid = node.spawn(Signal)
        start = time.monotonic()
        end(node, pid, 0.05)
        assert time.monotonic() - start >= 0.045
        assert read(node, pid) == ["end"]


def test_every_form_of_recipient_will_do():
    with Node(workers=2) as node:
        pids = spawn(node, 5, Signal)
        refs = [actor_of(pid).actor_ref for pid in pids]
        audience = Audience(pids)
        for to in (pids, iter(pids), refs, audience, [None, *pids], [PID.parse(str(pid)) for pid in pids]):
            node.send_after(0, to, "m")
        node.send_after(0, None, "nobody")
        for pid in pids:
            end(node, pid, 0.02)
        assert [read(node, pid) for pid in pids] == [[*["m"] * 6, "end"]] * 5


def test_shorter_delays_come_first():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=2)
        pid = node.spawn(Recorder)
        node.send_after(0.8, pid, "third")
        node.send_after(0.4, pid, "second")
        node.send_after(0, pid, "first")
        for due in (["first"], ["first", "second"], ["first", "second", "third"]):
            simulation.run(0.3)
            assert read(node, pid) == due


def test_equal_delays_come_in_the_order_made():
    with Node(workers=2) as node:
        pid = node.spawn(Signal)
        for number in range(50):
            node.send_after(0, pid, number)
        end(node, pid)
        assert read(node, pid) == [*range(50), "end"]


def test_it_does_not_overtake_what_its_sender_sent_before():
    with Node(workers=2) as node:
        pid = node.spawn(Signal)
        audience = Audience([pid])
        for number in range(0, 200, 2):
            node.send(audience if number % 4 else [pid], number)
            node.send_after(0, pid, number + 1)
        end(node, pid, 0.02)
        got = read(node, pid)
        assert sorted(got[:-1]) == list(range(200))
        assert [number for number in got[:-1] if number % 2 == 0] == list(range(0, 200, 2))
        assert [number for number in got[:-1] if number % 2] == list(range(1, 200, 2))
        assert all(got.index(number) < got.index(number + 1) for number in range(0, 200, 2))


def test_it_does_not_overtake_what_its_sender_offloaded_before():
    with Node(workers=2) as node:
        crowd = [pid for pid in spawn(node, 20) for _ in range(5000)]
        pid = node.spawn(Signal)
        node.send([*crowd, pid], "before", send_mode="offload")
        node.send_after(0, pid, "after")
        end(node, pid, 0.0)
        node.send([pid], "last", receipt=True).get(timeout=WAIT_S)
        assert read(node, pid) == ["before", "after", "end", "last"]


def test_a_cancelled_one_is_not_sent():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=2)
        pid = node.spawn(Recorder)
        timers = [node.send_after(0.02, pid, number) for number in range(20)]
        assert [timer.cancel() for timer in timers[::2]] == [True] * 10
        assert [timer.cancel() for timer in timers[::2]] == [False] * 10
        simulation.run(0.05)
        assert [timer.cancel() for timer in timers] == [False] * 20
        assert read(node, pid) == [*range(1, 20, 2)]
        assert counts(node)["sent"] == 11


def test_a_cancel_in_the_moment_it_fires_gives_true_just_when_it_is_not_sent():
    with Node(workers=2) as node:
        pid = node.spawn(Signal)
        cancelled = []
        for number in range(300):
            timer = node.send_after(0, pid, number)
            if timer.cancel():
                cancelled.append(number)
            assert not timer.cancel()
        end(node, pid, 0.01)
        assert sorted([*cancelled, *read(node, pid)[:-1]]) == list(range(300))


def test_a_handler_may_cancel_its_own_timer():
    with Node(workers=1) as node:
        caller, pid = node.spawn(Caller), node.spawn(Signal)
        assert ask(node, caller, lambda: manifold.send_after(0, pid, "m").cancel()) is True
        end(node, pid, 0.01)
        assert read(node, pid) == ["end"]


def test_one_more_than_timers_max_raises_and_a_free_place_is_taken_again():
    with Node(workers=1, limits=Limits(timers_max=3)) as node:
        pid = node.spawn(Signal)
        timers = [node.send_after(100, pid, number) for number in range(3)]
        for _ in range(3):
            with pytest.raises(Overloaded) as raised:
                node.send_after(100, pid, "one more")
            assert raised.value.nodes == (node.id,)
        timers[0].cancel()
        timers[0].cancel()
        end(node, pid)
        node.send_after(100, pid, "place of the one that fired")
        with pytest.raises(Overloaded):
            node.send_after(100, pid, "one more")
        assert read(node, pid) == ["end"]


def test_many_cancelled_timers_do_not_pile_up():
    class Message:
        pass

    with Node(workers=1, limits=Limits(timers_max=10)) as node:
        caller, pid = node.spawn(Caller), node.spawn(Signal)
        messages = weakref.WeakSet()
        for _ in range(20_000):
            message = Message()
            messages.add(message)
            assert node.send_after(1000, pid, message).cancel()
        del message
        end(node, pid, 0.01)
        scheduled = ask(node, caller, lambda: len(__import__("asyncio").get_running_loop()._scheduled))
        gc.collect()
        assert len(messages) == 0
        assert scheduled < 1000
        assert read(node, pid) == ["end"]


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, -math.inf])
def test_a_delay_below_zero_raises(delay):
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        with pytest.raises(ValueError):
            node.send_after(delay, pid, "m")


@pytest.mark.parametrize("bad", [7, [7], object(), [object()]], ids=shown)
def test_what_is_no_recipient_raises_at_once(bad):
    with Node(workers=1, limits=Limits(timers_max=1)) as node:
        pid = node.spawn(Signal)
        with pytest.raises(TypeError):
            node.send_after(0, bad, "m")
        end(node, pid)


def test_a_stopped_node_takes_none_and_sends_none():
    with Node(workers=1) as node:
        log = []
        pid = node.spawn(Recorder, log)
        timer = node.send_after(1000, pid, "m")
    with pytest.raises(NodeStopped):
        node.send_after(0, pid, "m")
    timer.cancel()
    assert log == []


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_actors_of_a_node_that_stops_set_timers_that_are_never_sent(kind, caplog):
    node = Node(workers=1, worker_kind=kind)
    node.ask(node.spawn(Ticking), 1000.0).get()
    pid = node.spawn(Ticking)
    node.send(pid, 0.0)
    node.stop()
    with pytest.raises(NodeStopped):
        node.send_after(0, pid, "m")
    assert caplog.messages == []


async def test_one_that_is_pending_on_a_loop_that_outlives_the_node_is_not_sent(caplog):
    async with Node(worker_kind="loop") as node:
        await node.ask(node.spawn(Ticking), 1000.0)
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0, due.set)
    await due.wait()
    assert node._timers._pending == 0
    assert caplog.messages == []


def test_what_the_send_raises_is_logged_and_the_worker_goes_on(caplog):
    with Node(workers=2, limits=Limits(worker_queue_max_bytes=1000)) as node:
        first = node.local.workers[0].thread
        pids = spawn(node, 20)
        pid = next(pid for pid in pids if thread_of(node, pid) != first)
        signal = next(pid for pid in spawn(node, 20, Signal) if thread_of(node, pid) == first)
        audience = Audience([signal])
        audience.close()
        with blocked(node, thread_of(node, pid)):
            with pytest.raises(Overloaded):
                for _ in range(100):
                    node.send(pid, "fill")
            node.send_after(0, pid, "full")
            node.send_after(0, PID("away@00000000", 1), object())
            node.send_after(0, audience, "closed")
            end(node, signal, 0.03)
        text = caplog.text
        assert "is full" in text
        assert "object cannot travel" in text
        assert "closed" in text
        assert read(node, signal) == ["end"]


def test_a_dead_recipient_is_counted_when_it_fires():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=1)
        pid = node.spawn(Recorder)
        node.send_after(1.0, [pid, PID("away@00000000", 1)], "m")
        actor_of(pid).actor_ref.stop(timeout=0.5)
        assert counts(node)["sent"] == 0
        simulation.run(1.5)
        stats = counts(node)
        assert (stats["dead"], stats["unreachable"], stats["in_flight"]) == (1, 1, 0)


def test_timers_made_in_many_threads_all_fire():
    with Node(workers=2) as node:
        pids = spawn(node, 4, Signal)
        with Threads() as threads:
            for pid in pids:
                threads.start(
                    lambda pid=pid: [node.send_after(number % 5 / 1000, pid, number) for number in range(200)]
                )
        for pid in pids:
            end(node, pid, 0.02)
        assert [sorted(read(node, pid)[:-1]) for pid in pids] == [list(range(200))] * 4


def test_pending_timers_survive_resizes():
    with Node(workers=4) as node:
        pids = spawn(node, 20, Signal)
        for pid in pids:
            node.send_after(0.03, pid, "m")
        for workers in (1, 3):
            node.resize(workers)
            read(node, pids[0])
        for pid in pids:
            end(node, pid, 0.05)
        assert [read(node, pid) for pid in pids] == [["m", "end"]] * 20


async def test_a_loop_node_has_timers_too():
    async with Node(worker_kind="loop") as node:
        pid = node.spawn(Recorder)
        node.send_after(0, pid, "first")
        node.send_after(0.01, pid, "m")
        cancelled = node.send_after(0.005, pid, "never")
        assert cancelled.cancel()
        while len(got := await node.ask(pid, "read what you got", WAIT_S)) < 2:
            pass
        assert got == ["first", "m"]
