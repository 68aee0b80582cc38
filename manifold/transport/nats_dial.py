"""The dialling side over NATS: a line for each address, that sends what it was granted and asks who is silent.

Who is silent may be slow, or gone: that is the link's to judge. A ping finds out whether anything was lost.
No I/O and no clock: `post` takes what is to be published, and the time is told.
"""

from __future__ import annotations

import secrets
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from manifold.transport.nats_wire import CALL, HANGUP, LAST, MORE, PING, Message, cost

if TYPE_CHECKING:
    from collections.abc import Callable

    Post = Callable[[str, Message], None]

__all__ = ["Line", "Lines"]

LINGER_S = 0.5
"""How long what was sent may still try to get out after a hang-up."""

_CALL_FIRST_S, _CALL_MAX_S = 0.05, 1.0
_PING_S = 1.0
_TICK_S = 0.02


class Line:
    """The way to one subject: calling, until there is a grant for the connection, then up."""

    def __init__(self, subject: str, caller: bytes, post: Post) -> None:
        self.subject = subject
        self.connection = 0
        self.is_up = False
        self.leaves_at = inf
        self.due = 0.0
        """When `tick` has something to do."""
        self._caller = caller
        self._post = post
        self._rest: deque[tuple[int, memoryview]] = deque()
        self._sent = self._granted = 0
        self._period_s = _CALL_FIRST_S
        self.call_anew(0.0)

    @property
    def has_rest(self) -> bool:
        """Whether pieces of a packet wait for a grant."""
        return bool(self._rest)

    def call_anew(self, now: float) -> None:
        """What was sent and is not taken is lost: begin another connection."""
        self.is_up = False
        self.connection = secrets.randbits(64)
        self._rest.clear()
        self._sent = self._granted = 0
        self._period_s = _CALL_FIRST_S
        self.due = now

    def send(self, packet: bytes, piece_bytes: int) -> bool:
        """Send a packet, if there is room for its first piece: the others follow as there is room."""
        if self._rest or not self.is_up or cost(min(len(packet), piece_bytes)) > self._granted - self._sent:
            return False
        view, size = memoryview(packet), len(packet)
        for start in range(0, size or 1, piece_bytes):
            kind = MORE if start + piece_bytes < size else LAST
            self._rest.append((kind, view[start : start + piece_bytes]))
        self._push()
        return True

    def _push(self) -> None:
        rest = self._rest
        while rest and cost(len(rest[0][1])) <= self._granted - self._sent:
            kind, piece = rest.popleft()
            self._post(self.subject, Message(kind, self.connection, self._sent, piece))
            self._sent += cost(len(piece))

    def grant(self, granted: int, now: float) -> bool:
        """It may have sent so much in all; whether that is the news that the connection is made."""
        was_up, self.is_up = self.is_up, True
        self._granted = max(self._granted, granted)
        self.due = now + _PING_S
        self._push()
        return not was_up

    def tick(self, now: float) -> None:
        """Call again, or ask whether somebody is there."""
        if self.is_up:
            self._post(self.subject, Message(PING, self.connection, self._sent, self._caller))
            self.due = now + _PING_S
        else:
            self._post(self.subject, Message(CALL, self.connection, 0, self._caller))
            self.due = now + self._period_s
            self._period_s = min(2 * self._period_s, _CALL_MAX_S)

    def hang_up(self) -> None:
        """Say that no more will come."""
        self._post(self.subject, Message(HANGUP, self.connection))


class Lines:
    """All lines of a node, by address and by connection."""

    def __init__(self, caller: str, post: Post) -> None:
        self._caller = caller.encode()
        self._post = post
        self._lines: dict[str, Line] = {}
        self._addresses: dict[int, str] = {}
        self._leaving: list[Line] = []
        self.due = inf
        """When `tick` has something to do."""

    @property
    def has_rest(self) -> bool:
        """Whether anything waits for a grant."""
        return any(line.has_rest for line in (*self._lines.values(), *self._leaving))

    def dial(self, address: str, subject: str, now: float) -> None:
        """Make a line, unless there is one."""
        if address not in self._lines:
            self._lines[address] = line = Line(subject, self._caller, self._post)
            self._addresses[line.connection] = address
            self.due = now

    def hang_up(self, address: str, now: float) -> None:
        """Give up a line; what waits in it has a moment to get out."""
        line = self._lines.pop(address, None)
        if line is None:
            return
        del self._addresses[line.connection]
        if line.has_rest:
            line.leaves_at = now + LINGER_S
            self._leaving.append(line)
            self.due = min(self.due, line.leaves_at)
        else:
            line.hang_up()

    def send(self, address: str, packet: bytes, piece_bytes: int) -> bool:
        """Send a packet; False for want of a line, of a connection or of room."""
        line = self._lines.get(address)
        return line is not None and line.send(packet, piece_bytes)

    def on_grant(self, message: Message, now: float) -> str | None:
        """Take a grant; give the address if a connection to it was made so."""
        address = self._addresses.get(message.connection)
        if address is not None:
            return address if self._lines[address].grant(message.number, now) else None
        for line in [line for line in self._leaving if line.connection == message.connection]:
            line.grant(message.number, now)
            if not line.has_rest:
                self._leave(line)
        return None

    def on_reset(self, message: Message, now: float) -> None:
        """The other side has lost, or does not know, a connection."""
        address = self._addresses.get(message.connection)
        if address is not None:
            self._call_anew(address, now)

    def call_all_anew(self, now: float) -> None:
        """All connections are lost."""
        self._leaving.clear()
        for address in self._lines:
            self._call_anew(address, now)

    def hang_up_all(self) -> None:
        """Say goodbye."""
        for line in (*self._lines.values(), *self._leaving):
            line.hang_up()

    def tick(self, now: float) -> None:
        """Do what is due."""
        for line in [line for line in self._leaving if now >= line.leaves_at]:
            self._leave(line)
        for line in self._lines.values():
            if now >= line.due:
                line.tick(now)
        dues = [line.due for line in self._lines.values()] + [line.leaves_at for line in self._leaving]
        self.due = max(now + _TICK_S, min(dues, default=inf))

    def _call_anew(self, address: str, now: float) -> None:
        line = self._lines[address]
        del self._addresses[line.connection]
        line.call_anew(now)
        self._addresses[line.connection] = address
        self.due = now

    def _leave(self, line: Line) -> None:
        self._leaving.remove(line)
        line.hang_up()
