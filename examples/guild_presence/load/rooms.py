"""Chat logs through real WebSockets: each nick that is present is a client, and each line is what a client does.

The rule (`logs.room`) says who is to get a line's event, and the expectation counts it; what the clients do only makes
the application send it. A line is played when the event of the one before has come back.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from itertools import count
from typing import TYPE_CHECKING, Any

from examples.guild_presence.app.members import ONLINE
from examples.guild_presence.app.protocol import TEXT_MAX, Refused, checked_name
from examples.guild_presence.load.client import MESSAGE_CREATE, Client
from examples.guild_presence.logs.check import Check
from examples.guild_presence.logs.count import expect
from examples.guild_presence.logs.log import JOIN, LEAVE, MESSAGE, NICK, parse
from examples.guild_presence.logs.log import Event as Line
from examples.guild_presence.logs.report import GuildReport, Report
from examples.guild_presence.logs.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from examples.guild_presence.load.client import Event
    from examples.guild_presence.load.gateways import Gateways

    Wanted = Callable[[Event], bool]

__all__ = ["count_names", "replay"]

_NAME_KEPT = 19
"""So much of a log's name is part of the guild's: with what makes that unique it has 32 characters at most."""
_NOTHING_SAID = "(nothing)"
_PATIENCE_S = 60.0


class StuckError(Exception):
    """The application did not do what was asked of it; the message says what."""


def count_names(logs: Mapping[str, Sequence[str]]) -> int:
    """Tell how many clients there can be at one time."""
    return sum(len(_names(lines)) for lines in logs.values())


async def replay(logs: Mapping[str, Sequence[str]], repeat: int, gateways: Gateways) -> Report:
    """Replay logs by name, all at once, each so many times: each time in a guild of its own, from an empty room."""
    report = Report([GuildReport(name) for name in logs])
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for guild in report.guilds:
            tasks.create_task(_replay_guild(report, guild, logs[guild.name], repeat, gateways))
    report.seconds = time.perf_counter() - began
    return report


async def _replay_guild(
    report: Report, guild: GuildReport, lines: Sequence[str], repeat: int, gateways: Gateways
) -> None:
    guild.lines = repeat * len(lines)
    guild.deliveries_expected = repeat * expect(lines).deliveries
    for _ in range(repeat):
        player = _Player(guild, lines, gateways)
        try:
            await player.play()
        except StuckError as error:
            report.troubles.append(str(error))
            break
        finally:
            player.judge()
            await player.close()


class _Listener(Client):
    """A nick that is or was present. `first` and `last`: which of the log's events were due to it."""

    def __init__(self, user: str, guild: str, gateways: Gateways) -> None:
        super().__init__(user, guild, gateways)
        self.events: list[Event] = []
        self.first, self.last = 1, 0
        self._wanted: Wanted | None = None

    def on_begin(self, event: Event) -> None:
        """Give up where this is not the beginning: the guild lost what it knew, and what was asked of it."""
        if self.sockets:
            self.on_trouble(f"{self.guild} began afresh, at {event.epoch}/{event.seq}")

    def on_trouble(self, trouble: str) -> None:
        """Have who waits for an event know that it will not come."""
        if self._wanted and not self._found.done():
            self._found.set_exception(StuckError(trouble))

    def on_event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)
        if self._wanted and self._wanted(event) and not self._found.done():
            self._wanted = None
            self._found.set_result(event)

    def expect(self, wanted: Wanted) -> asyncio.Future[Event]:
        """Give the next event that is wanted, when it comes."""
        self._wanted = wanted
        self._found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        return self._found


class _Player:
    """Plays one log once."""

    def __init__(self, report: GuildReport, lines: Sequence[str], gateways: Gateways) -> None:
        self._report = report
        self._lines = lines
        self._gateways = gateways
        self._guild = _guild_name(report.name)
        self._names = _names(lines)
        self._room: Room[_Listener] = Room(self._welcome, self._see_off)
        self._listeners: list[_Listener] = []
        self._arrived: _Listener
        self._number = 0
        self._numbers: dict[Event, int] = {}
        self._own: set[Event] = set()

    async def play(self) -> None:
        """Play all lines."""
        for number, line in enumerate(self._lines, 1):
            parsed = parse(line)
            if parsed:
                try:
                    async with asyncio.timeout(_PATIENCE_S):
                        await self._play(parsed)
                except (TimeoutError, ConnectionError, StuckError) as error:
                    why = str(error) or f"nothing came of it in {_PATIENCE_S:g} s"
                    raise StuckError(f"{self._report.name}, line {number}: {why}") from None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._come_to_an_end()
        except TimeoutError:
            raise StuckError(f"{self._report.name}: not everybody has got the end of it in {_PATIENCE_S:g} s") from None

    def judge(self) -> None:
        """Say of every client whether it got what was due to it."""
        for member in self._room.members.values():
            member.last = self._number
        for listener in self._listeners:
            check, strange = Check(), 0
            for event in listener.events:
                number = self._numbers.get(event)
                if number:
                    check.see(number)
                elif event not in self._own:
                    strange += 1
            due, received, lost, duplicated, reordered = check.close(listener.first, listener.last)
            self._report.account((due, received + strange, lost, duplicated + strange, reordered))

    async def close(self) -> None:
        """Close what is open."""
        for listener in self._listeners:
            listener.close()
        if self._listeners:
            await asyncio.wait([listener.closed for listener in self._listeners], timeout=_PATIENCE_S)

    async def _play(self, line: Line) -> None:
        event = await self._act(line)
        if self._room.apply(line):
            self._number += 1
            self._report.events += 1
            self._report.lost += len(self._room.members)
            if event:
                self._numbers[event] = self._number

    async def _act(self, line: Line) -> Event | None:
        """Have a client do what the line tells of; give the event that it led to, if there is anybody to get one."""
        members = self._room.members
        if line.kind == LEAVE:
            return await self._leave(line.nick) if line.nick in members else None
        if line.kind == NICK and line.nick in members and line.text != line.nick:
            return await (
                self._leave(line.nick) if line.text in members else self._rename(members[line.nick], line.text)
            )
        nick = line.text if line.kind == NICK else line.nick
        if nick in members:
            return await self._prove(members[nick], line)
        event = await self._enter(nick)
        if line.kind != MESSAGE:
            return event
        self._own.add(event)
        return await self._say(self._arrived, line.text)

    async def _prove(self, member: _Listener, line: Line) -> Event:
        """Have someone who is present do what makes an event, and changes nothing but for what is said."""
        if line.kind == JOIN:
            return await self._show(member)
        return await (self._rename(member, line.text) if line.kind == NICK else self._say(member, line.text))

    # What clients do. Each gives the event that the application makes of it, and so waits until it is there.

    async def _enter(self, nick: str) -> Event:
        user = self._names[nick]
        self._arrived = _Listener(user, self._guild, self._gateways)
        self._listeners.append(self._arrived)
        found = self._arrived.expect(_is("JOIN", members=[[user, ONLINE]]))
        await self._arrived.open()
        return await found

    async def _leave(self, nick: str) -> Event | None:
        """A client that leaves does not get the event. Where nobody is left to get it, its end has to do."""
        leaver = self._room.members[nick]
        witness = next((member for member in self._room.members.values() if member is not leaver), None)
        found = witness.expect(_is("LEAVE", user=leaver.user)) if witness else None
        leaver.send("leave")
        if found:
            return await found
        await leaver.closed
        return None

    async def _rename(self, member: _Listener, nick: str) -> Event:
        to = self._names[nick]
        found = member.expect(_is("NICK", user=member.user, to=to))
        member.user = to
        member.send("nick", to=to)
        return await found

    async def _say(self, member: _Listener, text: str) -> Event:
        nonce, text = f"{self._number}", text[:TEXT_MAX] if text.strip() else _NOTHING_SAID
        found = member.expect(_is(MESSAGE_CREATE, user=member.user, text=text, nonce=nonce))
        member.say(text, nonce)
        return await found

    async def _show(self, member: _Listener, *others: _Listener) -> Event:
        wanted = _is("PRESENCE_UPDATE", members=[[member.user, ONLINE]])
        found = [each.expect(wanted) for each in (member, *others)]
        member.send("status", status=ONLINE)
        return (await asyncio.gather(*found))[0]

    async def _come_to_an_end(self) -> None:
        """Wait until everything has come to everybody: an event of the application's own, behind all, tells so."""
        present = list(self._room.members.values())
        if present:
            self._own.add(await self._show(*present))
        for listener in self._listeners:
            if listener not in present:
                await listener.closed

    # The rule tells who is present, and by that what is due to whom.

    def _welcome(self, _nick: str) -> _Listener:
        """Take the client that has come; the event is its first."""
        self._arrived.first = self._number + 1
        return self._arrived

    def _see_off(self, member: _Listener) -> None:
        """Note that the event before was the last that is due."""
        member.last = self._number


def _is(kind: str, **said: Any) -> Wanted:
    return lambda event: event.t == kind and said.items() <= event.body.items()


def _guild_name(name: str) -> str:
    """Give a name that no other replay uses: an application may run longer than this does."""
    kept = "".join(filter(str.isprintable, name))[:_NAME_KEPT].strip()
    return f"{kept} {secrets.token_hex(6)}".strip()


def _names(lines: Iterable[str]) -> dict[str, str]:
    """Give each nick a name that users can have: its own, if it is one."""
    parsed = filter(None, map(parse, lines))
    nicks = dict.fromkeys(
        nick for line in parsed for nick in (line.nick, line.text if line.kind == NICK else line.nick)
    )
    others = (name for number in count(1) if (name := f"nick-{number}") not in nicks)
    return {nick: nick if _can_be_a_name(nick) else next(others) for nick in nicks}


def _can_be_a_name(nick: str) -> bool:
    try:
        checked_name(nick, "a nick")
    except Refused:
        return False
    return True
