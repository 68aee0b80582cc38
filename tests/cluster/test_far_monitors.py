"""Monitors across nodes: exactly one Down, after everything the dead actor sent."""

from __future__ import annotations

import contextlib
import threading

import pykka

import manifold
from manifold.testing import Simulation
from tests.cluster.support import record, stays, until
from tests.support import PATIENCE_S, Recorder, pids, spawn


class Monitoring(manifold.Actor):
    def __init__(self, got):
        self.got = got

    def on_receive(self, message):
        match message:
            case ("monitor", pid):
                self.ref = self.monitor(pid)
            case ("demonitor",):
                self.demonitor(self.ref)
            case _:
                self.got.append(message)


class Parting(manifold.Actor):
    """Sends a lot, and ends."""

    def on_receive(self, message):
        if message == "sync":
            return
        to, number, how = message
        for i in range(number):
            modes = {"send_mode": "offload"} if how == "offload" and i % 3 == 0 else {}
            manifold.send(to if i % 2 else [to], i, **modes)
        if how == "fail":
            raise ValueError("the end")
        self.stop()


def monitoring(node, pid):
    got = []
    watcher = node.spawn(Monitoring, got)
    node.ask(watcher, ("monitor", pid)).get()
    if pid.node in node.nodes():
        # What comes by the same way shows that the monitor has arrived.
        with contextlib.suppress(pykka.ActorDeadError):
            node.ask(pid, "sync").get()
    return watcher, got


def downs(got):
    return [message for message in got if isinstance(message, manifold.Down)]


def one_down(got, pid):
    assert until(lambda: downs(got)), got
    assert stays(lambda: len(downs(got)) == 1, 0.1)
    down = downs(got)[0]
    assert down.pid == pid
    return down.reason


def test_a_stop(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    _, got = monitoring(a, far.pid)
    assert not got
    far.actor_ref.stop()
    assert one_down(got, far.pid) == "stopped"


def test_after_everything_it_sent(nodes, caplog):
    caplog.set_level("CRITICAL", logger="pykka")
    a, b = nodes.together("a", "b")
    for how in ("stop", "fail", "offload"):
        far = b.spawn(Parting)
        watcher, got = monitoring(a, far)
        b.send(far, (watcher, 500, how))
        reason = one_down(got, far)
        assert got[:-1] == list(range(500)), how
        assert isinstance(got[-1], manifold.Down)
        assert reason.startswith("failed: ") if how == "fail" else reason == "stopped"
        assert "the end" in reason or how != "fail"


class Falling(manifold.Actor):
    """Offloads its last words, and fails."""

    def on_receive(self, message):
        manifold.send(message, "last", send_mode="offload")
        raise ValueError("the end")


def test_of_one_that_has_just_ended_after_what_it_offloaded(memory_nodes, caplog):
    caplog.set_level("CRITICAL", logger="pykka")
    a, b = memory_nodes.together("a", "b")
    released, got = threading.Event(), []
    watcher, falling = b.spawn(Monitoring, got), a.spawn(Falling)
    blocking = threading.Thread(target=lambda: a.local.offload.put(lambda: released.wait(PATIENCE_S), 0))
    blocking.start()
    blocking.join()
    try:
        a.send(falling, watcher)
        assert until(lambda: a.local.find(falling) is None)
        b.ask(watcher, ("monitor", falling)).get()
        assert b.ask(a.spawn(Recorder), "behind the monitor").get(timeout=PATIENCE_S)
    finally:
        released.set()
    assert until(lambda: len(got) == 2)
    assert [got[0], got[1].reason] == ["last", "no such actor"]


def test_an_actor_that_is_dead_already(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    far.actor_ref.stop()
    _, got = monitoring(a, far.pid)
    assert one_down(got, far.pid) == "no such actor"


def test_a_node_that_is_not_connected(nodes):
    a, _ = nodes.together("a", "b")
    pid = manifold.PID("gone@00000000", 1)
    _, got = monitoring(a, pid)
    assert one_down(got, pid) == "node down"


def test_a_node_that_stops(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    _, got = monitoring(a, far.pid)
    a.ask(far.pid, "the monitor has arrived").get()
    b.stop()
    assert one_down(got, far.pid) in ("stopped", "node down")


def test_a_node_that_cannot_be_reached_any_more():
    with Simulation(1) as simulation:
        a, b = (simulation.node(name) for name in "ab")
        simulation.meet(a, b)
        far = record(b)
        watcher, got = monitoring(a, far.pid)
        simulation.partition("a", "b")
        simulation.run(20.0)
        assert [down.reason for down in downs(got)] == ["node down"]
        simulation.heal("a", "b")
        simulation.meet(a, b)
        # It is monitored anew, and once.
        a.ask(watcher, ("monitor", far.pid)).get()
        a.ask(far.pid, 1).get()
        assert len(downs(got)) == 1
        far.actor_ref.stop()
        simulation.run(1.0)
        assert [(down.pid, down.reason) for down in downs(got)] == [(far.pid, "node down"), (far.pid, "stopped")]


def test_demonitor(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    watcher, got = monitoring(a, far.pid)
    other, heard = monitoring(a, far.pid)
    a.ask(watcher, ("demonitor",)).get()
    a.ask(far.pid, "that has arrived").get()
    far.actor_ref.stop()
    assert one_down(heard, far.pid) == "stopped"
    assert not got


def test_several_monitors_of_one_actor_and_two_of_the_same(nodes):
    a, b, c = nodes.together("a", "b", "c")
    far = record(b)
    watcher, first = monitoring(a, far.pid)
    _, second = monitoring(c, far.pid)
    a.ask(watcher, ("monitor", far.pid)).get()
    a.ask(far.pid, "all have arrived").get()
    c.ask(far.pid, "all have arrived").get()
    far.actor_ref.stop()
    assert one_down(second, far.pid) == "stopped"
    assert until(lambda: len(downs(first)) == 2)
    assert downs(first)[0].ref is not downs(first)[1].ref


def test_nothing_is_kept_of_monitors_that_have_told(nodes):
    a, b = nodes.together("a", "b")
    made = [monitoring(a, record(b).pid) for _ in range(5)]
    peer = next(iter(b.cluster.peers.values()))
    assert len(peer.arrivals._watchers) == 5
    for watcher, _ in made[:2]:
        a.ask(watcher, ("demonitor",)).get()
    for watcher, _ in made[2:]:
        b.find(watcher._actor.ref.pid).actor_ref.stop()
    assert all(until(lambda got=got: downs(got)) for _, got in made[2:])
    assert until(lambda: not peer.arrivals._watchers), peer.arrivals._watchers


def test_who_monitors_thousands_can_take_it_back_at_once(nodes):
    a, b = nodes.together("a", "b")
    far = pids(spawn(b, 8_000))

    class Many(manifold.Actor):
        def on_receive(self, message):
            if message == "monitor":
                self.refs = [self.monitor(pid) for pid in far]
            else:
                for ref in self.refs:
                    self.demonitor(ref)

    many = a.spawn(Many)
    a.ask(many, "monitor", timeout=20).get()
    a.ask(many, "demonitor", timeout=10).get()
    peer = next(iter(a.cluster.peers.values()))
    assert not (peer._monitors or peer._monitor_numbers)


def test_a_monitoring_actor_that_ended_first_harms_nobody(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    watcher, got = monitoring(a, far.pid)
    a.ask(far.pid, 1).get()
    watcher._actor.actor_ref.stop()
    far.actor_ref.stop()
    assert a.ask(record(b).pid, "fine").get() == "fine"
    assert not got


def test_down_counts_as_no_message(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    _, got = monitoring(a, far.pid)
    before = a.stats().sent, b.stats().sent
    far.actor_ref.stop()
    one_down(got, far.pid)
    assert (a.stats().sent, b.stats().sent) == before
