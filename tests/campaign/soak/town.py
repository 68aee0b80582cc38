"""Who lives on one node of a soak: actors that stay, actors that come and go; and the addresses of all they know."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import manifold
from manifold.errors import Overloaded

if TYPE_CHECKING:
    from random import Random

    from tests.campaign.soak.ledger import Ledger

__all__ = ["Awaiting", "Crashed", "Desk", "Narrow", "Neighbours", "Resident", "Speaker", "Staying", "Town"]

Message = tuple[int, int, int, str, Any]
"""Origin, source, number, what to do, with what. Source 0 stands for many senders, between which there is no order."""


class Crashed(Exception):
    """What a handler raises when it is told to."""


class Neighbours:
    """The actors of one node that others send to."""

    def __init__(self, origin: int, desk: manifold.PID, residents: list[manifold.PID]) -> None:
        self.origin = origin
        self.desk = desk
        self.residents = residents


class Speaker:
    """Sends as one of this node, and counts it. For one thread."""

    def __init__(self, town: Town, source: int) -> None:
        town.speakers.append(self)
        self.town = town
        self.source = source
        self.sent = 0  # recipients, as far as they are known
        self.number = 0
        self.overloads = 0
        self.full: tuple[str, ...] = ()
        """The nodes to which a queue was full the last time."""

    def message(self, what: str = "", arg: Any = None) -> Message:
        self.number += 1
        return self.town.origin, self.source, self.number, what, arg

    def say(self, to: Any, recipients: int, message: Message | None = None, **modes: Any) -> None:
        self.sent += recipients
        try:
            self.town.node.send(to, message or self.message(), **modes)
        except Overloaded as error:  # counted as sent all the same
            self.overloads += 1
            self.full = error.nodes

    def later(self, delay_s: float, pid: manifold.PID, what: str) -> None:
        """Send out of order: a timer is a sender of its own."""
        self.sent += 1
        self.number += 1
        self.town.node.send_after(delay_s, pid, (self.town.origin, 0, self.number, what, None))


class Town:
    """What all on one node share."""

    def __init__(self, node: manifold.Node, origin: int, ledger: Ledger) -> None:
        self.node = node
        self.origin = origin
        self.ledger = ledger
        self.speakers: list[Speaker] = []
        self.resting = True
        self.neighbours: dict[str, Neighbours] = {}  # by node id; of this node too
        self.stayers: list[Counting] = []
        self.pulses: list[Any] = []  # those of them that send
        self.wrong: list[str] = []

    def fail(self, what: str) -> None:
        """Note something that must not be."""
        if len(self.wrong) < 20:
            self.wrong.append(what)

    def any_desk(self, random: Random) -> manifold.PID:
        return random.choice(list(self.neighbours.values())).desk

    def any_pids(self, random: Random, number: int) -> list[manifold.PID]:
        every = self.everybody()
        return random.sample(every, min(number, len(every)))

    def everybody(self) -> list[manifold.PID]:
        return [pid for some in list(self.neighbours.values()) for pid in some.residents]

    def part(self, node: str) -> None:
        """Forget a node that will not come back."""
        gone = self.neighbours.pop(node)
        for actor in self.stayers:
            actor.last.pop(gone.origin, None)


class Counting(manifold.Actor):
    """Counts what arrives, and sees whether it is in order."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.last: dict[int, dict[int, int]] = {}  # number, by origin and source

    def note(self, message: Message) -> None:
        origin, source, number = message[:3]
        self.town.ledger.handled(origin)
        if source:
            last = self.last.setdefault(origin, {})
            if number <= last.get(source, 0):
                self.town.ledger.out_of_order()
            last[source] = number


class Staying(Counting):
    """One that lives as long as its node."""

    def __init__(self, town: Town) -> None:
        super().__init__(town)
        town.stayers.append(self)


class Resident(Staying):
    """Blocks its worker when it is told to."""

    def on_receive(self, message: Message) -> int:
        self.note(message)
        if message[3] == "block":
            time.sleep(message[4])
        return message[2]


class Awaiting(Staying):
    """Awaits now and then."""

    async def on_receive(self, message: Message) -> int:
        self.note(message)
        if message[2] % 8 == 0:
            await asyncio.sleep(0)
        if message[3] == "block":
            await asyncio.sleep(message[4])
        return message[2]


class Narrow(Awaiting):
    """One whose mailbox is soon full."""

    mailbox_max = 5
    mailbox_full = "drop_oldest"


class Guest(Counting):
    """Comes and goes, at the latest by itself."""

    def __init__(self, town: Town, speaker: Speaker, stays_s: float) -> None:
        super().__init__(town)
        speaker.later(stays_s, self.pid, "stop")

    def on_receive(self, message: Message) -> int:
        self.note(message)
        if message[3] == "stop":
            self.stop()
        if message[3] == "crash":
            raise Crashed
        return message[2]


class Desk(Staying):
    """Starts guests."""

    def __init__(self, town: Town) -> None:
        super().__init__(town)
        self.speaker = Speaker(town, 0)

    def on_receive(self, message: Message) -> manifold.PID:
        self.note(message)
        return Guest.start(self.town, self.speaker, message[4]).pid
