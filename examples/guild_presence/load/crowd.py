"""Made-up users in made-up guilds: they come, talk, type and go idle, and each checks the numbers of all it gets."""

from __future__ import annotations

import asyncio
import secrets
import time
from array import array
from collections import defaultdict
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from examples.guild_presence.load.client import MESSAGE_CREATE, Client
from examples.guild_presence.load.report import CrowdReport
from examples.guild_presence.logs.check import NOTHING, Check, Tally, added
from examples.guild_presence.logs.traffic import guild_sizes, make_up_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.guild_presence.load.client import Event
    from examples.guild_presence.load.gateways import Gateways

__all__ = ["Crowd", "Plan"]

_SETTLE_S = 60.0
_LOOK_S = 0.05
_CLOSE_S = 10.0
# Of 100 acts so many are each of these.
_ACTS = {"message": 60, "typing": 20, "status": 20}


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate`: acts a second, of all users together. The same seed gives the same guilds, acts and texts."""

    users: int
    guilds: int
    rate: float
    seed: int = 1


class Crowd:
    """The users, and what they find. `enter`, `act`, `report`, `close`: in this order."""

    def __init__(self, plan: Plan, gateways: Gateways) -> None:
        self.sent: dict[str, float] = {}
        self.latencies = array("d")
        self._run = secrets.token_hex(4)
        self._random = Random(plan.seed)
        self._rate = plan.rate
        self._guilds: dict[str, list[Member]] = {}
        self._report = CrowdReport(users=plan.users, guilds=plan.guilds)
        numbers = iter(range(1, plan.users + 1))
        for rank, size in enumerate(_sizes(plan, self._random), 1):
            name = f"guild-{rank}"
            self._guilds[name] = [Member(f"user-{next(numbers)}", name, gateways, self) for _ in range(size)]
        self.members = [member for members in self._guilds.values() for member in members]

    async def enter(self) -> None:
        """Connect them all."""
        began = time.perf_counter()
        done = await asyncio.gather(*(member.open() for member in self.members), return_exceptions=True)
        self._report.connect_seconds = time.perf_counter() - began
        self._report.connected = done.count(None)
        for error in filter(None, done):
            if not isinstance(error, ConnectionError):
                raise error
            self._report.troubles.append(str(error))

    async def act(self, seconds: float) -> None:
        """Do what users do for so long, and wait until all of it has come to all of them."""
        before = self._deliveries()
        began = time.perf_counter()
        for number in range(round(self._rate * seconds)):
            await asyncio.sleep(began + number / self._rate - time.perf_counter())
            self._act(self._random.choice(self.members), f"{self._run}-{number}")
        await self._settle()
        self._report.seconds = time.perf_counter() - began
        self._report.deliveries_per_s = (self._deliveries() - before) / self._report.seconds

    def report(self) -> CrowdReport:
        """Tell how it went so far."""
        report = replace(self._report)
        report.events = sum(last - before for before, last in self._reached().values())
        tally = self._tally()
        _, report.deliveries, report.lost, report.duplicated, report.reordered = tally
        report.reconnects = sum(member.sockets - 1 for member in self.members if member.sockets)
        report.resumed = sum(member.resumed for member in self.members)
        report.troubles = report.troubles + [trouble for member in self.members for trouble in member.troubles]
        report.take_latencies(self.latencies)
        return report

    async def close(self) -> None:
        """Close all sockets."""
        for member in self.members:
            member.close()
        await asyncio.wait([member.closed for member in self.members], timeout=_CLOSE_S)

    def _act(self, member: Member, nonce: str) -> None:
        what = self._random.choices(list(_ACTS), weights=list(_ACTS.values()))[0]
        text = make_up_text(self._random)
        if what == "message":
            self.sent[nonce] = time.perf_counter()
            member.say(text, nonce)
        elif what == "typing":
            member.send("typing")
        else:
            member.send("status", status=self._random.choice(("idle", "online")))

    async def _settle(self) -> None:
        end = time.perf_counter() + _SETTLE_S
        while not all(map(_agree, self._guilds.values())) and time.perf_counter() < end:  # noqa: ASYNC110 - else each delivery had to tell
            await asyncio.sleep(_LOOK_S)
        unanswered = sum(len(member.unanswered) for member in self.members)
        if unanswered:
            self._report.troubles.append(f"{unanswered:,} messages have not come back to who said them")

    def _deliveries(self) -> int:
        return sum(span.check.received for member in self.members for span in member.spans)

    def _reached(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Give for each guild and epoch the numbers of the last event that nobody saw, and of the last that one did."""
        spans: dict[tuple[str, int], list[Span]] = defaultdict(list)
        for member in self.members:
            for span in member.spans:
                spans[member.guild, span.epoch].append(span)
        return {
            which: (min(span.before for span in those), max(span.last for span in those))
            for which, those in spans.items()
        }

    def _tally(self) -> Tally:
        reached = self._reached()
        tally = NOTHING
        for member in self.members:
            for span in member.spans:
                # What a guild that began afresh sent at its end may not have reached everybody.
                last = reached[member.guild, span.epoch][1] if span is member.spans[-1] else span.last
                tally = added(tally, span.check.close(span.before + 1, last))
        return tally


class Span:
    """What a member got from one SNAPSHOT to the next."""

    __slots__ = ("before", "check", "epoch")

    def __init__(self, event: Event) -> None:
        self.epoch = event.epoch
        self.before = event.seq
        self.check = Check()

    @property
    def last(self) -> int:
        """The number of the last event that came."""
        return max(self.check.expected - 1, self.before)


class Member(Client):
    """One of the crowd."""

    def __init__(self, user: str, guild: str, gateways: Gateways, crowd: Crowd) -> None:
        super().__init__(user, guild, gateways)
        self.spans: list[Span] = []
        self.troubles: list[str] = []
        self._crowd = crowd

    def on_begin(self, event: Event) -> None:
        """Expect what comes after it."""
        self.spans.append(Span(event))

    def on_trouble(self, trouble: str) -> None:
        """Keep it for the report."""
        self.troubles.append(trouble)

    def on_event(self, event: Event) -> None:
        """Check its number, and how long it took."""
        if event.epoch != self.epoch:
            self.on_trouble(f"{self.user} got {event} in epoch {self.epoch}")
            return
        self.spans[-1].check.see(event.seq)
        if event.t == MESSAGE_CREATE:
            sent = self._crowd.sent.get(event.body["nonce"])
            if sent is not None:
                self._crowd.latencies.append(time.perf_counter() - sent)


def _sizes(plan: Plan, random: Random) -> Iterator[int]:
    """Give sizes that add up to the users, also where chance would have left a guild empty."""
    left = plan.users
    for size in guild_sizes(plan.guilds, plan.users, random):
        yield min(size, left)
        left -= min(size, left)


def _agree(members: list[Member]) -> bool:
    """Tell whether all have got the same last event, and have all that they said back."""
    latest = {(member.epoch, member.seq) for member in members if member.sockets}
    return len(latest) <= 1 and not any(member.unanswered for member in members)
