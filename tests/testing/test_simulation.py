"""Whole nodes in a simulation: what its faults do, that time is simulated, and that a seed says everything."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pykka
import pytest

import manifold
from manifold import Limits, ports
from manifold.actors.waiting import simulations
from manifold.testing import Faults, Simulation, Stuck

QUICK = Limits(node_down_after_s=1.0, stop_grace_s=1.0)


class Keeper(manifold.Actor):
    """Keeps what it gets, and answers with it."""

    def __init__(self):
        self.got = []
        KEPT.append(self)

    def on_receive(self, message):
        self.got.append(message)
        return message


class Waiter(Keeper):
    """Waits as long as it is told to."""

    async def on_receive(self, message):
        await asyncio.sleep(message)
        self.got.append(message)
        return message


class Doer(Keeper):
    """Does what it is told to, and keeps what comes of it."""

    def on_receive(self, message):
        self.got.append(message())


KEPT: list[Keeper] = []


@pytest.fixture(autouse=True)
def kept():
    KEPT.clear()
    yield KEPT
    KEPT.clear()


def keeper(node, cls=Keeper):
    node.spawn(cls)
    return KEPT[-1]


def pair(simulation, **options):
    nodes = [simulation.node(name, limits=QUICK, **options) for name in "ab"]
    simulation.meet(*nodes)
    return nodes


def ups_and_downs(simulation, node, other):
    return [change.reason for change in simulation.history if (change.node, change.other) == (node.id, other.id)]


# A seed says everything.


def eventful(seed):
    """Play something with all that could differ from run to run; give what it came to."""
    with Simulation(seed, faults=Faults(loss=0.05, duplicate=0.05, reorder=0.05)) as simulation:
        nodes = [simulation.node(name, limits=QUICK) for name in "abc"]
        simulation.meet()
        pids = [keeper(node, cls).pid for node in nodes for cls in (Keeper, Waiter)]
        with simulation.calling(nodes[0]):
            audience = manifold.Audience(pids)
        for number in range(20):
            nodes[number % 3].send(pids, number / 1000)
            nodes[0].send(audience, number / 1000, send_mode="offload")
            nodes[0].ask(pids[number % 6], 0.01)
            simulation.run(0.01)
            nodes[number % 3].resize(1 + number % 4)
        simulation.partition("a", "b")
        simulation.restart(nodes[2])
        simulation.run(3.0)
        simulation.calm()
        simulation.run(3.0)
        return simulation.digest(), simulation.history, [actor.got for actor in KEPT]


def test_equal_seeds_do_the_same_and_others_do_not():
    first = eventful(1)
    KEPT.clear()
    assert eventful(1) == first
    assert eventful(2)[0] != first[0]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_what_hashes_depend_on_makes_no_difference(hash_seed):
    code = "from tests.testing.test_simulation import eventful; print(eventful(1)[0])"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == eventful(1)[0]


def test_what_goes_wrong_says_the_seed():
    with pytest.raises(ZeroDivisionError) as raised, Simulation(seed=4711) as simulation:
        simulation.run(2.0)
        raise ZeroDivisionError
    assert raised.value.__notes__ == [f"In Simulation(seed=4711) at 2.000 s, digest {simulation.digest()}"]


def test_the_documented_example():
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
    names: dict = {}
    exec(text.split("```python")[1].split("```")[0], names)
    names["test_a_partition_that_is_over_soon_loses_nothing"]()


# Time.


def test_simulated_time_costs_none():
    began = time.monotonic()
    with Simulation(1) as simulation:
        node = simulation.node("a", join=())
        waiter = keeper(node, Waiter)
        assert node.ask(waiter.pid, 24 * 3600.0, timeout=None).get(timeout=25 * 3600.0)
        assert simulation.now == pytest.approx(24 * 3600, abs=1)
    assert time.monotonic() - began < 60


def test_timers_and_timeouts_are_on_the_simulated_clock():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far, waiter = keeper(b), keeper(b, Waiter)
        a.send_after(2.0, far.pid, "later")
        simulation.run(1.99)
        assert far.got == []
        simulation.run(0.1)
        assert far.got == ["later"]
        at = simulation.now
        with pytest.raises(manifold.AskTimeout):
            a.ask(waiter.pid, 10.0, timeout=3.0).get()
        assert simulation.now == pytest.approx(at + 3.0, abs=0.01)


def test_timers_of_one_moment_come_in_the_order_made():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=2)
        kept = keeper(node)
        for number in range(100):
            node.send_after(1.0, kept.pid, number)
        simulation.run(2.0)
        assert kept.got == list(range(100))


def test_a_clock_may_run_too_fast():
    with Simulation(1) as simulation:
        a, b = simulation.node("a", join=()), simulation.node("b", join=())
        simulation.clock("a").run_at(2.0)
        fast, slow = keeper(a), keeper(b)
        for node, actor in ((a, fast), (b, slow)):
            node.send_after(1.0, actor.pid, "now")
        simulation.run(0.6)
        assert (fast.got, slow.got) == (["now"], [])


def test_the_time_of_day_may_be_wrong():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        simulation.clock("a").wrong_by_s = -3600.0
        a = simulation.restart(a)
        simulation.meet(a, b)
        assert a.around.time_ns() == pytest.approx(b.around.time_ns() - 3600e9, abs=1e6)


# Blocking.


def test_the_test_may_block_and_time_passes_meanwhile():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        assert a.ask(far.pid, 7).get() == 7
        outcome = a.send([far.pid] * 3, 8, receipt=True).get(timeout=5.0)
        assert outcome[b.id].delivered == 3
        assert far.pid.node == b.id
        assert far.actor_ref.stop() is True


def test_a_handler_may_not_block_and_is_told_so():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far, doer = keeper(b), keeper(a, Doer)

        def block():
            with pytest.raises(manifold.WouldDeadlock, match="await"):
                a.ask(far.pid, 7).get()
            return "told"

        a.send(doer.pid, block)
        simulation.run(0.1)
        assert doer.got == ["told"]


def test_a_handler_may_await():
    class Asker(Keeper):
        async def on_receive(self, message):
            self.got.append(await manifold.ask(message, 7))

    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far, asker = keeper(b), keeper(a, Asker)
        a.send(asker.pid, far.pid)
        simulation.run(0.1)
        assert asker.got == [7]


def test_a_wait_that_nothing_ends_is_an_error():
    with pytest.raises(Stuck, match="seed=1"), Simulation(1) as simulation:
        simulation.node("a", join=())
        manifold.Future().get()


# Senders.


def test_threads_are_senders_of_their_own():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        with simulation.calling(a, "one"):
            assert manifold.current_node() is a
            manifold.send(far.pid, 1, send_mode="offload")
            assert a.local.offload.holds()
        with simulation.calling(a, "two"):
            assert not a.local.offload.holds()
            manifold.send(far.pid, 2)
        with simulation.calling(a, "one"):
            assert a.local.offload.holds()
            manifold.send(far.pid, 3)
        simulation.run(1.0)
        assert far.got in ([1, 3, 2], [1, 2, 3], [2, 1, 3])


def test_no_real_node_is_started_for_who_does_not_say_from_which_to_send():
    with Simulation(1) as simulation:
        a, _ = pair(simulation)
        for call in (lambda: manifold.send(keeper(a).pid, 1), manifold.Audience, Keeper.start):
            with pytest.raises(RuntimeError, match="with simulation"):
                call()
        with simulation.calling(a):
            Keeper.start()
        assert ports.hosts.keys() <= {node.id for node in simulation.nodes()}
    assert ports.current.get() is None


def test_tasks_are_senders_too():
    async def send(node, pid):
        for number in range(3):
            manifold.send(pid, number)
            await asyncio.sleep(1.0)
        return await asyncio.to_thread(node.stats)

    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        task = simulation.task(a, send(a, far.pid))
        simulation.run(1.5)
        assert far.got == [0, 1]
        simulation.run(2.0)
        assert task.result().delivered == 3


def test_later_is_a_thread_that_may_block():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        answers = []
        simulation.later(1.0, lambda: answers.append(a.ask(far.pid, 7).get()))
        simulation.run(0.9)
        assert answers == []
        simulation.run(0.2)
        assert answers == [7]


def test_work_keeps_a_worker_from_all_else():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=1, join=())
        doer, other = keeper(node, Doer), keeper(node)
        node.send(doer.pid, lambda: simulation.work(2.0))
        simulation.run(0.1)
        node.send(other.pid, "waits")
        simulation.run(1.8)
        assert other.got == []
        simulation.run(0.3)
        assert other.got == ["waits"]


def test_a_paused_worker_does_nothing_and_others_go_on():
    with Simulation(1) as simulation:
        node = simulation.node("a", workers=2, join=())
        actors = [keeper(node) for _ in range(20)]
        simulation.pause_worker(node, 0, for_s=1.0)
        node.send([actor.pid for actor in actors], "x")
        simulation.run(0.5)
        assert 0 < sum(len(actor.got) for actor in actors) < 20
        simulation.run(0.6)
        assert all(actor.got == ["x"] for actor in actors)


# Nodes come and go.


def test_a_node_that_is_killed_is_gone_at_once_and_its_sends_before_are_not():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        near, far = keeper(a), keeper(b)
        b.send(near.pid, "last words")
        simulation.run(0.05)
        a.send(far.pid, "never")
        simulation.kill(b)
        assert not simulation.is_running(b)
        simulation.run(2.0)
        assert (near.got, far.got) == (["last words"], [])
        assert a.nodes() == [a.id]
        assert ups_and_downs(simulation, a, b)[0] == ""
        assert len(ups_and_downs(simulation, a, b)) == 2
        assert a.stats().unreachable == 1


@pytest.mark.parametrize("silent", [False, True])
def test_a_restarted_node_is_another_one(silent):
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        old = keeper(b)
        new = simulation.restart(b, silent=silent)
        simulation.meet(a, new)
        assert (new.name, new.address) == (b.name, "sim://b")
        assert new.id != b.id
        fresh = keeper(new)
        assert fresh.pid.id == old.pid.id
        a.send([old.pid, fresh.pid], "for whom")
        simulation.run(1.0)
        assert (old.got, fresh.got) == ([], ["for whom"])


def test_a_node_that_stops_in_order_says_so():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        near, far = keeper(a), keeper(b)
        b.send([near.pid, far.pid], "last words")
        b.stop()
        simulation.run(0.1)
        assert (near.got, far.got) == (["last words"], ["last words"])
        assert ups_and_downs(simulation, a, b) == ["", "goodbye"]
        assert (b.stats().in_flight, b.stats().actors) == (0, 0)
        assert simulation.nodes() == [a]


def test_a_handler_may_stop_its_node():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        a.send(keeper(a, Doer).pid, a.stop)
        assert simulation.run_until(lambda: not simulation.is_running(a), within_s=5.0)
        simulation.run(0.1)
        assert b.nodes() == [b.id]


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("of_another", [False, True])
def test_a_task_may_stop_a_node(kind, of_another):
    class Slow(Keeper):
        async def on_stop(self):
            await asyncio.sleep(0.2)
            self.got.append("stopped")

    with Simulation(1) as simulation:
        a = simulation.node("a", limits=QUICK, worker_kind=kind, workers=1)
        b = simulation.node("b", limits=QUICK)
        slow = keeper(a, Slow)
        task = simulation.task(b if of_another else a, a.aclose())
        simulation.run(3.0)
        assert task.done()
        assert not simulation.is_running(a)
        assert slow.got == ["stopped"]


def test_a_node_may_live_on_an_applications_loop():
    with Simulation(1) as simulation:
        a, b = simulation.node("a", worker_kind="loop", workers=1), simulation.node("b")
        simulation.meet(a, b)
        near, far = keeper(a, Waiter), keeper(b)
        b.send([near.pid, far.pid], 0.1)
        simulation.run(1.0)
        assert (near.got, far.got) == ([0.1], [0.1])
        loops = {worker.loop for worker in a.local.workers}
        simulation.task(a, asyncio.sleep(0)).add_done_callback(lambda task: loops.discard(task.get_loop()))
        simulation.run(0.1)
        assert not loops


# Faults.


def test_a_short_pause_ends_nothing_and_loses_nothing():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        simulation.pause(b, for_s=0.6)
        a.send(far.pid, 1)
        simulation.run(0.5)
        assert simulation.is_paused(b)
        assert far.got == []
        simulation.run(0.5)
        assert far.got == [1]
        assert ups_and_downs(simulation, a, b) == [""]


@pytest.mark.parametrize("seed", range(10))
def test_a_long_pause_ends_the_pair_once(seed):
    with Simulation(seed) as simulation:
        a, b = pair(simulation)
        simulation.pause(b)
        simulation.run(3.0)
        simulation.resume(b)
        simulation.run(5.0)
        assert ups_and_downs(simulation, a, b) == ["", "silent", ""]
        assert [bool(reason) for reason in ups_and_downs(simulation, b, a)] == [False, True, False]


def test_a_partition_of_one_way_is_one_of_both_for_the_links():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        simulation.partition("a", "b", one_way=True)
        simulation.run(3.0)
        assert (a.nodes(), b.nodes()) == ([a.id], [b.id])
        simulation.heal("a", "b")
        simulation.meet(a, b)


def test_a_broken_connection_loses_nothing():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        for number in range(100):
            a.send(far.pid, number)
            simulation.run(0.01)
            if number % 10 == 0:
                simulation.disconnect("a", "b", for_s=0.2 * (number % 20 == 0))
        simulation.run(2.0)
        assert far.got == list(range(100))
        assert ups_and_downs(simulation, a, b) == [""]


def test_a_receiver_that_does_not_look_holds_little_and_its_senders_the_rest():
    with Simulation(1, queue_max_packets=4) as simulation:
        a, b = pair(simulation)
        far = keeper(b)
        simulation.pause(b)
        for number in range(50):
            a.send(far.pid, number)
            simulation.run(0.01)
        assert len(simulation.wires["b"]._inbox) <= 4 + 1
        simulation.resume(b)
        simulation.run(2.0)
        assert far.got == list(range(50))


def test_calm_ends_all_faults():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        simulation.partition("a", "b")
        simulation.disconnect("a", "b", for_s=1e6)
        simulation.pause(b)
        simulation.faults = Faults(loss=1.0)
        simulation.run(5.0)
        assert a.nodes() == [a.id]
        simulation.calm()
        simulation.meet(a, b)


def test_nodes_that_cannot_meet_are_told_of():
    with pytest.raises(AssertionError, match="not met"), Simulation(1) as simulation:
        simulation.partition("a", "b")
        simulation.node("a")
        simulation.node("b")
        simulation.meet(within_s=1.0)


def test_a_place_is_taken_once():
    with Simulation(1) as simulation:
        simulation.node("a", at="here", join=())
        with pytest.raises(ValueError, match="listens there already"):
            simulation.node("b", at="here")


def test_a_task_that_raises_what_ends_loops_ends_none(caplog):
    def exit_from_a_task():
        asyncio.get_running_loop().call_soon(sys.exit)

    with Simulation(1) as simulation:
        node = simulation.node("a", workers=1, join=())
        doer = keeper(node, Doer)
        node.send(doer.pid, exit_from_a_task)
        simulation.run(0.1)
        node.send(doer.pid, lambda: "still there")
        simulation.run(0.1)
        assert doer.got == [None, "still there"]
    assert "an event loop went on" in caplog.text


# What it leaves.


def test_it_leaves_nothing():
    class Held(Keeper):
        async def on_receive(self, message):
            try:
                await asyncio.sleep(1e6)
            finally:
                self.got.append("ended")

        def on_stop(self):
            self.got.append("nobody calls this")

    threads = set(threading.enumerate())
    with Simulation(1) as simulation:
        assert not gc.isenabled()
        a, b = pair(simulation)
        held = [keeper(a, Held), keeper(b, Held)]
        a.send([actor.pid for actor in held], "hold")
        a.send(held[0].pid, "waits")
        simulation.run(0.1)
        a.send([actor.pid for actor in held], "on its way")
        simulation.kill(b)
    assert gc.isenabled()
    assert [actor.got for actor in held] == [["ended"], ["ended"]]
    assert not {a.id, b.id} & set(ports.hosts)
    assert not any(actor.actor_ref in pykka.ActorRegistry.get_all() for actor in held)
    assert threading.get_ident() not in simulations
    assert set(threading.enumerate()) <= threads
    assert manifold.Future().is_set() is False


def test_one_at_a_time_in_a_thread():
    with Simulation(1), pytest.raises(AssertionError, match="one simulation"), Simulation(2):
        pass
    assert threading.get_ident() not in simulations
