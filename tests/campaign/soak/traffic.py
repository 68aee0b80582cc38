"""Who sends in a soak: a thread, a task, and actors, each in every form there is, at a steady pace."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from random import Random
from typing import TYPE_CHECKING, Any

import manifold
from manifold import ports
from manifold.actors import ActorDeadError, AskTimeout
from manifold.errors import NodeDown, NodeStopped, Overloaded
from tests.campaign.soak.town import Speaker, Staying

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaign.soak.town import Message, Town

__all__ = ["Source", "Tender", "Traffic"]

PACE_S = 0.05
OPEN_MAX = 100
"""How many receipts and questions a source may have open."""
EVERYBODY = 1_000_000
GUEST_STAYS_S = (1.0, 4.0)
GONE = (AskTimeout, NodeDown, ActorDeadError, Overloaded)
"""What may become of a question."""


class Source(Speaker):
    """One sender: what it sends is numbered."""

    def __init__(self, town: Town, source: int) -> None:
        super().__init__(town, source)
        self.random = Random(f"{town.origin}/{source}")
        self.receipts: deque[manifold.Receipt] = deque()
        self.asked: deque[tuple[int, Any]] = deque()
        self.kept: manifold.Audience | None = None
        self.passing: manifold.Audience | None = None
        self.outcomes: Counter[str] = Counter()
        self.is_idle = True

    def beat(self) -> None:
        """Do a few things; or, when it is time to rest, see what is still open."""
        self.is_idle = False
        if self.town.resting:
            self.is_idle = self.come_home()
        else:
            self.some()

    def some(self) -> None:
        token = ports.current.set(self.town.node)
        try:
            self.settle()
            for _ in range(self.random.randint(1, 3)):
                self.random.choice(DEEDS)(self)
        finally:
            ports.current.reset(token)

    def settle(self) -> bool:
        """See what came of earlier sends, first come first served; True if nothing is open."""
        while self.receipts and self.receipts[0].done():
            outcomes = self.receipts.popleft().get(timeout=0).values()
            self.sent += sum(sum(outcome.values()) for outcome in outcomes)
        while self.asked and self.asked[0][1].is_set():
            number, future = self.asked.popleft()
            try:
                self.heard(number, future.get(timeout=0))
            except GONE as error:
                self.outcomes[type(error).__name__] += 1
        return not (self.receipts or self.asked)

    def heard(self, number: int, answer: Any) -> None:
        self.outcomes["answered"] += 1
        if answer != number:
            self.town.fail(f"source {self.source} asked {number} and was told {answer!r}")

    # What it does.

    def to_one(self) -> None:
        for pid in self.pids(3):
            self.say(pid, 1)

    def to_many(self) -> None:
        pids = self.pids(self.random.randint(2, 20))
        self.say(pids, len(pids), self.loaded())

    def offloaded(self) -> None:
        pids = self.pids(self.random.randint(1, 20))
        self.say(pids, len(pids), self.loaded(), send_mode="offload")

    def packed(self) -> None:
        pids = self.pids(5)
        self.say(pids, len(pids), self.loaded(), pack_mode="binary")

    def with_receipt(self) -> None:
        self.received(self.pids(self.random.randint(1, 10)))

    def to_audience(self) -> None:
        self.received(self.audience())

    def to_passing_audience(self) -> None:
        """One that is made, changed, sent to, and let go of: closed, or left to the garbage collector."""
        if self.passing is None:
            self.passing = manifold.Audience()
            self.take_in(self.passing, 20)
        self.received(self.passing)
        if self.random.random() < 0.2:
            if self.random.random() < 0.5:
                self.passing.close()
            self.passing = None

    def change_audience(self) -> None:
        audience = self.audience()
        for pid in self.pids(4):
            try:
                if pid in audience:
                    audience.discard(pid)
                else:
                    audience.add(pid)
            except Overloaded:
                self.overloads += 1

    def ask(self) -> None:
        if len(self.asked) >= OPEN_MAX:
            return
        for pid in self.pids(1):
            message = self.message("asked")
            self.sent += 1
            try:
                self.asked.append((message[2], self.town.node.ask(pid, message, timeout=5.0)))
            except Overloaded:
                self.overloads += 1

    def some_time(self) -> None:
        for pid in self.pids(1):
            self.later(self.random.uniform(0.0, 0.5), pid, "")

    # With what.

    def pids(self, number: int) -> list[manifold.PID]:
        return self.town.any_pids(self.random, number)

    def loaded(self) -> Message:
        return self.message("", bytes(self.random.randrange(1000)))

    def audience(self) -> manifold.Audience:
        """Give one that stays; whose nodes go down leave it, and are taken in anew."""
        if self.kept is None:
            self.kept = manifold.Audience()
        if self.random.random() < 0.1:
            self.take_in(self.kept, 10)
        return self.kept

    def take_in(self, audience: manifold.Audience, number: int) -> None:
        try:
            audience.update(self.pids(number))
        except Overloaded:
            self.overloads += 1

    def received(self, to: Any) -> None:
        """Send with a receipt; only that tells how many are in an audience at that moment."""
        if len(self.receipts) >= OPEN_MAX:
            return
        try:
            self.receipts.append(self.town.node.send(to, self.loaded(), receipt=True))
        except Overloaded:
            self.overloads += 1
            self.sent += len(to)

    def come_home(self) -> bool:
        """Have everybody in the audience that stays, and no other, so that what is held can be compared; True when
        that is so and nothing is open.
        """
        if not self.is_home():
            token = ports.current.set(self.town.node)
            try:
                self.take_in(self.audience(), EVERYBODY)
                self.passing = None
            finally:
                ports.current.reset(token)
        return self.settle() and self.is_home()

    def is_home(self) -> bool:
        """Tell whether everybody is in the audience that stays, and there is no other. From any thread."""
        return self.passing is None and self.kept is not None and len(self.kept) == len(self.town.everybody())


DEEDS: tuple[Callable[[Source], None], ...] = (
    *[Source.to_one] * 3, *[Source.to_many] * 2, Source.offloaded, Source.packed, Source.with_receipt,
    *[Source.to_audience] * 2, Source.to_passing_audience, *[Source.change_audience] * 2, Source.ask, Source.some_time,
)  # fmt: skip


class Pulse(Staying):
    """Sends a little at every beat of its own."""

    def __init__(self, town: Town, source: int) -> None:
        super().__init__(town)
        self.source = Source(town, source)
        self.is_still = True
        town.pulses.append(self)

    def on_receive(self, message: Any) -> Any:
        self.note(message)
        self.beat()

    def beat(self) -> None:
        self.source.beat()
        self.is_still = self.is_done()
        if not self.is_still:
            self.source.later(PACE_S, self.pid, "beat")

    def is_done(self) -> bool:
        return self.town.resting and self.source.is_idle


class Tender(Pulse):
    """Has guests started anywhere, monitors them, sends to them, and sends them away."""

    def __init__(self, town: Town, source: int) -> None:
        super().__init__(town, source)
        self.guests: dict[manifold.MonitorRef, manifold.PID] = {}
        self.downs: Counter[str] = Counter()

    def is_done(self) -> bool:
        return super().is_done() and not self.guests

    async def on_receive(self, message: Any) -> None:  # type: ignore[override]
        if isinstance(message, manifold.Down):
            self.told(message)
            return
        self.note(message)
        if not self.town.resting and message[2] % 5 == 0:
            await self.invite()
        self.attend()
        self.beat()

    async def invite(self) -> None:
        source = self.source
        question = source.message("start", source.random.uniform(*GUEST_STAYS_S))
        source.sent += 1
        try:
            guest = await self.town.node.ask(self.town.any_desk(source.random), question, timeout=5.0)
        except GONE as error:
            source.outcomes[type(error).__name__] += 1
            return
        self.guests[self.monitor(guest)] = guest

    def attend(self) -> None:
        for ref, guest in list(self.guests.items()):
            match self.source.random.randrange(20):
                case 0:
                    self.source.say(guest, 1, self.source.message("stop"))
                case 1:
                    self.source.say(guest, 1, self.source.message("crash"))
                case 2:
                    self.demonitor(ref)
                    del self.guests[ref]
                    self.source.say(guest, 1, self.source.message("stop"))
                case _:
                    self.source.say(guest, 1)

    def told(self, down: manifold.Down) -> None:
        self.downs[down.reason] += 1
        if self.guests.pop(down.ref, None) != down.pid:
            self.town.fail(f"told of {down.pid}, which is not monitored any more, or never was")


class Traffic:
    """All sources of a node: they go when they are told to, and rest when they are told to."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self._speaker = Speaker(town, 0)
        for source, kind in enumerate((Pulse, Pulse, Tender, Tender), 1):
            town.node.spawn(kind, town, source)
        self._in_thread, self._in_task = Source(town, 11), Source(town, 12)
        threading.Thread(target=self._run_thread, name="source", daemon=True).start()
        threading.Thread(target=lambda: asyncio.run(self._run_task()), name="task", daemon=True).start()

    def sources(self) -> list[Source]:
        return [self._in_thread, self._in_task, *(pulse.source for pulse in self.town.pulses)]

    def sent(self) -> int:
        """Give how many recipients were sent to; exact when all are idle."""
        return sum(speaker.sent for speaker in self.town.speakers)

    def go(self) -> None:
        self.town.resting = False
        self._beat()

    def rest(self) -> None:
        """Again if nodes lost each other meanwhile: then there are members to be taken in anew."""
        self.town.resting = True
        self._beat()

    def _beat(self) -> None:
        for pulse in self.town.pulses:
            if pulse.is_still:
                self._speaker.later(0.0, pulse.pid, "beat")

    def is_idle(self) -> bool:
        """Tell whether nobody sends, and nothing that was sent is open."""
        are_home = all(source.is_idle and source.is_home() for source in self.sources())
        return are_home and all(pulse.is_still for pulse in self.town.pulses)

    def _run_thread(self) -> None:
        try:
            while True:
                self._in_thread.beat()
                time.sleep(PACE_S)
        except NodeStopped:
            pass

    async def _run_task(self) -> None:
        try:
            while True:
                self._in_task.beat()
                await asyncio.sleep(PACE_S)
                await self.town.node.drain()
        except NodeStopped:
            pass
