"""Names and placed actors where actors live in worker processes."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from pykka import ActorDeadError

import manifold
from manifold import Limits, Node
from manifold.processes import crew
from tests.cluster.support import stays
from tests.processes.actors import GOT, WHERE, FailingStart, Namer, Placed
from tests.processes.support import PATIENCE_S, ask, at, check, got, kill, one_in_each, quiet, until

KEYS = [f"key-{index}" for index in range(40)]


def placed(key, cls=Placed):
    return manifold.placed(cls, key)


def homes(node):
    return set(node.directory._placement.homes)


def test_placed_actors_live_in_every_worker_and_get_all_in_order(node):
    for number in range(20):
        node.send([placed(key) for key in KEYS], number)
    assert all(ask(node, placed(key), GOT) == list(range(20)) for key in KEYS)
    assert {ask(node, placed(key), WHERE) for key in KEYS} == set(node._crew.pids())


def test_actors_in_workers_send_to_ask_and_name_each_other(node):
    first, second = one_in_each(node, Namer)
    assert ask(node, first, ("register", "one")) is None
    assert ask(node, second, ("register", "two")) is None
    assert ask(node, second, ("register", "one")) == first
    assert ask(node, first, ("whereis", "two")) == second
    assert ask(node, first, ("whereis", "three")) is None
    assert ask(node, first, ("ask", "two", "name")) == node.name
    assert ask(node, "one", "ring") == {node.name: 1}
    ask(node, second, ("send", ("key", "from-inside"), "hello"))
    assert until(lambda: ask(node, placed("from-inside"), GOT) == ["hello"])
    assert ask(node, second, ("ask", ("key", "from-inside"), GOT)) == ["hello"]
    ask(node, first, ("order", "two", second, 300))
    assert until(lambda: len(got(node, second)) == 300)
    assert got(node, second) == list(range(300))
    assert ask(node, second, ("unregister", "one")) is True
    with at(node):
        assert manifold.whereis("one").get(timeout=PATIENCE_S) is None
    quiet(node)


def test_a_message_that_cannot_travel_to_a_worker_is_refused_and_not_counted(node):
    before = quiet(node).sent
    for call in (node.send, node.ask):
        with pytest.raises(manifold.NotSerializable):
            call(placed("anybody's"), object())
    assert quiet(node).sent == before


def test_one_that_cannot_start_is_dead_and_the_next_message_tries_again(node, caplog):
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            with pytest.raises(ActorDeadError):
                ask(node, placed("broken", FailingStart), "hello")
            assert until(lambda: not any(b"FailingStart" in who for who in homes(node)))
    quiet(node)


def test_when_a_worker_dies_its_placed_actors_begin_afresh():
    with Node("dying", worker_kind="process", workers=2) as node:
        node.send([placed(key) for key in KEYS], "before")
        before = {key: ask(node, placed(key), WHERE) for key in KEYS}
        victim = node._crew.pids()[0]
        kill(victim)
        assert until(lambda: victim not in node._crew.pids() and len(node._crew.pids()) == 2)
        assert until(lambda: len(homes(node)) == sum(where != victim for where in before.values()))
        node.send([placed(key) for key in KEYS], "after")
        for key in KEYS:
            assert ask(node, placed(key), GOT) == (["after"] if before[key] == victim else ["before", "after"])
        check(node.stats())


def test_nobody_meets_a_node_before_its_workers_can_take_what_it_is_sent(monkeypatch):
    held, let_go, launch = threading.Event(), threading.Event(), crew.launch

    def late(name):
        held.set()
        assert let_go.wait(PATIENCE_S)
        return launch(name)

    monkeypatch.setattr(crew, "launch", late)
    with Node("a", workers=2, listen="tcp://127.0.0.1:0") as a, ThreadPoolExecutor() as threads, ExitStack() as stack:
        starting = threads.submit(Node, "b", worker_kind="process", workers=2, join=[a.address])
        stack.callback(lambda: starting.result(PATIENCE_S).stop())
        stack.callback(let_go.set)
        assert held.wait(PATIENCE_S)
        assert stays(lambda: a.nodes() == [a.id], 0.5)
        let_go.set()
        assert until(lambda: len(a.ring().nodes) == 2)
        a.send([placed(key) for key in KEYS], "hello")
        assert all(ask(a, placed(key), GOT) == ["hello"] for key in KEYS)
        assert quiet(a).dead == 0


def test_keys_move_between_nodes_of_both_kinds_and_lose_nothing():
    options = {"workers": 2, "listen": "tcp://127.0.0.1:0", "limits": Limits(node_down_after_s=30.0)}
    with ExitStack() as stack:
        a = stack.enter_context(Node("a", **options))
        b = stack.enter_context(Node("b", **options, worker_kind="process", join=[a.address]))
        assert until(lambda: len(a.ring().nodes) == len(b.ring().nodes) == 2)
        inside = b.spawn(Namer)
        number = 0

        def send_to_all():
            nonlocal number
            for key in KEYS:
                a.send(placed(key), ["a", number])
                b.send(placed(key), ["b", number])
                a.send(inside, ("send", ("key", key), ["inside", number]))
            number += 1
            assert ask(b, inside, "name") == "b"  # no more than can be looked at in the end

        send_to_all()
        c = stack.enter_context(Node("c", **options, worker_kind="process", join=[a.address]))
        assert until(lambda: send_to_all() or (len(c.ring().nodes) == 3 and homes(c)))
        assert ask(b, inside, ("leave",)) is None
        assert homes(b) == set()
        send_to_all()
        assert until(lambda: quiet(b) and all(len(ask(a, placed(key), GOT)) == 3 * number for key in KEYS))
        for key in KEYS:
            got = ask(a, placed(key), GOT)
            for sender in ("a", "b", "inside"):
                assert [count for name, count in got if name == sender] == list(range(number))
        assert {ask(a, placed(key), "name") for key in KEYS} == {"a", "c"}
        assert ask(a, inside, "ring") == {"a": 1, "c": 1}
        for node in (a, b, c):
            quiet(node)
