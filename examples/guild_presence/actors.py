"""The two actors. A guild numbers its events and sends each to all present; a session checks the numbers.

The guild does not wait for its sessions: it sends. Only `drain` holds it up, when it is faster than they are.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypedDict

import pykka

import manifold
from examples.guild_presence.check import Check
from examples.guild_presence.log import parse
from examples.guild_presence.room import Room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.guild_presence.check import Tally
    from examples.guild_presence.log import Event

__all__ = ["ANSWER_S", "CLOSE", "FAREWELL", "LINES", "Guild", "Session", "Step"]

# A session gets events, {"t": kind, "seq": number, ...}; then {"t": FAREWELL, "seq": number of the last one}.
FAREWELL = "FAREWELL"
# A guild answers {"t": LINES, "lines": [...]} with a Step, and {"t": CLOSE} with the Tally of its sessions.
LINES, CLOSE = "LINES", "CLOSE"

ANSWER_S = 600.0
"""How long anyone waits for an answer. It comes after all that was sent before, so it may take a while."""


class Step(TypedDict):
    """What a piece of log came to: its events, and how many recipients they were sent to, added up."""

    events: int
    sent: int


class Session(manifold.Actor):
    """One user's presence in one guild. `first` is the number of the first event that is for it."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self._check = Check(first)

    def on_receive(self, message: dict[str, Any]) -> Tally | None:
        """Check an event; asked with a farewell, answer with how it went, and stop."""
        check, seq = self._check, message["seq"]
        if message["t"] == FAREWELL:
            self.stop()
            return check.close(seq)
        if seq == check.expected:  # What `see` does, in line: nothing else is done a million times a second.
            check.expected += 1
            check.received += 1
        else:
            check.see(seq)
        return None


class Guild(manifold.Actor):
    """One guild: reads its log, keeps a session for everybody present, and sends them the events."""

    def __init__(self, *, plain_list: bool = False) -> None:
        super().__init__()
        self._plain_list = plain_list
        self._seq = 0
        self._room: Room[manifold.PID] = Room(self._welcome, self._see_off)
        self._first: dict[manifold.PID, int] = {}
        self._farewells: list[tuple[manifold.Future[Any], int]] = []
        self._tally: Tally = (0, 0, 0, 0)

    def on_start(self) -> None:
        """Open the audience here, because an audience belongs to the one who sends to it."""
        self._audience = manifold.Audience()

    def on_stop(self) -> None:
        """Give the audience back."""
        self._audience.close()

    async def on_receive(self, message: dict[str, Any]) -> Step | Tally:
        """Replay some lines, or close: see everybody off, as if nobody had ever been there."""
        if message["t"] == LINES:
            return await self._replay(message["lines"])
        self._room.clear()
        await self._collect()
        tally, self._tally = self._tally, (0, 0, 0, 0)
        return tally

    async def _replay(self, lines: Sequence[str]) -> Step:
        step = Step(events=0, sent=0)
        for line in lines:
            event = parse(line)
            if event and self._room.apply(event):
                self._send(event)
                step["events"] += 1
                step["sent"] += len(self._room.members)
                await manifold.drain()
        await self._collect()
        return step

    def _send(self, event: Event) -> None:
        self._seq += 1
        message = {"t": event.kind, "seq": self._seq, "nick": event.nick, "text": event.text}
        # What is shed is lost, and its sessions will say so; sent again it would come out of order.
        with suppress(manifold.Overloaded):
            manifold.send(list(self._room.members.values()) if self._plain_list else self._audience, message)

    def _welcome(self, _nick: str) -> manifold.PID:
        """Start a session; the next event is its first."""
        pid = Session.start(self._seq + 1).pid
        self._first[pid] = self._seq + 1
        if not self._plain_list:
            self._audience.add(pid)
        return pid

    def _see_off(self, pid: manifold.PID) -> None:
        """Take a session's leave, telling it which event was its last; the answer is collected later."""
        if not self._plain_list:
            self._audience.discard(pid)
        farewell = manifold.ask(pid, {"t": FAREWELL, "seq": self._seq}, timeout=ANSWER_S)
        self._farewells.append((farewell, self._seq + 1 - self._first.pop(pid)))

    async def _collect(self) -> None:
        """Wait for the farewells. A session that does not answer has lost all the events that were for it."""
        farewells, self._farewells = self._farewells, []
        for farewell, due in farewells:
            try:
                received, lost, duplicated, reordered = await farewell
            except (manifold.ManifoldError, pykka.ActorDeadError):
                received, lost, duplicated, reordered = 0, due, 0, 0
            mine = self._tally
            self._tally = (mine[0] + received, mine[1] + lost, mine[2] + duplicated, mine[3] + reordered)
