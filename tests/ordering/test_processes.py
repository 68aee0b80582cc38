"""The ordering suite over worker processes: senders and recipients in every process of a node, and of several nodes.

Run again with the seed of a failure: MANIFOLD_SEED=... pytest tests/ordering/test_processes.py
"""

from __future__ import annotations

import logging
import os
import random

import pytest

import manifold
from tests.cluster.support import Nodes, meet, until
from tests.ordering.records import (
    HAND_IN,
    Awaiting,
    Ledger,
    Member,
    SendingActor,
    SendingAsyncActor,
    Source,
    in_task,
    in_thread,
)

SEED = int(os.environ.get("MANIFOLD_SEED") or random.randrange(1 << 32))

GROUPS = 4
CRASHING = 2
"""How many members of each group on each node crash, at some message."""
PATIENCE_S = 90

LIMITS = manifold.Limits(node_down_after_s=60.0, stop_grace_s=20.0, worker_restarts_max=1000)


class Play:
    """Nodes, members on each, and senders of each kind on each."""

    def __init__(self, nodes: list[manifold.Node], members: int, sends: int, actors: int = 1) -> None:
        self.random = random.Random(SEED)
        self.nodes = nodes
        self.ledger = Ledger.start()
        self.pids = {node.id: node.pid_of(self.ledger) for node in nodes}
        self.names: dict[manifold.PID, str] = {}
        self.groups = [
            [self.member(node, f"{node.name}{group}.{at}", at, sends) for at in range(members) for node in nodes]
            for group in range(GROUPS)
        ]
        self.sources: list[str] = []
        self.starts = []
        for node in nodes:
            kinds = (
                ["thread", "task"] + [f"actor {n}" for n in range(actors)] + [f"async actor {n}" for n in range(actors)]
            )
            for kind in kinds:
                self.sender(node, kind, sends)

    def member(self, node: manifold.Node, name: str, at: int, sends: int) -> manifold.PID:
        crashes_at = self.random.randrange(1, sends // 4) if at < CRASHING else 0
        pid = node.spawn(Awaiting if at % 4 == 0 else Member, self.pids[node.id], name, crashes_at)
        self.names[pid] = name
        return pid

    def sender(self, node: manifold.Node, kind: str, sends: int) -> None:
        name = f"{node.name}/{kind}"
        self.sources.append(name)
        what = (str(SEED), name, self.groups, sends, self.pids[node.id])
        match kind.split(maxsplit=1)[0]:
            case "thread":
                self.starts.append(lambda: in_thread(node, Source(*what)))
            case "task":
                self.starts.append(lambda: in_task(node, Source(*what)))
            case kind_of_actor:
                pid = node.spawn(SendingActor if kind_of_actor == "actor" else SendingAsyncActor, *what)
                self.starts.append(lambda: node.send(pid, "go"))

    def run(self) -> None:
        for start in self.starts:
            start()

    def finish(self, lost: frozenset[str] = frozenset()) -> None:
        """Wait for all senders, have all recipients hand in what they got, and check it."""
        ledger = self.ledger._actor_weakref()
        assert ledger is not None
        waited = ledger.wait("sent", set(self.sources), PATIENCE_S)
        assert waited, f"seed {SEED}: {set(self.sources) - set(ledger.sent)} are stuck"
        assert until(lambda: all(node.stats().in_flight == 0 for node in self.nodes), PATIENCE_S), self.state()
        for pid in self.names:
            self.nodes[0].send(pid, HAND_IN)
        assert ledger.wait("arrived", set(self.names.values()) - lost, PATIENCE_S), self.state()
        assert not ledger.errors, f"seed {SEED}: {ledger.errors}"
        assert until(lambda: all(node.stats().in_flight == 0 for node in self.nodes), PATIENCE_S), self.state()
        checker = ledger.checker(self.names, lost)
        checker.check(self.state())
        assert ledger.ended, "nobody has crashed"
        for node in self.nodes:
            stats = node.stats()
            assert stats.sent == stats.delivered + stats.dead, self.state()
        self.total = checker.total

    def state(self) -> str:
        return f"seed {SEED}; {[node.stats() for node in self.nodes]}"

    def close(self) -> None:
        self.ledger.stop()


@pytest.fixture
def played(caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")
    nodes, plays = Nodes("memory"), []

    def play(*args, **kwargs):
        plays.append(Play(*args, **kwargs))
        return plays[-1]

    yield nodes, play
    for one in plays:
        one.close()
    nodes.close()


@pytest.mark.parametrize(("workers", "members", "sends"), [(2, 40, 400), (16, 48, 150)])
def test_everything_arrives_once_and_in_order_on_one_node(played, workers, members, sends):
    nodes, play = played
    node = nodes.node("p", limits=LIMITS, workers=workers, worker_kind="process")
    processes = node._crew.pids()
    assert len(processes) == workers
    one = play([node], members, sends, actors=2)
    one.run()
    one.finish()
    assert one.total > 6 * sends * members * 0.4, one.total
    node.stop()
    stats = node.stats()
    assert (stats.in_flight, stats.actors) == (0, 0), stats
    assert node._crew.pids() == []


def test_everything_arrives_once_and_in_order_between_nodes_of_every_kind(played):
    nodes, play = played
    a = nodes.node("a", limits=LIMITS, workers=2, worker_kind="process")
    b = nodes.node("b", limits=LIMITS, workers=2)
    c = nodes.node("c", limits=LIMITS, workers=3, worker_kind="process")
    meet(a, b, c)
    one = play([a, b, c], 12, 200)
    one.run()
    one.finish()
    assert one.total > 12 * 200 * 12, one.total
    for node in (a, b, c):
        assert node.stats().unreachable == 0


def test_everything_of_the_others_arrives_while_a_worker_is_killed_again_and_again(played):
    nodes, play = played
    node = nodes.node("p", limits=LIMITS, workers=3, worker_kind="process")
    one = play([node], 40, 300, actors=0)
    hunted = node.cluster.peers[f"{node.id}/1"].node
    lost = frozenset(name for pid, name in one.names.items() if node.places.of(pid) == hunted)
    one.run()
    killed = []

    def kill_the_next():
        member = node._crew._members.get(1)
        if member is None or not member.is_ready or member in killed:
            return False
        member.process.kill()
        killed.append(member)
        return True

    for _ in range(3):
        assert until(kill_the_next, PATIENCE_S), one.state()
    one.finish(lost)
