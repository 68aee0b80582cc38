"""Senders of every kind that send to placed actors, and actors that check what comes, while nodes come and go.

An actor hands over the last number of each sender, so what is lost, doubled or overtaken on the way shows at once.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import manifold
from manifold.errors import ManifoldError


class Book:
    """What the actors of one play have to say; they find it here, for they live on nodes of one process."""

    current: Book

    def __init__(self) -> None:
        Book.current = self
        self.live: dict[str, Keeper] = {}
        self.wrong: list[str] = []
        self.begun: dict[str, int] = {}
        self.extra = 0


class Keeper(manifold.Actor):
    """Sees to it that it is the only one of its key, and that what each sender sends comes as 1, 2, 3 .."""

    def __init__(self, key: str) -> None:
        book = self.book = Book.current
        self.key = key
        self.last: dict[str, int] = {}
        if key in book.live:
            book.wrong.append(f"{key} lives twice: on {book.live[key].node.name} and {self.node.name}")
        book.live[key] = self
        book.begun[key] = book.begun.get(key, 0) + 1

    def on_receive(self, message: Any) -> Any:
        if message == "last":
            return self.last
        if message == "extra":
            self.book.extra += 1
            return None
        sender, number = message
        if number != self.last.get(sender, 0) + 1:
            self.book.wrong.append(
                f"{self.key} on {self.node.name}: {number} of {sender} after {self.last.get(sender)}"
            )
        self.last[sender] = number
        return number

    def on_handoff(self) -> Any:
        return self.last

    def on_takeover(self, state: Any) -> None:
        if self.last:
            self.book.wrong.append(f"{self.key} had got {self.last} before {state} came")
        self.last = state

    def on_stop(self) -> None:
        if self.book.live.get(self.key) is self:
            del self.book.live[self.key]


class SlowKeeper(Keeper):
    """The same, with hooks and a handler that take their time."""

    async def on_receive(self, message: Any) -> Any:
        if random.Random(str(message)).random() < 0.2:
            await asyncio.sleep(0.003)
        return super().on_receive(message)

    async def on_handoff(self) -> Any:
        await asyncio.sleep(0.05)
        return super().on_handoff()

    async def on_takeover(self, state: Any) -> None:
        await asyncio.sleep(0.02)
        super().on_takeover(state)


class Source:
    """What one sender sends."""

    def __init__(self, name: str, keys: list[manifold.Placed], seed: int) -> None:
        self.name = name
        self.keys = keys
        self.random = random.Random(f"{seed}/{name}")
        self.numbers = dict.fromkeys((key.key for key in keys), 0)
        self.receipts: list[tuple[manifold.Receipt, int]] = []
        self.answers: list[tuple[manifold.Future[Any], int]] = []
        self.extra = 0
        self.error: BaseException | None = None

    def burst(self, number: int) -> None:
        try:
            for _ in range(number):
                self.one()
        except ManifoldError as error:
            self.error = error

    def one(self) -> None:
        draw = self.random.random()
        some = self.random.sample(self.keys, self.random.choice([1, 1, 2, 5]))
        for key in some:
            # One message goes to all of a list: so those that are in one keep to one number.
            if draw < 0.4:
                self.send(key, [key])
        if draw < 0.4:
            return
        if draw < 0.5:
            self.ask(some[0])
        elif draw < 0.55:
            manifold.send_after(0.01, some, "extra")
            self.extra += len(some)
        else:
            alike: dict[int, list[manifold.Placed]] = {}
            for key in self.random.sample(self.keys, len(self.keys) // 2):
                alike.setdefault(self.numbers[key.key], []).append(key)
            for those in alike.values():
                self.send(those, those)

    def send(self, to: Any, those: list[manifold.Placed]) -> None:
        modes: dict[str, Any] = {}
        if self.random.random() < 0.15:
            modes["send_mode"] = "offload"
        if self.random.random() < 0.1:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.2:
            modes["receipt"] = True
        receipt = manifold.send(to, (self.name, self.next(those)), **modes)
        if receipt is not None:
            self.receipts.append((receipt, len(those)))

    def ask(self, key: manifold.Placed) -> None:
        number = self.next([key])
        self.answers.append((manifold.ask(key, (self.name, number), timeout=None), number))

    def next(self, those: list[manifold.Placed]) -> int:
        for key in those:
            self.numbers[key.key] += 1
        return self.numbers[those[0].key]


class SendingActor(manifold.Actor):
    """A sender that is an actor."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def on_receive(self, number: int) -> None:
        self.source.burst(number)


class SendingAsyncActor(SendingActor):
    """The same, that awaits between."""

    async def on_receive(self, number: int) -> None:
        for _ in range(number):
            self.source.burst(1)
            await asyncio.sleep(0.001)
