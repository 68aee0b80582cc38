"""Three nodes, senders of every kind on each, every form of send, while audiences change, workers come and go, actors
crash and connections are cut: nothing is lost, doubled or reordered.

Run again with the seed of a failure: MANIFOLD_SEED=... pytest tests/ordering/test_cluster.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
from typing import Any

import pytest

import manifold
from manifold import ports
from manifold.transport.memory import HUB
from tests.cluster.support import Nodes, meet, until
from tests.ordering.checker import Checker

SEED = int(os.environ.get("MANIFOLD_SEED") or random.randrange(1 << 32))

NAMES = "abc"
GROUPS = 4
MEMBERS = 20
"""Of each group on each node."""
CRASHING = 2
"""How many of them crash, at some message."""
SENDS = 520
"""Of each sender; about 45 deliveries each, from 9 senders."""

LIMITS = manifold.Limits(node_down_after_s=30.0, stop_grace_s=10.0)


class Member(manifold.Actor):
    """Tells the checker what arrives; crashes at its n-th message, if told to."""

    def __init__(self, checker: Checker, name: str, crashes_at: int) -> None:
        self.checker = checker
        self.name = name
        self.left = crashes_at

    def on_receive(self, message: tuple[Any, ...]) -> int:
        sender, number, *asked = message
        self.checker.arrived(self.name, sender, number)
        self.left -= 1
        if asked and self.left == 0:
            self.left = 1  # what a question raises goes to its asker, and ends nobody
        if self.left == 0:
            self.checker.ended(self.name)
            raise random.Random(number).choice([ValueError, SystemExit, MemoryError])
        return number


class Awaiting(Member):
    """The same with an `async def` handler that sometimes awaits."""

    mailbox_max = 1_000_000

    async def on_receive(self, message: tuple[Any, ...]) -> int:
        if message[1] % 8 == 0:
            await asyncio.sleep(0)
        return super().on_receive(message)


class Source:
    """The sends of one sender. `some(n)` makes the next n of them; true while there are more."""

    def __init__(self, play: Play, node: manifold.Node, kind: str) -> None:
        self.play = play
        self.node = node
        self.name = f"{node.name}/{kind}"
        self.random = random.Random(f"{SEED}/{self.name}")
        self.number = 0
        self.audiences: list[tuple[manifold.Audience, dict[manifold.PID, None]]] | None = None
        self.asked: list[tuple[manifold.PID, int, manifold.Future[Any]]] = []
        self.done = threading.Event()
        self.error: BaseException | None = None

    def some(self, number: int) -> bool:
        token = ports.current.set(self.node)
        try:
            if self.audiences is None:
                self.audiences = [(manifold.Audience(pids), dict.fromkeys(pids)) for pids in self.play.groups]
            for _ in range(number):
                if self.number < SENDS:
                    self.one()
        except BaseException as error:
            self.error = error
        finally:
            ports.current.reset(token)
        if self.number < SENDS and self.error is None:
            return True
        self.done.set()
        return False

    def one(self) -> None:
        self.number += 1
        assert self.audiences is not None
        place = self.random.randrange(GROUPS)
        audience, members = self.audiences[place]
        group = self.play.groups[place]
        draw = self.random.random()
        modes: dict[str, Any] = {}
        if self.random.random() < 0.1:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.08:
            modes["send_mode"] = "offload"
        if draw < 0.45:
            if self.random.random() < 0.5:
                self.change(audience, members, group)
            self.send(*self.audiences[place], modes)
        elif draw < 0.8:
            self.send(group, group, modes)
        elif draw < 0.9:
            some = self.random.choices(group, k=10)
            self.send((pid for pid in some), some, modes)
        elif draw < 0.95:
            pid = self.random.choice(group)
            self.send(pid, [pid], {})
        else:
            pid = self.random.choice(group)
            self.play.checker.sending(self.name, [self.play.names[pid]], self.number)
            self.asked.append((pid, self.number, manifold.ask(pid, (self.name, self.number, "asked"), timeout=None)))
        if self.number % 20 == 0:
            self.play.disturb(self)

    def send(self, to: Any, pids: Any, modes: dict[str, Any]) -> None:
        names = self.play.names
        self.play.checker.sending(self.name, [names[pid] for pid in pids], self.number)
        manifold.send(to, (self.name, self.number), **modes)

    def change(self, audience: manifold.Audience, members: dict[manifold.PID, None], group: list[manifold.PID]) -> None:
        for pid in self.random.sample(group, 3):
            if pid in members:
                audience.discard(pid)
                del members[pid]
            else:
                audience.add(pid)
                members[pid] = None
        if self.random.random() < 0.02:
            audience.close()
            place = self.play.groups.index(group)
            fresh = self.random.sample(group, len(group) // 2)
            assert self.audiences is not None
            self.audiences[place] = manifold.Audience(fresh), dict.fromkeys(fresh)


class SendingActor(manifold.Actor):
    """Sends, a bit at a time."""

    def on_receive(self, source: Source) -> None:
        if source.some(10):
            self.actor_ref.tell(source)


class SendingAsyncActor(manifold.Actor):
    """Sends, a bit at a time, and awaits between."""

    async def on_receive(self, source: Source) -> None:
        while source.some(10):  # noqa: ASYNC110
            await asyncio.sleep(0)


def in_thread(source: Source) -> None:
    def run() -> None:
        while source.some(10):
            pass

    threading.Thread(target=run, daemon=True).start()


def in_tasks(*sources: Source) -> None:
    async def run(source: Source) -> None:
        while source.some(10):  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*map(run, sources))

    threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True).start()


class Play:
    """The nodes, the members, and the senders."""

    def __init__(self, nodes: Nodes) -> None:
        self.random = random.Random(SEED)
        self.cuts = nodes.transport == "memory"
        self.checker = Checker()
        self.nodes = [nodes.node(name, limits=LIMITS, workers=2) for name in NAMES]
        meet(*self.nodes)
        self.names: dict[manifold.PID, str] = {}
        self.groups = [
            [self.member(node, f"{node.name}{group}.{at}", at) for at in range(MEMBERS) for node in self.nodes]
            for group in range(GROUPS)
        ]
        kinds = ["thread", "task", "actor", "async actor"]
        self.sources = {(node.name, kind): Source(self, node, kind) for node in self.nodes for kind in kinds}
        self._lock = threading.Lock()
        self._cut: tuple[str, str] | None = None

    def member(self, node: manifold.Node, name: str, at: int) -> manifold.PID:
        crashes_at = self.random.randrange(1, SENDS * 3) if at < CRASHING else 0
        pid = node.spawn(Awaiting if at % 4 == 0 else Member, self.checker, name, crashes_at)
        self.names[pid] = name
        return pid

    def disturb(self, source: Source) -> None:
        draw = source.random.random()
        if draw < 0.3:
            source.random.choice(self.nodes).resize(source.random.randint(1, 4))
        elif draw < 0.8 and self.cuts:
            with self._lock:
                if not self.heal():
                    one, other = source.random.sample(self.nodes, 2)
                    self._cut = one.address, other.address
                    HUB.cut(*self._cut)

    def heal(self) -> bool:
        if self._cut is None:
            return False
        HUB.heal(*self._cut)
        self._cut = None
        return True

    def run(self) -> None:
        for (_, kind), source in self.sources.items():
            match kind:
                case "thread":
                    in_thread(source)
                case "actor":
                    source.node.send(source.node.spawn(SendingActor), source)
                case "async actor":
                    source.node.send(source.node.spawn(SendingAsyncActor), source)
        in_tasks(*(source for (_, kind), source in self.sources.items() if kind == "task"))
        for source in self.sources.values():
            assert source.done.wait(60), f"{source.name} is stuck at {source.number}, seed {SEED}"
        with self._lock:
            self.heal()


@pytest.fixture(params=["memory", "tcp", "nats"])
def play(request, caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")
    nodes = Nodes(request.getfixturevalue("nats_server").url if request.param == "nats" else request.param)
    play = Play(nodes)
    yield play
    play.heal()
    nodes.close()


def test_everything_arrives_once_and_in_order_between_three_nodes(play):
    play.run()
    for source in play.sources.values():
        assert source.error is None, f"seed {SEED}: {source.name} at {source.number}: {source.error!r}"
    settled = until(lambda: all(node.stats().in_flight == 0 for node in play.nodes), 30)
    stats = [node.stats() for node in play.nodes]
    play.checker.check(f"seed {SEED}; {stats}")
    assert settled, f"seed {SEED}: {stats}"
    for each in stats:
        assert (each.shed, each.unreachable) == (0, 0), f"seed {SEED}: {each}"
        assert each.sent == each.delivered + each.dead, f"seed {SEED}: {each}"
    for source in play.sources.values():
        for pid, number, future in source.asked:
            try:
                assert future.get(timeout=5) == number
            except AssertionError:
                raise
            except BaseException as error:
                assert play.checker.has_ended(play.names[pid]), f"seed {SEED}: {error!r}"
    assert play.checker.total > 200_000, play.checker.total
    # What the workers were handed as sends of actors to themselves is counted too.
    assert sum(each.delivered for each in stats) >= play.checker.total
