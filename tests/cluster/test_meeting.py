"""Nodes find each other, say so, and refuse who is not welcome."""

from __future__ import annotations

import gc
import os
import threading

import pytest

import manifold
from manifold import Limits, ports
from manifold.transport.memory import HUB
from tests.cluster.support import DOWN_AFTER_S, audience, meet, outcome, quiet, record, stays, until


def test_two_nodes_meet(nodes):
    a, b = nodes.together("a", "b")
    assert a.nodes() == [a.id, b.id]
    assert b.nodes() == [b.id, a.id]


def test_a_node_alone_is_its_only_node():
    with manifold.Node("solo", workers=1) as node:
        assert node.nodes() == [node.id]
        assert node.address == ""


@pytest.mark.parametrize("number", [3, 5])
def test_all_learn_of_all_from_one_address(nodes, number):
    made = nodes.together(*"abcdefg"[:number])
    for node in made:
        assert node.nodes()[0] == node.id
        assert sorted(node.nodes()) == sorted(n.id for n in made)


def test_a_chain_of_join_addresses_is_one_cluster(nodes):
    a = nodes.node("a")
    b = nodes.node("b")
    c = nodes.node("c", join=[b.address])
    meet(a, b, c)


def test_nodes_that_join_each_other_at_once_meet_once(memory_nodes):
    a = memory_nodes.node("a", listen="memory://each-a", join=["memory://each-b"])
    seen = memory_nodes.watch(a)
    b = memory_nodes.node("b", listen="memory://each-b", join=["memory://each-a"])
    meet(a, b)
    assert stays(lambda: seen.short() == [("up", "b")] or not seen.short(), 0.7), seen.all


def test_join_takes_one_address_as_a_string_and_any_iterable(nodes):
    a = nodes.node("a")
    b = nodes.node("b", join=a.address)
    c = nodes.node("c", join=iter([a.address]))
    meet(a, b)
    meet(a, c)


def test_a_node_joined_by_another_name_of_its_address_is_met_once(tcp_nodes):
    a = tcp_nodes.node("a")
    seen = tcp_nodes.watch(a)
    b = tcp_nodes.node("b", join=[a.address.replace("127.0.0.1", "localhost")])
    meet(a, b)
    assert until(seen.short)
    assert stays(lambda: seen.short() == [("up", "b")], 1), seen.all
    actor = record(b)
    assert outcome(a.send(actor.pid, 1, receipt=True)) == {"b": {"delivered": 1}}


def test_ipc(tmp_path):
    with (
        manifold.Node("a", workers=1, listen=f"ipc://{tmp_path}/a") as a,
        manifold.Node("b", workers=1, listen=f"ipc://{tmp_path}/b", join=[a.address]) as b,
    ):
        meet(a, b)
        assert a.ask(record(b).pid, "x").get() == "x"


def test_a_node_that_only_joins_is_reached_too(joining_nodes):
    a = joining_nodes.node("a")
    b = manifold.Node("b", workers=1, join=[a.address])
    joining_nodes.made.append(b)
    meet(a, b)
    assert a.ask(record(b).pid, 1).get() == 1


def test_whoever_is_joined_may_start_later(memory_nodes):
    b = memory_nodes.node("b", join=["memory://later"])
    a = memory_nodes.node("a", listen="memory://later", join=[])
    meet(a, b)


def test_events_tell_who_is_there_who_comes_and_who_goes(nodes):
    a, b = nodes.together("a", "b")
    seen = nodes.watch(a)
    assert until(lambda: seen.short() == [("up", "b")])
    c = nodes.node("c")
    assert until(lambda: seen.short() == [("up", "b"), ("up", "c")])
    b.stop()
    assert until(lambda: seen.short() == [("up", "b"), ("up", "c"), ("down", "b")])
    assert seen.all[0] == manifold.NodeUp(b.id)
    assert seen.all[2].node == b.id
    assert a.nodes() == [a.id, c.id]


async def test_events_end_with_their_iteration(nodes):
    a, b = nodes.together("a", "b")
    events = a.events()
    assert await anext(events) == manifold.NodeUp(b.id)
    await events.aclose()


def test_a_stopped_node_has_no_nodes_but_itself(nodes):
    a, b = nodes.together("a", "b")
    a.stop()
    assert a.nodes() == [a.id]


def test_a_node_that_was_stopped_comes_back_under_its_name_and_address(nodes):
    a, b = nodes.together("a", "b")
    seen = nodes.watch(a)
    address = b.address
    b.stop()
    again = nodes.node("b", listen=address)
    meet(a, again)
    assert until(lambda: seen.short() == [("up", "b"), ("down", "b"), ("up", "b")])
    assert stays(lambda: len(seen.all) == 3, 0.5)
    assert again.id != b.id


def test_pids_of_a_former_incarnation_never_reach_the_new_one(nodes):
    a, b = nodes.together("a", "b")
    old = [record(b).pid for _ in range(20)]
    group = audience(a, old)
    address = b.address
    b.stop()
    again = nodes.node("b", listen=address)
    meet(a, again)
    new = [record(again) for _ in range(20)]
    before = quiet(a).unreachable
    assert outcome(a.send(old, 1, receipt=True)) == {"b": {"unreachable": 20}}
    a.send(old[0], 2)
    a.send(old, 3, send_mode="offload")
    a.send(group, 4)
    with pytest.raises(manifold.NodeDown):
        a.ask(old[0], 5).get()
    group.update(old)
    assert len(group) == 0
    stats = quiet(a)
    assert stats.unreachable == before + 42
    # The same numbers, but of the new node.
    assert outcome(a.send([actor.pid for actor in new], "last", receipt=True)) == {"b": {"delivered": 20}}
    assert all(actor.got == ["last"] for actor in new)


def test_a_name_claimed_twice_is_refused_with_one_line_on_each_side(joining_nodes, lines):
    a, b = joining_nodes.together("a", "b")
    seen = joining_nodes.watch(a)
    other = joining_nodes.node("b")
    assert until(lambda: lines)
    assert until(lambda: len(lines) == 2)
    assert stays(lambda: len(lines) == 2, 2), lines
    assert lines[0].startswith(f"{a.id}: {other.id} at {other.address} was turned away: the name 'b' is that of {b.id}")
    assert lines[1].startswith(f"{other.id}: turned away by the node at {a.address}: the name 'b' is that of {b.id}")
    assert other.id not in a.nodes() + b.nodes()
    assert seen.short() == [("up", "b")]
    assert a.ask(record(b).pid, 1).get() == 1


def test_a_name_is_free_again_when_its_holder_has_gone(nodes):
    a, b = nodes.together("a", "b", limits=Limits(node_down_after_s=DOWN_AFTER_S))
    other = nodes.node("b", limits=Limits(node_down_after_s=DOWN_AFTER_S))
    assert stays(lambda: other.id not in a.nodes(), 0.3)
    b.stop()
    meet(a, other)


def test_a_wrong_cookie_never_joins_and_is_logged_once(tcp_nodes, lines):
    a = tcp_nodes.node("a", cookie="right")
    b = tcp_nodes.node("b", cookie="wrong")
    c = tcp_nodes.node("c", cookie="right")
    d = tcp_nodes.node("d")
    meet(a, c)

    def at_a():
        return [line for line in lines if line.startswith((a.id, f"{a.address} turned"))]

    assert until(at_a), lines
    assert stays(lambda: a.nodes() == [a.id, c.id] and b.nodes() == [b.id] and d.nodes() == [d.id], 2)
    assert 1 <= len(lines) <= 4, lines
    assert len(at_a()) == 1, lines


def test_the_cookie_may_come_from_the_environment(tcp_nodes, monkeypatch):
    a = tcp_nodes.node("a", cookie="right")
    monkeypatch.setenv("MANIFOLD_COOKIE", "right")
    b = tcp_nodes.node("b")
    meet(a, b)


def open_sockets():
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in safe_fds())


def safe_fds():
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


BAD = [
    {"listen": "nonsense"},
    {"listen": "http://127.0.0.1:0"},
    {"listen": "tcp://127.0.0.1"},
    {"listen": "tcp://127.0.0.1:70000"},
    {"listen": "tcp://0.0.0.0:0"},
    {"listen": "ipc:///no/such/folder/x"},
    {"listen": "ipc:///" + "x" * 200},
    {"listen": "tcp://127.0.0.1:0", "join": ["nonsense"]},
    {"listen": "tcp://127.0.0.1:0", "join": ["tcp://127.0.0.1:0"]},
    {"listen": "tcp://127.0.0.1:0", "join": ["tcp://*:4000"]},
    {"listen": "tcp://127.0.0.1:0", "join": ["memory://elsewhere"]},
    {"listen": "memory://bad-one", "join": ["tcp://127.0.0.1:4000"]},
    {"listen": "memory://bad-one", "join": ["memory://"]},
    {"join": ["tcp://127.0.0.1:0"]},
    {"join": [5]},
    {"listen": 5},
    {"transport": "nats:4222"},
    {"transport": "nats://127.0.0.1:1"},
    {"transport": "nats://127.0.0.1:4222?credentials=/no/such/file"},
    {"transport": 5},
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_a_bad_address_is_one_clear_error_and_nothing_is_left(options, lines):
    gc.collect()
    threads, sockets, hosts = set(threading.enumerate()), open_sockets(), set(ports.hosts)
    node = None
    try:
        with pytest.raises((ValueError, TypeError)) as raised:
            node = manifold.Node("bad", workers=2, **options)
        named = [options.get("listen"), options.get("transport"), *options.get("join", [])]
        assert any(str(bad) in str(raised.value) for bad in named if bad is not None)
    finally:
        if node is not None:
            node.stop()
    assert until(lambda: set(threading.enumerate()) <= threads), threading.enumerate()
    gc.collect()
    assert until(lambda: open_sockets() <= sockets)
    assert set(ports.hosts) == hosts
    assert not lines


def test_an_address_that_is_taken_is_one_clear_error(joining_nodes):
    a = joining_nodes.node("a")
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match=r".*:.*") as raised:
        manifold.Node("b", listen=a.address)
    assert a.address in str(raised.value)
    assert until(lambda: set(threading.enumerate()) <= before)


def test_nothing_is_left_of_nodes_that_were_stopped(nodes):
    gc.collect()
    before, sockets = set(threading.enumerate()), open_sockets()
    made = nodes.together("a", "b", "c")
    for node in made:
        node.stop()
    assert until(lambda: set(threading.enumerate()) <= before), threading.enumerate()
    gc.collect()
    assert until(lambda: open_sockets() <= sockets)


class TestPartitions:
    """Over the memory transport, whose hub can cut."""

    def three(self, memory_nodes, after_s):
        limits = Limits(node_down_after_s=after_s)
        return memory_nodes.together("a", "b", "c", limits=limits)

    def test_a_short_cut_is_not_noticed(self, memory_nodes):
        a, b, _ = self.three(memory_nodes, 5.0)
        seen = memory_nodes.watch(a)
        actor = record(b)
        for number in range(5):
            HUB.cut(a.address, b.address)
            for i in range(100):
                a.send(actor.pid, number * 100 + i)
            HUB.heal(a.address, b.address)
        quiet(a)
        assert actor.got == list(range(500))
        assert ("down", "b") not in seen.short()

    def test_a_long_cut_takes_both_down_and_up_again(self, memory_nodes):
        a, b, c = self.three(memory_nodes, DOWN_AFTER_S)
        at_a, at_b = memory_nodes.watch(a), memory_nodes.watch(b)
        actor = record(b)
        HUB.cut(a.address, b.address)
        lost = a.send([actor.pid], 1, receipt=True)
        assert until(lambda: ("down", "b") in at_a.short() and ("down", "a") in at_b.short())
        HUB.heal(a.address, b.address)
        assert outcome(lost) == {"b": {"unreachable": 1}}
        meet(a, b, c)
        assert outcome(a.send([actor.pid], 2, receipt=True)) == {"b": {"delivered": 1}}
        assert actor.got == [2]
        assert ("down", "c") not in at_a.short()

    def test_two_that_never_reached_each_other_meet_when_they_can(self, memory_nodes):
        limits = Limits(node_down_after_s=0.5)
        HUB.cut("memory://part-b", "memory://part-c")
        try:
            a = memory_nodes.node("a", limits=limits)
            b = memory_nodes.node("b", listen="memory://part-b", limits=limits)
            c = memory_nodes.node("c", listen="memory://part-c", limits=limits)
            meet(a, b)
            meet(a, c)
            assert stays(lambda: c.id not in b.nodes(), 1.5)
        finally:
            HUB.heal("memory://part-b", "memory://part-c")
        meet(a, b, c)

    def test_two_that_lost_each_other_for_long_meet_again(self, memory_nodes):
        a, b, c = self.three(memory_nodes, 0.2)
        HUB.cut(b.address, c.address)
        assert until(lambda: c.id not in b.nodes() and b.id not in c.nodes())
        assert stays(lambda: c.id not in b.nodes(), 3.5)
        HUB.heal(b.address, c.address)
        meet(a, b, c)
