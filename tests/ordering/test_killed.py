"""A node is killed by the kernel in the middle of all that is sent to it and from it, and started again at its address:
what it had got, and what others had got of it, is the first of what was sent, without gaps; the rest is counted.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import manifold
from tests.cluster.support import Nodes, until
from tests.ordering.play import SEED, TIMES, Play

SENDS = 100 * TIMES
"""Of each sender, in each part of the play."""
DOWN_AFTER_S = 4.0 if TIMES == 1 else 15.0
MEMBERS = 24

pytestmark = pytest.mark.timeout(120 * TIMES)

LIMITS = manifold.Limits(node_down_after_s=DOWN_AFTER_S)
ROOT = Path(__file__).parents[2]


class Child:
    """A node of name b in a process of its own, and what it has written down."""

    def __init__(self, play, label, path, listen="tcp://127.0.0.1:0"):
        self.play = play
        self.label = label
        self.path = path
        join = ",".join(cast.node.address for cast in play.casts)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.ordering.child", label, listen, join, str(MEMBERS), path, str(DOWN_AFTER_S)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def enter(self):
        """Have it take part, when it has begun and everybody knows it."""
        play, label = self.play, self.label
        self.id, self.address, *pids = self.process.stdout.readline().split()
        *self.members, self.talking = map(manifold.PID.parse, pids)
        assert until(lambda: all(self.id in cast.node.nodes() for cast in play.casts), 3 * DOWN_AFTER_S), play.note()
        self.names = [f"{label}/{at}" for at in range(MEMBERS)]
        play.take_in(dict(zip(self.members, self.names)))
        play.watching.meet(self.talking, f"{label}/talking")

    def talk(self):
        """Have it send to all members and watchers of the others, from now on."""
        self.audience = [pid for cast in self.play.casts for pid in cast.members]
        self.audience += self.play.watching.watchers
        self.ask(self.talking, self.audience)

    def ask(self, pid, message):
        node = self.play.casts[0].node
        self.play.tell(node)
        return node.ask(pid, message, timeout=10).get()

    def kill(self):
        self.play.lost.add(self.id)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self):
        """End it in order, if it still runs."""
        self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait(10)
            self.process.stdout.close()

    def finish(self):
        """What has come is written down when this returns."""
        for pid in self.members:
            self.ask(pid, ("finish", 0))

    def tell(self, checker):
        """Say what it had got and sent; how much that was."""
        got = sent = 0
        sender = f"{self.label}/talking"
        reached = [{**self.play.names, **self.play.watching.watchers}[pid] for pid in self.audience]
        for line in Path(self.path).read_text().splitlines():
            what, *rest = line.split(maxsplit=3)
            if what == "sent":
                checker.sending(sender, reached, int(rest[0]))
                sent += 1
            elif rest[2] != "finish":
                checker.arrived(self.names[int(rest[0])], rest[2], int(rest[1]))
                got += 1
        if self.id in self.play.lost:
            checker.severed([source.name for source in self.play.sources], self.names)
            checker.severed([sender], reached)
        return got, sent


@pytest.fixture
def play(caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")
    caplog.set_level(logging.CRITICAL, logger="manifold")
    play = Play(Nodes("tcp"), "ac", limits=LIMITS)
    yield play
    play.close()


@pytest.fixture
def start(play, tmp_path):
    made = []

    def start(label, **options):
        made.append(Child(play, label, tmp_path / label, **options))
        made[-1].enter()
        return made[-1]

    yield start
    for child in made:
        child.close()


def test_a_node_that_is_killed_and_started_again(play, start):
    play.disturb = lambda source: source.cast.resize(source.random)
    old = start("b1")
    old.talk()
    play.wait(play.go(SENDS))
    turns = play.go(SENDS)
    assert until(lambda: old.path.read_text().count("sent ") > 10), play.note()
    old.kill()
    play.wait(turns)
    new = start("b2", listen=old.address)
    assert new.id != old.id
    assert [pid.id for pid in new.members] == [pid.id for pid in old.members], "only the node tells them apart"
    new.audience = []
    play.wait(play.go(SENDS))
    play.settle()
    new.finish()
    counts = [child.tell(play.checker) for child in (old, new)]
    play.check()
    assert all(cast.node.stats().unreachable for cast in play.casts), play.note()
    got, sent = map(sum, zip(*counts))
    assert got > 1_000, f"seed {SEED}: {counts}"
    assert sent > 10, f"seed {SEED}: {counts}"
