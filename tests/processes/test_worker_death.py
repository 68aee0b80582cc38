"""A worker that dies takes its own actors and nobody else's messages; a main process that dies takes its workers."""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pykka
import pytest

import manifold
from manifold import Limits, Node
from manifold.processes.launch import introduce
from manifold.processes.talk import worker_place
from tests.processes.actors import Doer, Recorder
from tests.processes.support import (
    ask,
    at,
    check,
    got,
    is_running,
    kill,
    one_in_each,
    process_of,
    quiet,
    until,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def node():
    with Node("mortal", worker_kind="process", workers=2) as node:
        yield node


def restarted(node, processes):
    """Wait until there are as many workers as before, none of them one of these."""
    return until(lambda: len(node._crew.pids()) == 2 and not set(processes) & set(node._crew.pids()))


class Noted(dict):
    """The workers of a node, by index; notes who else knows of one that comes in."""

    def __init__(self, crew):
        super().__init__(crew._members)
        self.crew = crew
        self.notes = []

    def note(self, what, index):
        place = worker_place(self.crew._host.id, index)
        known = index in self, place in self.crew.cluster.peers, place in self.crew.relayed.peers
        self.notes.append((what, *known))

    def __setitem__(self, index, member):
        self.note("taken in", index)
        super().__setitem__(index, member)


def test_one_that_is_started_again_gets_nothing_before_its_introduction_and_all_that_actors_of_it_are_due(
    node, monkeypatch
):
    members = node._crew._members = Noted(node._crew)

    def noted(pipe, setup):
        members.note("introduced", setup.worker)
        introduce(pipe, setup)

    monkeypatch.setattr("manifold.processes.crew.introduce", noted)
    process = node._crew.pids()[0]
    kill(process)
    assert restarted(node, [process])
    assert members.notes == [("introduced", False, False, False), ("taken in", False, True, True)]


# A worker dies.


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_its_actors_are_down_and_it_is_started_again(node, caplog, how):
    victim, watcher = one_in_each(node, Doer)
    process = process_of(node, victim)
    ask(node, watcher, ["monitor", victim])
    open_question = node.ask(victim, ["block", 30], timeout=None)
    with at(node):
        audience = manifold.Audience([victim, watcher])
    assert until(lambda: node.stats().in_flight <= 1)
    receipt = node.send([victim, watcher], "on the way", receipt=True)
    os.kill(process, how)
    with pytest.raises(pykka.ActorDeadError, match=how.name):
        open_question.get(timeout=10)
    assert dict(receipt.get(timeout=10)[node.id]) == {"delivered": 1, "dead": 1, "shed": 0, "unreachable": 0}
    assert until(lambda: len(got(node, watcher)) == 2)
    assert ["down", victim, f"worker process died: {how.name}"] in got(node, watcher)
    assert until(lambda: list(audience) == [watcher])
    assert not manifold.ActorRef(victim, Doer).is_alive()
    assert restarted(node, [process])
    fresh = [node.spawn(Recorder) for _ in range(10)]
    assert len({process_of(node, pid) for pid in fresh}) == 2
    with pytest.raises(pykka.ActorDeadError):
        ask(node, victim, "are you there")
    assert f"({how.name})" in caplog.text
    quiet(node)
    audience.close()


def test_what_was_queued_for_it_is_dead_and_everybody_elses_messages_arrive_in_order(node):
    rng = random.Random(7)
    victim, witness = one_in_each(node, Doer)
    mixed = [node.spawn(Recorder) for _ in range(60)]
    rng.shuffle(mixed)
    others = [pid for pid in mixed if process_of(node, pid) == process_of(node, witness)]
    doomed = [pid for pid in mixed if pid not in others]
    with at(node):
        audience = manifold.Audience(mixed)
    process = process_of(node, victim)
    before = quiet(node).sent
    for number in range(600):
        if number == 300:
            node.send(victim, ["kill"])
        node.send(audience if number % 2 else mixed, number)
    assert restarted(node, [process])
    for number in range(600, 700):
        node.send(mixed, number)
    assert all(got(node, pid) == list(range(700)) for pid in others)
    stats = quiet(node)
    # An audience that is known to have lost its members counts them no more; whoever was counted is accounted for.
    assert stats.sent - before <= 700 * len(mixed) + 1 + len(others)
    assert stats.dead >= 100 * len(doomed)
    assert stats.actors == 1 + len(others)
    audience.close()


def test_between_others_nothing_is_lost_while_workers_are_killed_again_and_again():
    limits = Limits(worker_restarts_max=1000)
    with Node("hunted", worker_kind="process", workers=3, limits=limits) as node:
        safe = one_in_each(node, Doer, 3)
        by_process = {process_of(node, pid): pid for pid in safe}
        hunted = node._crew.pids()[0]
        one, other = [pid for process, pid in by_process.items() if process != hunted]
        stop = threading.Event()
        numbers = itertools.count()
        sent = []

        def send():
            while not stop.is_set():
                number = next(numbers)
                node.send([one, other], number)
                sent.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            for _ in range(4):
                was = node._crew.pids()
                kill(node._crew._members[0].process.pid)
                assert until(
                    lambda was=was: (
                        node._crew._members.get(0) and node._crew._members[0].is_ready and node._crew.pids() != was
                    )
                )
        finally:
            stop.set()
            thread.join(10)
        assert got(node, one) == sent
        assert got(node, other) == sent
        check(node.stats())


def test_a_worker_that_dies_while_others_send_to_it_from_workers(node):
    victim, sender = one_in_each(node, Doer)
    asker = ask(node, sender, ["doer"])
    node.send(victim, ["block", 30])
    question = node.ask(sender, ["receipt", [victim, asker], "y"], timeout=None)
    asking = node.ask(asker, ["try", victim, "hello"], timeout=None)
    assert until(lambda: node.stats().in_flight == 3)
    kill(node._crew._members[_index_of(node, victim)].process.pid)
    assert question.get(timeout=10)[node.id] == {"delivered": 1, "dead": 1, "shed": 0, "unreachable": 0}
    assert asking.get(timeout=10)[0] == "ActorDeadError"
    quiet(node)


def _index_of(node, pid):
    return int(node.places.of(pid).rpartition("/")[2])


def test_a_worker_that_dies_too_often_stays_away_and_the_node_goes_on(caplog):
    limits = Limits(worker_restarts_max=2)
    with Node("weary", worker_kind="process", workers=2, limits=limits) as node:
        victim, safe = one_in_each(node, Doer)
        index = _index_of(node, victim)
        for _ in range(3):
            assert until(lambda: index in node._crew._members and node._crew._members[index].is_ready)
            process = node._crew._members[index].process.pid
            kill(process)
            assert until(
                lambda process=process: (
                    index not in node._crew._members or node._crew._members[index].process.pid != process
                )
            )
        assert until(lambda: "once too often" in caplog.text)
        assert ask(node, safe, "hello") == "hello"
        pids = [node.spawn(Recorder) for _ in range(10)]
        assert {process_of(node, pid) for pid in pids} == {process_of(node, safe)}
        receipt = node.send([victim, safe], "x", receipt=True)
        assert dict(receipt.get(timeout=10)[node.id])["dead"] == 1
        quiet(node)


# The main process dies.


@pytest.mark.parametrize("busy", [[], ["busy"]], ids=["idle", "busy"])
def test_workers_end_with_their_main_process(busy):
    command = [sys.executable, "-m", "tests.processes.main_process", *busy]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        main, *workers = map(int, process.stdout.readline().split())
        assert len(workers) == 2
        assert all(map(is_running, workers))
        kill(main)
        assert until(lambda: not any(map(is_running, workers)), 2)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


# Starting.


def test_four_workers_cost_little_more_than_four_interpreters_that_import_the_library():
    # What other programs do on this machine, and how fast it is, is no matter.
    begun = _children_s()
    for _ in range(4):
        subprocess.run([sys.executable, "-c", "import manifold"], cwd=ROOT, check=True)
    between = _children_s()
    Node("quick", worker_kind="process", workers=4).stop()
    ended = _children_s()
    assert ended - between < 3 * (between - begun), (between - begun, ended - between)


def _children_s():
    """Give what children of this process that have ended took of the processors' time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("how", "out", "err"),
    [
        ("guarded", "hello True True", ""),
        ("begun", "hello True True", ""),
        ("unguarded", "", "if __name__ == '__main__'"),
    ],
)
@pytest.mark.parametrize("as_module", [True, False])
def test_a_class_of_the_main_module(how, out, err, as_module):
    start = ["-m", "tests.processes.main_with_actor"] if as_module else ["tests/processes/main_with_actor.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, *start, how], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert process.stdout.strip() == out, process.stderr
    assert err in process.stderr
