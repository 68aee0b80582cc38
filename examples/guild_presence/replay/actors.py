"""The two actors. A guild numbers its events and sends each to all present; a session checks the numbers.

The guild does not wait for its sessions: it sends. Only `drain` holds it up, when it is faster than they are. Where
its sessions live makes no difference to it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import manifold
from examples.guild_presence.logs.check import Check
from examples.guild_presence.logs.log import LEAVE, Event, parse
from examples.guild_presence.logs.room import Room
from examples.guild_presence.replay.messages import FAREWELL, Step
from examples.guild_presence.replay.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from examples.guild_presence.replay.ledger import Ledger

__all__ = ["Guild", "Session"]

_FAREWELLS = 256
"""So many leave before they are told, all at once, that it was for good."""


class Session(manifold.Actor):
    """One user's presence in one guild."""

    def __init__(self, guild: str, ledger: Ledger) -> None:
        super().__init__()
        self._guild = guild
        self._ledger = ledger
        self._check = Check()

    def on_receive(self, message: dict[str, Any]) -> None:
        """Check an event; at the farewell enter in the ledger how it went, and stop."""
        check = self._check
        if message["t"] == FAREWELL:
            first, last = message["spans"][self.pid.id]
            self._ledger.add(self._guild, check.close(first, last))
            self.stop()
            return
        seq = message["seq"]
        if seq == check.expected:  # What `see` does, in line: nothing else is done a million times a second.
            check.expected += 1
            check.received += 1
        else:
            check.see(seq)


class Guild(manifold.Actor):
    """One guild: reads its log, gives everybody present a session, and sends them the events."""

    def __init__(self, name: str, gateways: Iterable[manifold.PID], *, plain_list: bool = False) -> None:
        super().__init__()
        self._plain_list = plain_list
        self._seq = 0
        self._pool = Pool(name, gateways)
        self._room: Room[manifold.PID] = Room(self._welcome, self._see_off)
        self._first: dict[manifold.PID, int] = {}
        self._left: dict[manifold.PID, tuple[int, int]] = {}

    def on_start(self) -> None:
        """Open the audience here, because an audience belongs to the one who sends to it."""
        self._audience = manifold.Audience()

    def on_stop(self) -> None:
        """Give the audience back."""
        self._audience.close()

    async def on_receive(self, message: dict[str, Any]) -> Step:
        """Replay some lines; after the last see everybody off, as if nobody had ever been there."""
        step = await self._replay(message["lines"])
        if message["last"]:
            for nick in list(self._room.members):
                self._room.apply(Event(LEAVE, nick))
                await self._say_farewells(_FAREWELLS)
            await self._say_farewells(1)
        return step

    async def _replay(self, lines: Sequence[str]) -> Step:
        step = Step(events=0, sent=0)
        for line in lines:
            event = parse(line)
            if event is None:
                continue
            await self._pool.fill()
            if self._room.apply(event):
                self._send_event(event)
                step["events"] += 1
                step["sent"] += len(self._room.members)
                await manifold.drain()
        await self._say_farewells(_FAREWELLS)
        return step

    def _send_event(self, event: Event) -> None:
        self._seq += 1
        message = {"t": event.kind, "seq": self._seq, "nick": event.nick, "text": event.text}
        # What is shed is lost, and its sessions will say so; sent again it would come out of order.
        with suppress(manifold.Overloaded):
            manifold.send(list(self._room.members.values()) if self._plain_list else self._audience, message)

    def _welcome(self, _nick: str) -> manifold.PID:
        """Take a session; the next event is its first."""
        pid = self._pool.take()
        self._first[pid] = self._seq + 1
        if not self._plain_list:
            self._audience.add(pid)
        return pid

    def _see_off(self, pid: manifold.PID) -> None:
        """Take a session out; the latest event was its last."""
        if not self._plain_list:
            self._audience.discard(pid)
        self._left[pid] = self._first.pop(pid), self._seq

    async def _say_farewells(self, least: int) -> None:
        """If so many have left, tell each which events were for it, and wait until all have entered what they got."""
        if len(self._left) < least:
            return
        left, self._left = self._left, {}
        by_node: dict[str, list[manifold.PID]] = {}
        for pid in left:
            by_node.setdefault(pid.node, []).append(pid)
        await manifold.drain()
        farewells = [
            manifold.send(pids, {"t": FAREWELL, "spans": {pid.id: left[pid] for pid in pids}}, receipt=True)
            for pids in by_node.values()
        ]
        for receipt in filter(None, farewells):
            await receipt
