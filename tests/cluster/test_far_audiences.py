"""Audiences with members on several nodes."""

from __future__ import annotations

import gc

import pytest

import manifold
from manifold.testing import Simulation
from tests.cluster.support import audience, meet, outcome, quiet, record, until
from tests.support import pids, spawn


def test_members_on_several_nodes(nodes):
    a, b, c = nodes.together("a", "b", "c")
    actors = spawn(a, 10) + spawn(b, 20) + spawn(c, 30)
    group = audience(a, pids(actors))
    assert len(group) == 60
    assert sorted(group) == sorted(pids(actors))
    assert all(pid in group for pid in pids(actors))
    for number in range(50):
        receipt = a.send(group, number, receipt=number == 49)
    assert outcome(receipt) == {"a": {"delivered": 10}, "b": {"delivered": 20}, "c": {"delivered": 30}}
    assert all(actor.got == list(range(50)) for actor in actors)


def test_a_send_reaches_exactly_those_who_are_in_at_that_moment(nodes):
    a, b, c = nodes.together("a", "b", "c")
    actors = spawn(a, 3) + spawn(b, 3) + spawn(c, 3)
    group = audience(a)
    due = {actor.pid: [] for actor in actors}
    members = set()
    for number in range(600):
        actor = actors[number * 5 % 9]
        if actor.pid in members:
            group.discard(actor.pid)
            members.discard(actor.pid)
        else:
            group.add(actor.pid)
            members.add(actor.pid)
        assert len(group) == len(members)
        modes = {"send_mode": "offload"} if number % 7 == 0 else {}
        a.send(group, number, **modes)
        for pid in members:
            due[pid].append(number)
    stats = quiet(a)
    assert (stats.dead, stats.shed, stats.unreachable) == (0, 0, 0)
    for actor in actors:
        assert actor.got == due[actor.pid]


def test_adding_twice_and_discarding_who_is_not_in(nodes):
    a, b = nodes.together("a", "b")
    far, other = record(b), record(b)
    group = audience(a, [far.pid, far.pid])
    group.add(far.pid)
    group.discard(other.pid)
    assert len(group) == 1
    assert outcome(a.send(group, 1, receipt=True)) == {"b": {"delivered": 1}}
    group.discard(far.pid)
    assert outcome(a.send(group, 2, receipt=True)) == {}
    assert far.got == [1]


def test_close_mid_stream(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    group = audience(a, pids(far))
    for number in range(100):
        a.send(group, number)
    group.close()
    group.close()
    assert len(group) == 0
    with pytest.raises(ValueError, match="closed"):
        a.send(group, "x")
    with pytest.raises(ValueError, match="closed"):
        group.add(far[0].pid)
    assert quiet(a).delivered == 500
    assert all(actor.got == list(range(100)) for actor in far)


def test_an_audience_that_nobody_holds_still_delivers(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    for number in range(50):
        a.send(audience(a, pids(far)), number)
        if number % 10 == 0:
            gc.collect()
    assert quiet(a).delivered == 250
    assert all(actor.got == list(range(50)) for actor in far)


def test_what_was_closed_is_forgotten_far_too(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    groups = [audience(a, pids(far)) for _ in range(20)]
    for group in groups[:5]:
        for pid in pids(far):
            group.discard(pid)
    for group in groups[:10]:
        group.close()
    del group, groups
    gc.collect()
    a.send(pids(far), 1)
    peer = next(iter(b.cluster.peers.values()))
    assert until(lambda: not peer.arrivals._replicas), len(peer.arrivals._replicas)


def test_members_that_stop_leave(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    group = audience(a, pids(far))
    far[0].actor_ref.stop()
    far[1].actor_ref.stop()
    assert until(lambda: len(group) == 3), len(group)
    assert far[0].pid not in group
    assert outcome(a.send(group, 1, receipt=True)) == {"b": {"delivered": 3}}


def test_it_can_be_looked_through_while_members_leave(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 2_000)
    group = audience(a, pids(far))
    quiet(a)
    for actor in far:
        actor.actor_ref.stop(block=False)
    while left := list(group):
        assert set(left) <= set(pids(far))
    assert len(group) == 0


def test_members_that_were_dead_when_added_leave(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 3)
    far[0].actor_ref.stop()
    group = audience(a, pids(far))
    assert until(lambda: len(group) == 2), len(group)


def test_what_was_sent_to_members_that_had_stopped_counts_as_dead(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 10)
    group = audience(a, pids(far))
    for number in range(100):
        a.send(group, number)
        if number % 10 == 5:
            far[number // 10].actor_ref.stop(block=False)
    assert until(lambda: len(group) == 0)
    stats = quiet(a)
    assert stats.delivered + stats.dead == stats.sent
    assert stats.delivered == sum(len(actor.got) for actor in far)
    assert all(actor.got == list(range(len(actor.got))) for actor in far)


def test_members_on_a_node_that_goes_leave(nodes):
    a, b, c = nodes.together("a", "b", "c")
    far, other = spawn(b, 5), spawn(c, 5)
    group = audience(a, pids(far + other))
    b.stop()
    assert until(lambda: len(group) == 5)
    assert all(pid in group for pid in pids(other))
    assert outcome(a.send(group, 1, receipt=True)) == {"c": {"delivered": 5}}


def test_members_of_nodes_that_are_not_connected_stay_out(nodes):
    a, _ = nodes.together("a", "b")
    group = audience(a, [manifold.PID("gone@00000000", 1)])
    assert len(group) == 0
    assert outcome(a.send(group, 1, receipt=True)) == {}


def test_add_again_after_the_node_is_back():
    with Simulation(1) as simulation:
        a, b, c = (simulation.node(name) for name in "abc")
        simulation.meet(a, b, c)
        far, other = spawn(b, 5), spawn(c, 2)
        group = audience(a, pids(far + other))
        assert outcome(a.send(group, 1, receipt=True)) == {"b": {"delivered": 5}, "c": {"delivered": 2}}
        simulation.partition("a", "b")
        assert simulation.run_until(lambda: len(group) == 2, within_s=20)
        simulation.heal("a", "b")
        simulation.meet(a, b)
        assert len(group) == 2
        a.send(group, 2)
        group.update(pids(far))
        assert len(group) == 7
        assert outcome(a.send(group, 3, receipt=True)) == {"b": {"delivered": 5}, "c": {"delivered": 2}}
        assert all(actor.got == [1, 3] for actor in far)
        assert all(actor.got == [1, 2, 3] for actor in other)


def test_a_new_incarnation_takes_part_when_added(nodes):
    a, b = nodes.together("a", "b")
    group = audience(a, pids(spawn(b, 5)))
    address = b.address
    b.stop()
    again = nodes.node("b", listen=address)
    meet(a, again)
    assert until(lambda: len(group) == 0)
    far = spawn(again, 3)
    group.update(pids(far))
    assert outcome(a.send(group, 1, receipt=True)) == {"b": {"delivered": 3}}


def test_audiences_of_several_nodes_do_not_mix(nodes):
    a, b, c = nodes.together("a", "b", "c")
    far = spawn(c, 4)
    of_a, of_b = audience(a, pids(far[:2])), audience(b, pids(far[2:]))
    a.send(of_a, "a")
    b.send(of_b, "b")
    quiet(a)
    quiet(b)
    assert [actor.got for actor in far] == [["a"], ["a"], ["b"], ["b"]]


def test_changes_are_not_counted_as_sent(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    group = audience(a, pids(far))
    group.discard(far[0].pid)
    group.close()
    assert a.stats().sent == 0


def test_an_audience_in_an_actor(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 3)

    class Guild(manifold.Actor):
        def __init__(self):
            self.group = manifold.Audience(pids(far))

        def on_receive(self, message):
            manifold.send(self.group, message)
            return len(self.group)

    guild = a.spawn(Guild)
    for number in range(20):
        assert a.ask(guild, number).get() == 3
    quiet(a)
    assert all(actor.got == list(range(20)) for actor in far)
