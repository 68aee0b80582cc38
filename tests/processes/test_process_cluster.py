"""A node with worker processes among other nodes: its workers' actors are reached, and reach, as those of any node."""

from __future__ import annotations

import pykka
import pytest

import manifold
from manifold import Limits
from tests.cluster.support import Nodes, audience, meet, outcome
from tests.processes.actors import Doer, Recorder
from tests.processes.support import ask, at, got, kill, one_in_each, process_of, quiet, until

LIMITS = Limits(node_down_after_s=30.0)


@pytest.fixture
def nodes():
    nodes = Nodes("memory")
    yield nodes
    nodes.close()


@pytest.fixture
def pair(nodes):
    a = nodes.node("a", worker_kind="process", workers=2, limits=LIMITS)
    b = nodes.node("b", workers=2, limits=LIMITS)
    meet(a, b)
    doers = one_in_each(a, Doer)
    assert until(lambda: all(set(ask(a, doer, "nodes")) == {a.id, b.id} for doer in doers))
    return a, b, doers


def test_sends_and_receipts_cross_both_ways(pair):
    a, b, doers = pair
    here, there = [a.spawn(Recorder) for _ in range(10)], [b.spawn(Recorder) for _ in range(10)]
    assert outcome(b.send([*here, *there], "from b", receipt=True)) == {"a": {"delivered": 10}, "b": {"delivered": 10}}
    before = a.stats().handoffs
    for doer in doers:
        told = ask(a, doer, ["receipt", [*here, *there], "from a worker"])
        assert {name: counts["delivered"] for name, counts in told.items()} == {a.id: 10, b.id: 10}
    assert a.stats().handoffs - before == 2  # one for each send, however many recipients
    assert all(got(a, pid) == ["from b", "from a worker", "from a worker"] for pid in here)
    assert all(got(b, pid) == ["from b", "from a worker", "from a worker"] for pid in there)
    quiet(a)
    quiet(b)


def test_asks_and_their_errors_cross_both_ways(pair):
    a, b, doers = pair
    there = b.spawn(Doer)
    for doer in doers:
        assert b.ask(doer, "hello", 10).get() == "hello"
        assert ask(a, doer, ["ask", there, "hello"]) == "hello"
        assert ask(a, doer, ["try", there, ["raise", "value"]]) == ["ValueError", "no such value"]
        with pytest.raises(ValueError, match="no such value"):
            b.ask(doer, ["raise", "value"], 10).get()
    dead = a.spawn(Recorder)
    manifold.ActorRef(dead, Recorder).stop()
    with pytest.raises(pykka.ActorDeadError):
        b.ask(dead, "hello", 10).get()
    quiet(b)


def test_an_answer_of_a_worker_that_is_too_large_for_the_node_that_asks_is_an_error_there(nodes):
    small = Limits(message_max_bytes=1000, packet_max_bytes=4096, inbox_max_bytes=16_384, node_down_after_s=30.0)
    a = nodes.node("a", worker_kind="process", workers=1, limits=LIMITS)
    b = nodes.node("b", limits=small)
    meet(a, b)
    pid = a.spawn(Recorder)
    for _ in range(10):
        b.send(pid, "x" * 900)
    with pytest.raises(manifold.RemoteError, match="MessageTooLarge"):
        got(b, pid)
    assert ask(b, pid, "next") == "next"
    quiet(b)


def test_monitors_cross_both_ways_and_hear_of_a_worker_that_dies(pair):
    a, b, (one, other) = pair
    _, (victim,) = ask(a, one, ["spawn", 1])
    watchers = [b.spawn(Doer), other]
    for watcher, node in zip(watchers, (b, a)):
        ask(node, watcher, ["monitor", victim])
    far = b.spawn(Recorder)
    ask(a, other, ["monitor", far])
    ask(a, other, ["ask", far, "are you watched"])  # it went the same way, behind
    manifold.ActorRef(far, Recorder).stop()
    assert until(lambda: got(a, other) == [["down", far, "stopped"]])
    kill(process_of(a, one))
    assert until(lambda: got(b, watchers[0]) == [["down", victim, "worker process died: SIGKILL"]])
    assert until(lambda: got(a, other)[1:] == [["down", victim, "worker process died: SIGKILL"]])


def test_audiences_span_workers_and_nodes_and_lose_who_goes(pair):
    a, b, (one, other) = pair
    here, there = [a.spawn(Recorder) for _ in range(20)], [b.spawn(Recorder) for _ in range(10)]
    everybody = audience(b, [*here, *there])
    assert ask(a, other, ["gather", [*here, *there]]) == 30
    assert outcome(b.send(everybody, 1, receipt=True)) == {"a": {"delivered": 20}, "b": {"delivered": 10}}
    told = ask(a, other, ["fan_receipt", 2])
    assert {name: counts["delivered"] for name, counts in told.items()} == {a.id: 20, b.id: 10}
    gone = [pid for pid in here if process_of(a, pid) == process_of(a, one)]
    kill(process_of(a, one))
    assert until(lambda: len(everybody) == 30 - len(gone))
    assert until(lambda: ask(a, other, ["size"]) == 30 - len(gone))
    assert outcome(b.send(everybody, 3, receipt=True)) == {
        "a": {"delivered": 20 - len(gone)},
        "b": {"delivered": 10},
    }
    everybody.close()
    quiet(a)
    quiet(b)


def test_workers_hear_of_a_node_that_goes(pair):
    a, b, (one, other) = pair
    there = [b.spawn(Recorder) for _ in range(5)]
    assert ask(a, one, ["gather", [*there, other]]) == 6
    ask(a, other, ["monitor", there[0]])
    open_question = a.ask(one, ["try", b.spawn(Doer), ["block", 0.1]], timeout=None)
    open_question.get(timeout=10)
    b.stop()
    assert until(lambda: ask(a, one, "nodes") == [a.id])
    assert until(lambda: ask(a, one, ["size"]) == 1)
    assert until(lambda: len(got(a, other)) == 1)
    assert got(a, other)[0][1] == there[0]
    assert ask(a, one, ["try", there[0], "hello"])[0] == "NodeDown"
    told = ask(a, one, ["receipt", [*there, other], "x"])
    assert (told[b.id]["unreachable"], told[a.id]["delivered"]) == (5, 1)
    quiet(a)


def test_two_nodes_with_worker_processes(nodes):
    a = nodes.node("a", worker_kind="process", workers=2, limits=LIMITS)
    b = nodes.node("b", worker_kind="process", workers=2, limits=LIMITS)
    meet(a, b)
    senders, receivers = one_in_each(a, Doer), one_in_each(b, Doer)
    for sender in senders:
        assert until(lambda sender=sender: b.id in ask(a, sender, "nodes"))
        ask(a, sender, ["send_many", receivers, 0, 50])
    for receiver in receivers:
        assert until(lambda receiver=receiver: len(got(b, receiver)) == 100)
        assert sorted(got(b, receiver)) == sorted([*range(50), *range(50)])
    with at(a):
        assert manifold.ask(receivers[0], "hello").get() == "hello"
    quiet(a)
    quiet(b)
