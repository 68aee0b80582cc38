"""Actors in worker processes: where they live, how they start, what they may do to each other."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading

import pykka
import pytest

import manifold
from manifold import AskTimeout, Limits, Node, RemoteError
from tests.processes.actors import (
    GOT,
    WHERE,
    AsyncDoer,
    AsyncRecorder,
    Doer,
    Failing,
    FailingStart,
    Light,
    Recorder,
    Started,
    note_start,
    open_slowly,
    refuse_to_start,
)
from tests.processes.support import Keeper, ask, at, check, got, is_running, one_in_each, process_of, quiet, until


@pytest.fixture(scope="module")
def pair(node):
    return one_in_each(node, Doer)


# Where they live.


def test_actors_live_in_as_many_processes_as_there_are_workers(node):
    pids = [node.spawn(Recorder) for _ in range(40)]
    where = [process_of(node, pid) for pid in pids]
    assert len(set(where)) == 2
    assert os.getpid() not in where
    assert min(where.count(process) for process in set(where)) >= 15
    assert {pid.node for pid in pids} == {node.id}


def test_an_actor_started_inside_a_worker_stays_there_and_is_reached_from_everywhere(node, pair):
    one, other = pair
    process, pids = ask(node, one, ["spawn", 20])
    assert {process_of(node, pid) for pid in pids} == {process}
    assert {ask(node, other, ["where", pid]) for pid in pids} == {process}
    node.send(pids, "from here")
    ask(node, other, ["send", pids, "from there"])
    ask(node, one, ["send", pids, "from beside"])
    assert [sorted(got(node, pid)) for pid in pids] == [["from beside", "from here", "from there"]] * 20


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="about the layout of objects in CPython")
def test_actors_that_a_worker_starts_all_at_once_are_as_small_as_others(node):
    first = ask(node, node.spawn(Light), "how many")[0]  # its class is known from here on
    (other,) = set(node._crew.pids()) - {first}
    os.kill(other, signal.SIGSTOP)
    os.waitpid(other, os.WUNTRACED)
    try:
        pids = [node.spawn(Light) for _ in range(400)]
    finally:
        os.kill(other, signal.SIGCONT)
    there = [found for pid in pids[::20] if (found := ask(node, pid, "how many"))[0] == other]
    assert there
    assert {heavy for _, _, heavy in there} == {0}, there


def test_start_and_spawn_take_arguments(node):
    pid = node.spawn(Recorder, 1, [node.spawn(Recorder)], named={"x": (1, 2)})
    given = ask(node, pid, "given")
    assert given[0][0] == 1
    assert type(given[0][1][0]) is manifold.PID
    assert given[1] == {"named": {"x": (1, 2)}}
    with at(node):
        ref = Recorder.start("argument")
    assert ref.ask("given") == (("argument",), {})


def test_ids_are_never_used_twice(node, pair):
    pids = [node.spawn(Recorder) for _ in range(50)]
    for doer in pair:
        pids += ask(node, doer, ["spawn", 50])[1]
    assert len(set(pids)) == 150


# What cannot be started.


def test_a_class_that_cannot_be_imported_is_named_at_the_caller(node):
    class Local(manifold.Actor):
        pass

    with pytest.raises(TypeError, match=r"Local.*top level of a module|Local.*pickle"):
        node.spawn(Local)


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [((1, threading.Lock()), {}, "argument 2"), ((), {"key": lambda: 0}, "argument 'key'")],
)
def test_an_argument_that_cannot_be_pickled_is_named_at_the_caller(node, args, kwargs, named):
    with pytest.raises(TypeError, match=named):
        node.spawn(Recorder, *args, **kwargs)


def test_what_a_constructor_raises_is_logged_and_the_actor_is_dead(node, caplog):
    pid = node.spawn(Failing)
    with pytest.raises(pykka.ActorDeadError):
        ask(node, pid, "hello")
    assert until(lambda: "the constructor failed" in caplog.text)
    pid = node.spawn(FailingStart)
    with pytest.raises(pykka.ActorDeadError):
        ask(node, pid, "hello")
    assert until(lambda: "on_start failed" in caplog.text)
    quiet(node)


# References.


def test_a_reference_tells_asks_and_stops_from_another_process(node, pair):
    with at(node):
        ref = Recorder.start()
    assert ref.is_alive()
    ref.tell("told")
    assert ref.ask("asked") == "asked"
    assert ref.ask("later", block=False).get() == "later"
    assert got(node, ref.pid) == ["told", "asked", "later"]
    assert pickle.loads(pickle.dumps(ref)) == ref
    ref.tell("before the stop")
    assert ref.stop() is True
    assert ref.stop() is False
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("too late")


def test_a_reference_works_between_workers(node, pair):
    one, other = pair
    _, (pid,) = ask(node, other, ["spawn", 1])
    assert ask(node, one, ["alive", pid]) is True
    ask(node, one, ["tell", pid, "from one"])
    assert got(node, pid) == ["from one"]
    assert ask(node, one, ["stop", pid]) is True
    assert ask(node, one, ["stop", pid]) is False
    assert ask(node, one, ["alive", pid]) is False


def test_a_proxy_to_an_actor_of_another_process_says_why_not(node):
    with at(node):
        ref = Recorder.start()
    with pytest.raises(TypeError, match="another process"):
        ref.proxy()


def test_only_the_actors_of_a_process_are_in_its_registry(node):
    before = len(pykka.ActorRegistry.get_all())
    node.spawn(Recorder)
    assert len(pykka.ActorRegistry.get_all()) == before


# Asks.


def test_a_handler_may_ask_any_actor_blocking_or_not(node, pair):
    keeper = Keeper.start()
    pid = node.pid_of(keeper)
    try:
        for one, other in (pair, pair[::-1]):
            assert ask(node, one, ["ask", other, WHERE]) == process_of(node, other)
            assert ask(node, one, ["ask", pid, "hello"]) == os.getpid()
        waiting = one_in_each(node, AsyncDoer)
        assert ask(node, waiting[0], ["ask", waiting[1], WHERE]) == process_of(node, waiting[1])
        assert keeper.ask(GOT) == ["hello"] * 2
    finally:
        keeper.stop()


def test_what_an_asked_handler_raises_is_raised_at_the_asker(node, pair):
    with pytest.raises(ValueError, match="no such value"):
        ask(node, pair[0], ["raise", "value"])
    with pytest.raises(RemoteError, match="our own") as caught:
        ask(node, pair[0], ["raise", "custom"])
    assert "do_raise" in caught.value.traceback_text
    assert ask(node, pair[0], ["try", pair[1], ["raise", "value"]]) == ["ValueError", "no such value"]


def test_asking_the_dead_fails_at_once(node, pair):
    pid = node.spawn(Recorder)
    with at(node):
        manifold.ActorRef(pid, Recorder).stop()
    with pytest.raises(pykka.ActorDeadError):
        ask(node, pid, "hello")
    for doer in pair:
        assert ask(node, doer, ["try", pid, "hello"])[0] == "ActorDeadError"
    unknown = manifold.PID("nowhere@00000000", 1)
    assert ask(node, pair[0], ["try", unknown, "hello"])[0] == "NodeDown"


def test_a_time_out_is_told(node):
    with pytest.raises(AskTimeout):
        node.ask(node.spawn(Doer), ["block", 0.3], timeout=0.05).get()


def test_a_blocking_wait_for_its_own_worker_would_deadlock(node):
    doer = node.spawn(Doer)
    _, (pid,) = ask(node, doer, ["spawn", 1])
    assert ask(node, doer, ["try", pid, "hello"])[0] == "WouldDeadlock"


# on_worker_start.


@pytest.mark.parametrize("function", [note_start, open_slowly])
def test_on_worker_start_runs_once_in_each_worker_before_any_actor(function):
    with Node("begun", worker_kind="process", workers=2, on_worker_start=function) as node:
        for pid in [node.spawn(Started) for _ in range(6)]:
            process, started = ask(node, pid, "?")
            assert started == [process]


def test_a_worker_that_cannot_begin_fails_the_start_and_leaves_nothing():
    with pytest.raises(manifold.ManifoldError, match="no database"):
        Node("unborn", worker_kind="process", workers=2, on_worker_start=refuse_to_start)


def test_on_worker_start_has_to_be_importable_and_for_processes():
    with pytest.raises(TypeError, match="top level"):
        Node(worker_kind="process", on_worker_start=lambda: None)
    with pytest.raises(TypeError, match="function"):
        Node(worker_kind="process", on_worker_start=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_worker_start"):
        Node(on_worker_start=note_start)


# The rest of the contract.


def test_resize_says_why_not(node):
    with pytest.raises(ValueError, match="process"):
        node.resize(3)


def test_stats_have_the_whole_node(node):
    before = quiet(node)
    pids = [node.spawn(Recorder) for _ in range(100)]
    receipt = node.send(pids, "x", receipt=True)
    assert dict(receipt.get(timeout=10))[node.id].delivered == 100
    after = node.stats()
    check(after)
    assert after.workers == 2
    assert after.actors == before.actors + 100
    assert after.delivered == before.delivered + 100
    assert after.handoffs == 0


def test_a_worker_tells_its_own_counts(node, pair):
    stats = ask(node, pair[0], "stats")
    assert stats["sent"] == sum(stats[part] for part in ("delivered", "dead", "shed", "unreachable", "in_flight"))
    assert stats["workers"] == 2
    assert ask(node, pair[0], "nodes") == [node.id]


def test_the_node_may_be_stopped_from_inside_an_actor():
    node = Node("inside", worker_kind="process", workers=2)
    workers = node._crew.pids()
    node.send(node.spawn(Doer), ["stop_node"])
    assert until(lambda: node.stats().actors == 0 and not any(map(is_running, workers)))
    node.stop()


def test_everything_queued_is_handled_before_the_stop():
    keeper = Keeper.start()
    node = Node("last", worker_kind="process", workers=2)
    try:
        ledger = node.pid_of(keeper)
        doers = one_in_each(node, Doer)
        slow = [node.spawn(AsyncRecorder) for _ in range(50)]
        for number in range(200):
            node.send(slow, number)
        for doer in doers:
            node.send(doer, ["send_many", ledger, 0, 100])
        node.stop()
        stats = node.stats()
        check(stats)
        assert (stats.in_flight, stats.actors, stats.dead, stats.shed) == (0, 0, 0, 0), stats
        assert stats.delivered >= 200 * 50 + 200
        assert len(keeper.ask(GOT)) == 200
    finally:
        node.stop()
        keeper.stop()


def test_a_stuck_worker_does_not_hold_up_the_stop(caplog):
    node = Node("stuck", worker_kind="process", workers=2, limits=Limits(stop_grace_s=0.3))
    workers = node._crew.pids()
    node.send(node.spawn(Doer), ["block", 60])
    node.stop()
    assert not any(map(is_running, workers))
    assert "stuck" in caplog.text
    check(node.stats())
    assert node.stats().in_flight == 0
