"""Agreements of many nodes over links that keep order, break and come back; one seed decides what happens when."""

from __future__ import annotations

from collections import deque
from itertools import combinations
from random import Random
from typing import Any

from manifold.core.views import Agreement, Installed, Opened, Say, Settled

UP, DOWN = "up", "down"


class World:
    """Nodes, and for each who may speak to whom, and what is under way. Checks what has to hold at every moment."""

    def __init__(self, seed: int, *, is_rough: bool = False) -> None:
        self.random = Random(seed)
        self.is_rough = is_rough
        self.nodes: dict[str, Agreement] = {}
        self.paused: set[str] = set()
        self.linked: set[frozenset[str]] = set()
        self.sessions: dict[frozenset[str], int] = {}
        self.ways: dict[tuple[str, str], deque[Any]] = {}
        # The session that a node believes in, with each other one.
        self.seen: dict[tuple[str, str], int] = {}
        # Since which session its members count for the view that a node has.
        self.since: dict[str, dict[str, int]] = {}
        self.epochs: dict[str, Any] = {}
        self.views: dict[Any, Any] = {}
        self.opened: set[tuple[str, Any]] = set()
        self.words = 0

    # What the test does.

    def node(self, name: str, roles: tuple[str, ...] = ()) -> str:
        node = f"{name}@{self.random.getrandbits(16):04x}"
        self.nodes[node] = Agreement(node, roles)
        self.since[node] = {}
        self.epochs[node] = (1, node)
        self.opened.add((node, (1, node)))
        return node

    def link(self, a: str, b: str) -> None:
        pair = frozenset((a, b))
        if pair not in self.linked:
            self.linked.add(pair)
            self.sessions[pair] = self.sessions.get(pair, 0) + 1
            for way in ((a, b), (b, a)):
                self.ways.setdefault(way, deque()).append((UP, self.sessions[pair]))

    def cut(self, a: str, b: str) -> None:
        """Break a link: of what is on its way some is lost, and each side notices when it does."""
        pair = frozenset((a, b))
        if pair in self.linked:
            self.linked.remove(pair)
            for way in ((a, b), (b, a)):
                queue = self.ways[way]
                for _ in range(self.random.randrange(len(queue) + 1)):
                    if queue[-1][0] is UP:
                        break
                    queue.pop()
                queue.append((DOWN, None))

    def link_all(self) -> None:
        for a, b in combinations(sorted(self.nodes), 2):
            self.link(a, b)

    def kill(self, node: str) -> None:
        for other in list(self.nodes):
            self.cut(node, other)
        del self.nodes[node], self.since[node]
        self.paused.discard(node)
        for way in list(self.ways):
            if way[1] == node:
                del self.ways[way]

    def leave(self, node: str) -> None:
        self.do(node, self.nodes[node].leave())

    # Time.

    def step(self) -> bool:
        ready = [way for way, queue in self.ways.items() if queue and way[1] not in self.paused]
        if not ready:
            return False
        way = self.random.choice(sorted(ready))
        self.deliver(*way, *self.ways[way].popleft())
        return True

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def settle(self) -> None:
        """Let all of it come, until nobody has anything to say."""
        for _ in range(200_000):
            if not self.step():
                return
        raise AssertionError("they never come to rest")

    def deliver(self, sender: str, receiver: str, what: Any, more: Any) -> None:
        agreement = self.nodes[receiver]
        if what is UP:
            self.seen[receiver, sender] = more
            effects = agreement.peer_up(sender)
        elif what is DOWN:
            del self.seen[receiver, sender]
            self.since[receiver].pop(sender, None)
            effects = agreement.peer_down(sender)
        else:
            effects = agreement.hear(sender, what)
            if what[0] == "without" and tuple(what[1:3]) == self.epochs[receiver]:
                for lost in what[3]:
                    self.since[receiver].pop(lost, None)
        self.do(receiver, effects)

    # What follows.

    def do(self, node: str, effects: list[Any]) -> None:
        for effect in effects:
            if type(effect) is Say:
                self.say(node, *effect)
            elif type(effect) is Installed:
                self.installed(node, effect)
            elif type(effect) is Settled:
                self.check_others(node, needs_moved=False)
                self.do(node, self.nodes[node].moved())
            else:
                assert type(effect) is Opened
                self.check_others(node, needs_moved=True)
                self.opened.add((node, self.epochs[node]))

    def say(self, sender: str, receiver: str, words: list[Any]) -> None:
        pair = frozenset((sender, receiver))
        assert (sender, receiver) in self.seen, f"{sender} speaks to {receiver}, who is down"
        self.words += 1
        if pair in self.linked and self.seen[sender, receiver] == self.sessions[pair]:
            self.ways[sender, receiver].append((words, None))

    def installed(self, node: str, effect: Installed) -> None:
        before, view = effect
        assert view.epoch > before.epoch
        assert node in view.nodes
        assert self.views.setdefault(view.epoch, view.members) == view.members, "two views of one epoch"
        self.epochs[node] = view.epoch
        self.since[node] = {other: self.seen[node, other] for other in view.nodes if (node, other) in self.seen}
        if not self.is_rough:
            late = [other for other in before.nodes if (other, before.epoch) not in self.opened]
            assert not late, f"{view.epoch} overtakes {before.epoch}, which is not open at {late}"
            assert before.nodes <= view.nodes, f"{view.epoch} leaves {before.nodes - view.nodes} behind"

    def check_others(self, node: str, *, needs_moved: bool) -> None:
        """All members that have been connected ever since must have come so far as well."""
        epoch = self.epochs[node]
        for other, session in self.since[node].items():
            pair = frozenset((node, other))
            if pair in self.linked and self.sessions[pair] == session and self.seen.get((other, node)) == session:
                there = self.nodes[other]
                assert there.view.epoch >= epoch, f"{node} goes on in {epoch}, and {other} is in {there.view.epoch}"
                if needs_moved and there.view.epoch == epoch:
                    assert there._has_moved, f"{node} opens {epoch}, and {other} has not announced"

    def check_quiet(self) -> None:
        """Everybody is in one view, and it is open."""
        views = {node: agreement.view for node, agreement in self.nodes.items()}
        for node, view in views.items():
            assert sorted(view.nodes) == sorted(self.nodes), f"{node}: {view.epoch} {sorted(view.nodes)}"
            assert self.nodes[node].is_open, f"{view.epoch} is not open at {node}"
            takes_part = {member.node: member.takes_part for member in view.members}
            assert takes_part == {other: agreement.takes_part for other, agreement in self.nodes.items()}
        assert len({view.epoch for view in views.values()}) <= 1, views
