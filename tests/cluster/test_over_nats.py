"""Nodes over NATS: what is not the same as over other transports. All else is tested with these."""

from __future__ import annotations

import threading

import pytest

import manifold
from manifold import Limits
from tests.cluster.support import DOWN_AFTER_S, Nodes, meet, outcome, quiet, record, stays, until
from tests.support import PATIENCE_S

SHORT = Limits(node_down_after_s=DOWN_AFTER_S)


@pytest.fixture
def nodes(nats_server):
    made = Nodes(nats_server.url)
    yield made
    made.close()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def own_nodes(server):
    """Nodes at a server that the test may break."""
    made = Nodes(server.url)
    yield made
    made.close()


def test_nodes_meet_without_being_told_of_each_other(nodes):
    made = nodes.together(*"abcd")
    assert made[0].address.startswith(f"subject://manifold.{nodes.servers.rpartition('=')[2]}.a@")


def test_clusters_on_one_server_do_not_meet(nats_server):
    groups = [Nodes(nats_server.url) for _ in range(2)]
    try:
        short = Limits(node_down_after_s=0.6)
        pairs = [group.together("a", "b", limits=short) for group in groups]
        pairs.append([groups[0].node(name, cookie="c", limits=short) for name in "ab"])
        meet(*pairs[2])
        ids = [{node.id for node in pair} for pair in pairs]
        # One that was too slow for the limit may be missing for a moment; nobody else's may ever be there.
        assert stays(lambda: all(ids[n].issuperset(node.nodes()) for n, pair in enumerate(pairs) for node in pair), 1.5)
    finally:
        for group in groups:
            group.close()


def test_a_name_claimed_twice_is_refused_on_all_sides(nodes, lines):
    a, b = nodes.together("a", "b", limits=SHORT)
    seen = nodes.watch(a)
    other = nodes.node("b", limits=SHORT)
    assert until(lambda: any("turned away" in line for line in lines))
    # Each of the two that is asked says so, and each that is told so: once.
    assert stays(lambda: other.id not in a.nodes() + b.nodes() and len(lines) <= 6, 2.2 * DOWN_AFTER_S), lines
    assert seen.short() == [("up", "b")]
    assert a.ask(record(b).pid, 1).get() == 1
    b.stop()
    meet(a, other)


async def test_a_node_on_the_loop_that_runs(nodes):
    a = nodes.node("a")
    async with manifold.Node("b", worker_kind="loop", transport=nodes.servers) as b:
        actor = record(a)
        assert until(lambda: a.id in b.nodes())
        assert await b.ask(actor.pid, "x") == "x"


def test_nothing_is_lost_while_the_server_is_restarted(own_nodes, server, serve):
    nodes = own_nodes.together("a", "b", "c", limits=Limits(node_down_after_s=30.0))
    seen = own_nodes.watch(nodes[0])
    actors = {node: [record(node) for _ in range(3)] for node in nodes}
    stop = threading.Event()
    sent = dict.fromkeys(nodes, 0)

    def send(node):
        others = [actor.pid for other in nodes if other is not node for actor in actors[other]]
        while not stop.is_set():
            node.send(others, (node.name, sent[node]))
            sent[node] += 1
            if sent[node] % 50 == 0:  # far below what the outbox holds, however long the server is away
                until(lambda: stop.is_set() or node.stats().in_flight < 20_000, 60)

    threads = [threading.Thread(target=send, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            goals = {actor: len(actor.got) + 500 for node in nodes for actor in actors[node]}
            assert until(lambda goals=goals: all(len(actor.got) > goal for actor, goal in goals.items()), 30)
            server.kill()
            server = serve(port=server.port)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for node in nodes:
        stats = quiet(node)
        assert (stats.shed, stats.unreachable, stats.dead) == (0, 0, 0), stats
    for node in nodes:
        for actor in actors[node]:
            for other in nodes:
                got = [number for name, number in actor.got if name == other.name]
                assert got == ([] if other is node else list(range(sent[other])))
    assert seen.short() == [("up", "b"), ("up", "c")] or seen.short() == [("up", "c"), ("up", "b")]


def test_a_server_that_is_away_for_long_takes_all_down_and_up_again(own_nodes, server, serve):
    a, b = own_nodes.together("a", "b", limits=SHORT)
    at_a, at_b = own_nodes.watch(a), own_nodes.watch(b)
    actor = record(b)
    server.kill()
    lost = a.send([actor.pid], 1, receipt=True)
    assert until(lambda: ("down", "b") in at_a.short() and ("down", "a") in at_b.short())
    assert outcome(lost) == {"b": {"unreachable": 1}}
    assert stays(lambda: a.nodes() == [a.id], 1)
    serve(port=server.port)
    meet(a, b)
    assert outcome(a.send([actor.pid], 2, receipt=True)) == {"b": {"delivered": 1}}
    assert actor.got == [2]


def test_a_node_stops_while_its_server_is_away(own_nodes, server):
    a, _ = own_nodes.together("a", "b", limits=Limits(stop_grace_s=1.0))
    server.kill()
    stopper = threading.Thread(target=a.stop)
    stopper.start()
    stopper.join(PATIENCE_S)
    assert not stopper.is_alive()


def test_messages_larger_than_what_the_server_takes_at_once(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    messages = [bytes([number]) * size for number, size in enumerate((100, 1 << 20, 15 << 20, 3))]
    for message in messages:
        a.send(actor.pid, message)
    quiet(a)
    assert actor.got == messages


def test_the_cookie_may_come_from_the_environment(nodes, monkeypatch):
    a = nodes.node("a", cookie="right")
    monkeypatch.setenv("MANIFOLD_COOKIE", "right")
    b = nodes.node("b")
    meet(a, b)
    assert a.ask(record(b).pid, "x").get() == "x"
