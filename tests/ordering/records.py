"""Recipients and senders that may live in any process: each keeps what it got or sent, and hands it in at the end.

So the checker need not be reached from everywhere: it is told all of it afterwards, in the order in which each of them
has seen it.
"""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pykka

import manifold
from manifold import ports
from manifold.testing import Checker

HAND_IN = "hand in"


class Ledger(pykka.ThreadingActor):
    """Takes what is handed in. It lives in the main process, where the test reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.arrived: dict[str, list[Any]] = {}
        self.ended: set[str] = set()
        self.sent: dict[str, list[Any]] = {}
        self.errors: dict[str, str] = {}

    def on_receive(self, message: Any) -> None:
        what, name, record, ended = message
        with self.changed:
            if what == "sent":
                self.sent[name] = record
                if ended:
                    self.errors[name] = ended
            else:
                self.arrived[name] = record
                if ended:
                    self.ended.add(name)
            self.changed.notify_all()

    def wait(self, table: str, names: set[str], timeout_s: float) -> bool:
        """Wait until all of these have handed in."""
        with self.changed:
            return self.changed.wait_for(lambda: names <= set(getattr(self, table)), timeout_s)

    def checker(self, names: dict[manifold.PID, str], lost: frozenset[str] = frozenset()) -> Checker:
        """Tell a checker all that was handed in; what went to the `lost` is nobody's business."""
        checker = Checker()
        for sender, record in self.sent.items():
            for number, pids in record:
                checker.sending(sender, [names[pid] for pid in pids if names[pid] not in lost], number)
        for recipient, record in self.arrived.items():
            if recipient in lost:
                continue
            for sender, number in record:
                checker.arrived(recipient, sender, number)
        for recipient in self.ended:
            checker.ended(recipient)
        return checker


class Member(manifold.Actor):
    """Keeps what arrives, and hands it in when it is asked to, or crashes at its n-th message."""

    def __init__(self, ledger: manifold.PID, name: str, crashes_at: int = 0) -> None:
        self.ledger = ledger
        self.name = name
        self.left = crashes_at
        self.arrived: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == HAND_IN:
            manifold.send(self.ledger, ["arrived", self.name, self.arrived, False])
            return None
        sender, number, *asked = message
        self.arrived.append([sender, number])
        self.left -= 1
        if asked and self.left == 0:
            self.left = 1  # what a question raises goes to its asker, and ends nobody
        if self.left == 0:
            manifold.send(self.ledger, ["arrived", self.name, self.arrived, True])
            raise random.Random(number).choice([ValueError, SystemExit, MemoryError])
        return number


class Awaiting(Member):
    """The same with an `async def` handler that sometimes awaits."""

    mailbox_max = 1_000_000

    async def on_receive(self, message: Any) -> Any:
        if message != HAND_IN and message[1] % 8 == 0:
            await asyncio.sleep(0)
        return super().on_receive(message)


class Source:
    """The sends of one sender, in every form. `some(n)` makes the next n of them; true while there are more."""

    def __init__(
        self, seed: str, name: str, groups: list[list[manifold.PID]], sends: int, ledger: manifold.PID
    ) -> None:
        self.name = name
        self.groups = groups
        self.left = sends
        self.number = 0
        self.ledger = ledger
        self.random = random.Random(f"{seed}/{name}")
        self.sent: list[Any] = []
        self.audiences: list[tuple[manifold.Audience, dict[manifold.PID, None]]] | None = None

    def some(self, number: int) -> bool:
        error = ""
        try:
            if self.audiences is None:
                self.audiences = [(manifold.Audience(pids), dict.fromkeys(pids)) for pids in self.groups]
            for _ in range(min(number, self.left)):
                self.left -= 1
                self.one()
        except Exception as raised:
            error = f"at {self.number}: {raised!r}"
            self.left = 0
        if self.left:
            return True
        manifold.send(self.ledger, ["sent", self.name, self.sent, error])
        return False

    def one(self) -> None:
        self.number += 1
        assert self.audiences is not None
        place = self.random.randrange(len(self.groups))
        audience, members = self.audiences[place]
        group = self.groups[place]
        draw = self.random.random()
        modes: dict[str, Any] = {}
        if self.random.random() < 0.1:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.08:
            modes["send_mode"] = "offload"
        if draw < 0.45:
            if self.random.random() < 0.5:
                self.change(place, audience, members, group)
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
            self.sent.append([self.number, [pid]])
            manifold.ask(pid, (self.name, self.number, "asked"), timeout=None)

    def send(self, to: Any, pids: Any, modes: dict[str, Any]) -> None:
        self.sent.append([self.number, list(pids)])
        manifold.send(to, (self.name, self.number), **modes)

    def change(self, place: int, audience: Any, members: dict[Any, None], group: list[manifold.PID]) -> None:
        for pid in self.random.sample(group, 3):
            if pid in members:
                audience.discard(pid)
                del members[pid]
            else:
                audience.add(pid)
                members[pid] = None
        if self.random.random() < 0.02:
            audience.close()
            fresh = self.random.sample(group, len(group) // 2)
            assert self.audiences is not None
            self.audiences[place] = manifold.Audience(fresh), dict.fromkeys(fresh)


class SendingActor(manifold.Actor):
    """Sends, a bit at a time."""

    def __init__(self, *source: Any) -> None:
        self.source = Source(*source)

    def on_receive(self, message: Any) -> None:
        if self.source.some(10):
            manifold.send(self.pid, message)


class SendingAsyncActor(SendingActor):
    """Sends, a bit at a time, and awaits between."""

    async def on_receive(self, message: Any) -> None:
        while self.source.some(10):  # noqa: ASYNC110
            await asyncio.sleep(0)


def in_thread(node: manifold.Node, source: Source) -> None:
    def run() -> None:
        ports.current.set(node)
        while source.some(10):
            pass

    threading.Thread(target=run, daemon=True).start()


def in_task(node: manifold.Node, source: Source) -> None:
    async def run() -> None:
        ports.current.set(node)
        while source.some(10):  # noqa: ASYNC110
            await asyncio.sleep(0)

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
