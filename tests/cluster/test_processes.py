"""Nodes in processes of their own, killed and stopped by the kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import manifold
from manifold import Limits
from tests.cluster.support import DOWN_AFTER_S, Nodes, audience, outcome, quiet, record, stays, until
from tests.support import PATIENCE_S

ROOT = Path(__file__).parents[2]
AFTER_S = DOWN_AFTER_S
LIMITS = Limits(node_down_after_s=AFTER_S)


class Child:
    def __init__(self, name, join, listen="tcp://127.0.0.1:0"):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.child", name, listen, join, str(AFTER_S)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.errors = []
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_ready(self):
        assert until(lambda: self.lines, 30), self.errors
        _, self.id, self.address, echo, silent = self.lines[0].split()
        self.echo, self.silent = manifold.PID.parse(echo), manifold.PID.parse(silent)

    def _read(self, stream, lines):
        lines.extend(iter(lambda: stream.readline().strip(), ""))

    def events(self, node):
        return [line.split()[0] for line in self.lines[1:] if line.split()[1] == node]

    def signal(self, number):
        self.process.send_signal(number)

    def stand_still(self):
        """Stop it, and wait until it has: on a busy machine some of its threads go on for a moment."""
        self.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def close(self):
        self.process.kill()
        self.process.wait(10)
        for thread in self._threads:
            thread.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(params=["tcp", "nats"])
def nodes(request, place):
    made = Nodes(place(request.param))
    yield made
    made.close()


@pytest.fixture
def children(nodes):
    made = []

    def start(name, join, **kwargs):
        made.append(Child(name, nodes.servers if nodes.transport == "nats" else join, **kwargs))
        made[-1].wait_ready()
        return made[-1]

    yield start
    for child in made:
        child.close()


@pytest.fixture
def a(nodes):
    return nodes.node("a", limits=LIMITS)


def test_a_node_that_is_killed(nodes, children, a):
    seen = nodes.watch(a)
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    near = record(a)
    group = audience(a, [near.pid, child.echo])
    assert a.ask(child.echo, 0).get() == 0
    asked = [a.ask(child.silent, number, timeout=None) for number in range(5)]
    got = []

    class Monitoring(manifold.Actor):
        def on_receive(self, message):
            got.append(message) if isinstance(message, manifold.Down) else self.monitor(message)

    a.ask(a.spawn(Monitoring), child.echo).get()
    assert a.ask(child.echo, 1).get() == 1
    before = a.stats()
    child.stand_still()  # so that it takes nothing of what follows
    receipts = [a.send([near.pid, child.echo, child.echo], number, receipt=True) for number in range(100)]
    child.signal(signal.SIGKILL)
    assert until(lambda: seen.short() == [("up", "child"), ("down", "child")], AFTER_S + PATIENCE_S)
    for receipt in receipts:
        assert outcome(receipt) == {"a": {"delivered": 1}, "child": {"unreachable": 2}}
    for future in asked:
        with pytest.raises(manifold.NodeDown):
            future.get(timeout=PATIENCE_S)
    assert until(lambda: got)
    assert stays(lambda: len(got) == 1, 0.1)
    assert got[0].reason == "node down"
    assert until(lambda: len(group) == 1)
    stats = quiet(a)
    # What the silent one was handed, and has not ended, may count either way.
    assert 200 <= stats.unreachable - before.unreachable <= 205
    assert a.nodes() == [a.id]


def test_a_node_that_is_killed_and_started_again_at_its_address(nodes, children, a):
    seen = nodes.watch(a)
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    child.signal(signal.SIGKILL)
    child.process.wait(10)
    lost = a.send([child.echo], "for the old", receipt=True)
    again = children("child", a.address, listen=child.address)
    assert until(lambda: again.id in a.nodes())
    assert outcome(lost) == {"child": {"unreachable": 1}}
    assert outcome(a.send([child.echo], "for the old", receipt=True)) == {"child": {"unreachable": 1}}
    assert a.ask(again.echo, "got").get() == []
    assert child.id not in a.nodes()
    assert until(lambda: seen.short() == [("up", "child"), ("down", "child"), ("up", "child")])
    assert stays(lambda: len(seen.all) == 3, 1.2 * AFTER_S), seen.all
    assert until(lambda: again.events(a.id) == ["up"]), again.lines


def test_a_node_that_is_killed_and_started_again_elsewhere_under_its_name(nodes, children, a):
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    child.signal(signal.SIGKILL)
    child.process.wait(10)
    again = children("child", a.address)
    assert until(lambda: again.id in a.nodes() and child.id not in a.nodes(), AFTER_S + PATIENCE_S)
    assert a.ask(again.echo, 1).get() == 1


def test_a_node_that_stands_still_for_long_comes_back(nodes, children, a):
    seen = nodes.watch(a)
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    group = audience(a, [child.echo])
    assert a.ask(child.echo, 1).get() == 1
    child.stand_still()
    lost = [a.send([child.echo], ("lost", number), receipt=True) for number in range(50)]
    assert until(lambda: seen.short() == [("up", "child"), ("down", "child")], AFTER_S + PATIENCE_S)
    assert stays(lambda: a.nodes() == [a.id], AFTER_S / 2)
    assert [outcome(receipt) for receipt in lost] == [{"child": {"unreachable": 1}}] * 50
    child.signal(signal.SIGCONT)
    assert until(lambda: seen.short() == [("up", "child"), ("down", "child"), ("up", "child")]), seen.all
    assert until(lambda: child.events(a.id) == ["up", "down", "up"]), child.lines
    assert len(group) == 0
    group.add(child.echo)
    for number in range(100):
        a.send(group if number % 2 else child.echo, number)
    assert quiet(a).unreachable == 50
    got = a.ask(child.echo, "got").get()
    assert got[-100:] == list(range(100))
    # What counts as unreachable may have been taken by the other side before it heard, but once and in order.
    late = got[1:-100]
    assert [list(x) for x in late] == sorted([list(x) for x in late])
    assert len(late) <= 50
    assert stays(lambda: len(seen.all) == 3, 1.2 * AFTER_S), seen.all


def test_a_node_that_stands_still_for_a_moment_loses_nothing(nodes, children, a):
    seen = nodes.watch(a)
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    for turn in range(3):
        child.stand_still()
        for number in range(100):
            a.send(child.echo, turn * 100 + number)
        assert stays(lambda: child.id in a.nodes(), AFTER_S / 6)
        child.signal(signal.SIGCONT)
        assert quiet(a).delivered == (turn + 1) * 100
    assert a.ask(child.echo, "got").get() == list(range(300))
    assert seen.short() == [("up", "child")]


class Strange:
    """Registered in this process alone."""


def test_a_message_that_the_other_node_cannot_read_is_counted(nodes, children, a, own_registry):
    manifold.register_type(Strange, 98, lambda _: b"", lambda _: Strange())
    child = children("child", a.address)
    assert until(lambda: child.id in a.nodes())
    receipt = a.send([child.echo, child.echo], [Strange()], receipt=True)
    group = audience(a, [child.echo])
    a.send(group, Strange())
    a.send(child.echo, "fine")
    assert a.ask(child.echo, "got").get() == ["fine"]
    with pytest.raises(manifold.ManifoldError) as raised:
        a.ask(child.echo, Strange(), timeout=PATIENCE_S).get()
    assert not isinstance(raised.value, manifold.NodeDown)
    assert sum(outcome(receipt)["child"].values()) == 2
    quiet(a)
    assert until(lambda: child.errors), "nothing was logged"
