"""Actors move between nodes with all that was sent to them: nothing is lost, doubled or overtaken; none lives twice.

Over the simulation, where a schedule happens the same way every time: its seed is the test's.
"""

from __future__ import annotations

import asyncio
import os

import pytest

import manifold
from manifold import Limits
from manifold.testing import Faults, Simulation
from tests.ordering.placed_play import Book, Keeper, SendingActor, SendingAsyncActor, SlowKeeper, Source

MANY = int(os.environ.get("MANIFOLD_SCHEDULES", "4"))
LIMITS = Limits(node_down_after_s=2.0, stop_grace_s=5.0)
NAMES = "dgbhaecf"
KEYS = 30


class Play:
    """Nodes, and the senders on them."""

    def __init__(self, simulation, cls):
        self.simulation = simulation
        self.random = simulation.random
        self.book = Book()
        self.names = list(NAMES)
        self.keys = [manifold.placed(cls, f"key {number}", f"key {number}") for number in range(KEYS)]
        self.sources = []
        self.senders = {}
        self.nodes = []
        self.joining = []
        self.gone = []
        self.leaving = {}

    def join(self):
        node = self.simulation.node(self.names.pop(), limits=LIMITS)
        self.joining.append(node)

    def enter(self, node):
        """Let a node send, now that it is in a view with others: one that is alone would place every key on itself."""
        self.joining.remove(node)
        self.nodes.append(node)
        self.senders[node] = []
        for kind in ("thread", "task", SendingActor, SendingAsyncActor):
            source = Source(f"{node.name}/{kind}", self.keys, self.simulation.seed)
            self.sources.append(source)
            if kind == "task":
                self.simulation.task(node, go_on(source))
            else:
                actor = None if kind == "thread" else node.spawn(kind, source)
                self.senders[node].append((actor, source))

    def send(self, number):
        for node in list(self.joining):
            others = self.nodes or [other for other in self.joining if other is not node]
            if not node.directory.view.nodes.isdisjoint(other.id for other in others):
                self.enter(node)
        for node in self.nodes:
            for actor, source in self.senders[node]:
                if actor is not None:
                    node.send(actor, number)
                else:
                    with self.simulation.calling(node):
                        source.burst(number)

    def disturb(self):
        draw, random = self.random.random(), self.random
        stay = [node for node in self.nodes if node not in self.leaving]
        if draw < 0.3 and self.names:
            self.join()
        elif draw < 0.5 and len(stay) > 2:
            node = random.choice(stay)
            self.leaving[node] = node.leave()
        elif draw < 0.7 and self.nodes:
            random.choice(self.nodes).resize(random.randint(1, 4))
        elif draw < 0.85 and len(self.nodes) > 1:
            a, b = random.sample(self.nodes, 2)
            self.simulation.disconnect(a.name, b.name, for_s=random.uniform(0.0, 0.4))
        self.part()

    def part(self):
        """Stop those that have left."""
        for node, left in list(self.leaving.items()):
            if left.is_set():
                del self.leaving[node]
                self.nodes.remove(node)
                self.gone.append(node)
                self.simulation.run(0.5)  # its senders come to their end
                node.stop()

    def verify(self):
        assert not self.book.wrong, self.book.wrong[:10]
        for source in self.sources:
            assert source.error is None, f"{source.name} raised {source.error!r}"
            for future, number in source.answers:
                assert future.get(timeout=0) == number
            for receipt, number in source.receipts:
                assert sum(outcome.delivered for outcome in receipt.get(timeout=0).values()) == number
        node = self.nodes[0]
        for key in self.keys:
            last = node.ask(key, "last").get(timeout=5)
            assert last == {s.name: s.numbers[key.key] for s in self.sources if s.numbers[key.key]}, key
        assert self.book.extra == sum(source.extra for source in self.sources)
        stats = [node.stats() for node in (*self.nodes, *self.gone)]
        assert [(s.in_flight, s.dead, s.shed, s.unreachable) for s in stats] == [(0, 0, 0, 0)] * len(stats)
        self.verify_homes()

    def verify_homes(self):
        ring = self.nodes[0].ring()
        assert {node.ring() for node in self.nodes} == {ring}
        assert {key: actor.node.name for key, actor in self.book.live.items()} == {
            key.key: ring.find(key.key) for key in self.keys if key.key in self.book.begun
        }


async def go_on(source):
    for _ in range(20):
        source.burst(1)
        await asyncio.sleep(0.015)


@pytest.mark.parametrize("cls", [Keeper, SlowKeeper])
@pytest.mark.parametrize("seed", range(MANY))
def test_nothing_is_lost_doubled_or_overtaken_while_nodes_come_and_leave(seed, cls):
    with Simulation(seed, faults=Faults(loss=0.02, duplicate=0.01, reorder=0.02)) as simulation:
        play = Play(simulation, cls)
        play.join()
        play.join()
        simulation.run(0.3)
        for _ in range(play.random.randint(6, 14)):
            play.send(2)
            simulation.run(play.random.choice([0.0, 0.005, 0.05, 0.3]))
            play.disturb()
        simulation.calm()
        simulation.run(5.0)
        play.send(1)
        play.part()
        simulation.run(5.0)
        play.verify()
