"""What the fault campaign found, each by itself: over the simulation, where it happens every time."""

from __future__ import annotations

import asyncio

import pytest

import manifold
from manifold import Limits
from manifold.testing import Faults, Simulation

QUICK = Limits(node_down_after_s=1.0, stop_grace_s=1.0)


class Keeper(manifold.Actor):
    def __init__(self, kept):
        self.got = []
        kept.append(self)

    def on_receive(self, message):
        if isinstance(message, manifold.PID):
            self.monitor(message)
        else:
            self.got.append(message)


def spawn(node, number=1):
    kept = []
    for _ in range(number):
        node.spawn(Keeper, kept)
    return kept


def pair(simulation, limits=QUICK):
    nodes = [simulation.node(name, limits=limits) for name in "ab"]
    simulation.meet(*nodes)
    return nodes


def audience(simulation, node, pids=()):
    with simulation.calling(node):
        return manifold.Audience(pids)


def replicas(node):
    return [number for peer in node._hub._by_node.values() for number in peer.arrivals._replicas]


def watchers(node):
    return [number for peer in node._hub._by_node.values() for number in peer.arrivals._watchers]


def discarded(simulation, group, actors):
    for actor in actors:
        group.discard(actor.pid)


def stopped(simulation, group, actors):
    for actor in actors:
        actor.actor_ref.stop()


@pytest.mark.parametrize("leave", [discarded, stopped])
def test_an_audience_whose_members_on_a_node_have_left_is_forgotten_there_when_it_is_closed(leave):
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        actors = spawn(b, 3)
        group = audience(simulation, a, [actor.pid for actor in actors])
        simulation.run(0.1)
        assert len(replicas(b)) == 1
        leave(simulation, group, actors)
        simulation.run(0.1)
        assert len(group) == 0
        fresh = spawn(b)[0]
        group.add(fresh.pid)
        a.send(group, "back")
        simulation.run(0.1)
        assert fresh.got == ["back"]
        leave(simulation, group, [fresh])
        simulation.run(0.1)
        group.close()
        simulation.run(1.5)
        assert replicas(b) == []


def test_an_offloaded_send_behind_the_end_of_all_members_counts_dead():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        actors = spawn(b, 3)
        group = audience(simulation, a, [actor.pid for actor in actors])
        simulation.run(0.1)
        with simulation.calling(a):
            counts = group._count(None)
            a.local.count_sent(3)
        stopped(simulation, group, actors)
        simulation.run(0.1)
        group._send_counted("late", None, b"\xa4late", counts)
        simulation.run(0.1)
        assert (a.stats().dead, a.stats().in_flight) == (3, 0)


def test_a_monitor_that_has_fired_is_forgotten_where_it_watched():
    with Simulation(1) as simulation:
        a, b = pair(simulation)
        watching, watched = spawn(a)[0], spawn(b)[0]
        for pid in (watched.pid, watched.pid, manifold.PID(b.id, 1)):
            a.send(watching.pid, pid)
        simulation.run(0.1)
        assert len(watchers(b)) == 2
        watched.actor_ref.stop()
        simulation.run(0.1)
        assert [down.reason for down in watching.got] == ["no such actor", "stopped", "stopped"]
        assert watchers(b) == []


def test_links_keep_their_time_while_another_is_seen_off():
    with Simulation(1, faults=Faults(delay_s=(0.001, 0.002))) as simulation:
        a, b = pair(simulation)
        c = simulation.node("c", limits=QUICK)
        simulation.meet()
        far, seen_off = spawn(b)[0], 0

        def is_settled():
            nonlocal seen_off
            seen_off += bool(a._hub._leaving)
            return not a.stats().in_flight

        simulation.pause(c, for_s=2.0)  # when it goes on it speaks in sessions that are over
        for number in range(200):
            a.send(far.pid, number)
            at = simulation.now
            assert simulation.run_until(is_settled, within_s=0.05), simulation.now - at
            simulation.run(0.02)
            seen_off += bool(a._hub._leaving)
        assert seen_off
        simulation.meet()


def overload(node, pid):
    for number in range(100):
        try:
            node.send(pid, number)
        except manifold.Overloaded:
            return
    raise AssertionError("never full")


TIGHT = Limits(node_down_after_s=1.0, outbox_max_bytes=2048, stop_grace_s=1.0)


def test_an_io_thread_that_stands_still_before_it_looks_at_the_clock_calls_nobody_silent():
    with Simulation(1) as simulation:
        a = simulation.node("a", limits=QUICK)
        b = simulation.node("b", limits=Limits(node_down_after_s=60.0))
        simulation.meet(a, b)
        simulation.run(5.0)
        hub = a._hub
        session, poll, clock, stood_until = hub._by_node[b.id].link.session, hub._transport.poll, hub._monotonic, [0.0]

        def poll_and_stand_still(timeout_s):
            poll(timeout_s)
            if timeout_s == 0.0 and stood_until == [0.0]:
                stood_until.append(clock() + 3.0)
                simulation.work(3.0)

        hub._transport.poll = poll_and_stand_still
        hub._monotonic = lambda: max(clock(), *stood_until)
        simulation.run(10.0)
        assert len(stood_until) == 2
        assert hub._by_node[b.id].link.session == session


def test_drain_returns_when_the_node_that_was_waited_for_goes_down():
    with Simulation(1) as simulation:
        a, b = pair(simulation, TIGHT)
        far = spawn(b)[0]
        simulation.kill(b, silent=True)
        overload(a, far.pid)
        task = simulation.task(a, a.drain())
        simulation.run(0.5)
        assert not task.done()
        simulation.run(1.0)
        assert a.nodes() == [a.id]
        assert task.done()


def test_drain_returns_when_its_own_node_has_stopped():
    with Simulation(1) as simulation:
        a, b = pair(simulation, TIGHT)
        far = spawn(b)[0]
        simulation.pause(b)
        overload(a, far.pid)
        task = simulation.task(a, a.drain())
        a.stop()
        simulation.run(0.5)
        assert task.done()


def test_a_node_on_a_loop_may_be_closed_from_another():
    class Slow(manifold.Actor):
        async def on_stop(self):
            await asyncio.sleep(0.2)

    with Simulation(1) as simulation:
        a = simulation.node("a", limits=QUICK, worker_kind="loop", workers=1)
        b = simulation.node("b", limits=QUICK)
        a.spawn(Slow)
        task = simulation.task(b, a.aclose())
        simulation.run(0.6)
        assert task.done()
        assert not simulation.is_running(a)


class Waiter(Keeper):
    """Takes a second for every message."""

    async def on_receive(self, message):
        await asyncio.sleep(1.0)
        self.got.append(message)


def paused_and_stopped(simulation, node):
    """Stop a node whose first worker stands still for longer than that may take; give its counts."""
    simulation.pause_worker(node, 0, for_s=10.0)
    yield
    node.stop()
    yield node.stats()


def test_what_waits_behind_a_change_of_an_audience_is_dead_when_a_stop_gives_up(caplog):
    with Simulation(1) as simulation:
        node = simulation.node("a", limits=QUICK, workers=1)
        actors = spawn(node, 3)
        stopping = paused_and_stopped(simulation, node)
        next(stopping)
        group = audience(simulation, node, [actor.pid for actor in actors])
        node.send(group, "never")
        receipt = node.send(group, "never", receipt=True)
        stats = next(stopping)
        assert (stats.sent, stats.dead, stats.in_flight, stats.queued_bytes) == (6, 6, 0, 0)
        assert receipt.get(timeout=0)[node.id].dead == 3
        simulation.run(20.0)  # the worker goes on, and finds nothing to do
        assert "went on after" not in caplog.text
        assert node.stats().in_flight == 0


def test_what_an_actor_brings_along_is_dead_when_a_stop_gives_up():
    with Simulation(1) as simulation:
        node = simulation.node("a", limits=QUICK, workers=2)
        kept = []
        for _ in range(20):
            node.spawn(Waiter, kept)
        node.send([actor.pid for actor in kept] * 3, "x")
        simulation.run(0.1)
        stopping = paused_and_stopped(simulation, node)
        next(stopping)
        node.resize(1)
        simulation.run(1.5)
        stats = next(stopping)
        assert (stats.delivered, stats.dead, stats.in_flight) == (20, 40, 0)


@pytest.mark.parametrize("seed", range(5))
def test_who_is_to_be_joined_is_tried_again_when_its_name_is_contested(seed):
    with Simulation(seed) as simulation:
        old = simulation.node("b", at="here", limits=QUICK)
        a = simulation.node("a", join=["sim://here", "sim://there"], limits=QUICK)
        simulation.meet(a, old)
        simulation.kill(old, silent=True)
        new = simulation.node("b", at="there", join=(), limits=QUICK)  # it joins nobody: it is up to a
        simulation.meet(a, new, within_s=5.0)
