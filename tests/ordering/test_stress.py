"""Five million deliveries, in every form and from every kind of sender, while workers come and go and actors crash.

Every recipient keeps the last number it saw of each sender, and notes the first that is not the next one. Run again
with the seed of a failure: MANIFOLD_SEED=... pytest tests/ordering/test_stress.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

import manifold

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = int(os.environ.get("MANIFOLD_SEED") or random.randrange(1 << 32))

GROUPS = 8
MEMBERS = 400
CRASHING = 10
"""How many members of each group crash, at some message."""
SENDERS = 6
SENDS = 2_200
"""Of each sender, to one group each: 6 * 2,200 * 400 deliveries make 5.28 million."""
RESIZE_EVERY = 60


class Counting(manifold.Actor):
    """Sees to it that the messages of each sender come as 1, 2, 3 .."""

    def __init__(self, made: list[Counting], group: int, crashes_at: int = 0) -> None:
        made.append(self)
        self.group = group
        self.last = [0] * SENDERS
        self.left = crashes_at
        self.wrong: list[str] = []

    def on_receive(self, message: tuple[int, int]) -> None:
        sender, number = message
        if number != self.last[sender] + 1:
            self.wrong.append(f"sender {sender}: {number} after {self.last[sender]}")
        self.last[sender] = number


class Crashing(Counting):
    """The same, and crashes at one of them."""

    def on_receive(self, message: tuple[int, int]) -> None:
        if self.left <= 0:
            self.wrong.append(f"{message} came after the crash")
        super().on_receive(message)
        self.left -= 1
        if not self.left:
            raise random.Random(str(message)).choice([ValueError, SystemExit, MemoryError])


class Awaiting(Counting):
    """The same with an `async def` handler that sometimes awaits."""

    async def on_receive(self, message: tuple[int, int]) -> None:
        super().on_receive(message)
        if message[1] % 16 == 0:
            await asyncio.sleep(0)
        if self.last[message[0]] != message[1]:
            self.wrong.append(f"{message} was overtaken while it was handled")


class Source:
    """The sends of one sender. `some(n)` makes the next n of them; true while there are more."""

    def __init__(self, stress: Stress, index: int) -> None:
        self.stress = stress
        self.index = index
        self.random = random.Random(f"{SEED}/{index}")
        self.numbers = [0] * GROUPS
        self.left = SENDS
        self.audiences: list[manifold.Audience] | None = None
        self.done = threading.Event()
        self.error: BaseException | None = None

    def some(self, number: int) -> bool:
        try:
            if self.audiences is None:
                self.audiences = [manifold.Audience(pids) for pids in self.stress.pids]
            for _ in range(min(number, self.left)):
                self.one()
        except BaseException as error:
            self.error = error
            self.left = 0
        if not self.left:
            self.done.set()
        return self.left > 0

    def one(self) -> None:
        self.left -= 1
        group = self.random.randrange(GROUPS)
        self.numbers[group] += 1
        message = (self.index, self.numbers[group])
        modes: dict[str, Any] = {}
        if self.random.random() < 0.1:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.05:
            modes["send_mode"] = "offload"
        manifold.send(self.recipients(group), message, **modes)
        if self.index == 0 and self.left % RESIZE_EVERY == 0:
            self.stress.node.resize(self.random.randint(1, 5))

    def recipients(self, group: int) -> Any:
        draw = self.random.random()
        if draw < 0.5:
            assert self.audiences is not None
            return self.audiences[group]
        if draw < 0.9:
            return self.stress.pids[group]
        if draw < 0.93:
            return self.stress.copies[group]
        return (pid for pid in self.stress.pids[group])


class SendingActor(manifold.Actor):
    """Sends, a bit at a time."""

    def on_receive(self, source: Source) -> None:
        if source.some(20):
            self.actor_ref.tell(source)


class SendingAsyncActor(manifold.Actor):
    """Sends, a bit at a time, and awaits between."""

    async def on_receive(self, source: Source) -> None:
        while source.some(20):  # noqa: ASYNC110
            await asyncio.sleep(0)


class Stress:
    """The node, its recipients, and the senders."""

    def __init__(self, node: manifold.Node) -> None:
        rng = random.Random(SEED)
        self.node = node
        self.actors: list[Counting] = []
        self.pids = [[self.member(group, place, rng) for place in range(MEMBERS)] for group in range(GROUPS)]
        self.copies = [[manifold.PID.parse(str(pid)) for pid in pids] for pids in self.pids]
        self.sources = [Source(self, index) for index in range(SENDERS)]

    def member(self, group: int, place: int, rng: random.Random) -> manifold.PID:
        if place < CRASHING:
            return self.node.spawn(Crashing, self.actors, group, rng.randrange(1, SENDS))
        return self.node.spawn(Awaiting if place < 2 * CRASHING else Counting, self.actors, group)

    def run(self) -> None:
        starts: list[Callable[[Source], None]] = [
            in_thread,
            in_thread,
            in_task,
            in_thread,
            lambda source: self.node.send(self.node.spawn(SendingActor), source),
            lambda source: self.node.send(self.node.spawn(SendingAsyncActor), source),
        ]
        for source, start in zip(self.sources, starts, strict=True):
            start(source)
        for source in self.sources:
            sent = None
            while not source.done.wait(60):
                assert source.numbers != sent, f"sender {source.index} is stuck, seed {SEED}"
                sent = list(source.numbers)

    def faults(self) -> list[str]:
        faults = [f"sender {source.index} raised {source.error!r}" for source in self.sources if source.error]
        for actor in self.actors:
            faults += [f"{type(actor).__name__} {actor.pid.id}: {wrong}" for wrong in actor.wrong[:1]]
            due = [source.numbers[actor.group] for source in self.sources]
            if not isinstance(actor, Crashing) and actor.last != due:
                faults.append(f"{type(actor).__name__} {actor.pid.id} got {actor.last} of {due}")
        return faults


def in_thread(source: Source) -> None:
    def run() -> None:
        while source.some(20):
            pass

    threading.Thread(target=run, daemon=True).start()


def in_task(source: Source) -> None:
    async def run() -> None:
        while source.some(20):  # noqa: ASYNC110
            await asyncio.sleep(0)

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()


@pytest.fixture
def quiet_pykka():
    logger = logging.getLogger("pykka")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.mark.timeout(900)  # that a machine is slow is no fault, as long as it goes on
def test_five_million_deliveries_arrive_once_and_in_order(quiet_pykka):
    with manifold.Node("stress", workers=2, limits=manifold.Limits(stop_grace_s=20)) as node:
        stress = Stress(node)
        stress.run()
    faults = stress.faults()
    assert not faults, f"seed {SEED}: {len(faults)} faults, {node.stats()}: {'; '.join(faults[:10])}"
    stats = node.stats()
    assert (stats.in_flight, stats.shed, stats.unreachable) == (0, 0, 0), f"seed {SEED}: {stats}"
    assert stats.delivered > 5_000_000, f"seed {SEED}: {stats}"


@pytest.mark.parametrize("numbers", [[1, 3], [1, 1], [1, 3, 2]], ids=["lost", "duplicated", "reordered"])
def test_a_recipient_notes_what_is_wrong(numbers):
    with manifold.Node(workers=1) as node:
        made: list[Counting] = []
        pid = node.spawn(Counting, made, 0)
        for number in numbers:
            node.send(pid, (0, number))
        node.ask(pid, (1, 1)).get()
    assert made[0].wrong
