"""The receiving side over NATS: who called, what each may still send, and the pieces of packets put together.

What all callers together may have on the way, at the server too, is bounded: so that the server never finds more
waiting for this node than it bears with, however long the node stands still. No I/O and no clock, as in `nats_dial`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.transport.nats_wire import GRANT, LAST, PIECE_COST_MAX, RESET, Message, cost

if TYPE_CHECKING:
    from collections.abc import Callable

    Post = Callable[[str, Message], None]

__all__ = ["BUDGET_BYTES", "CALLERS_MAX", "WINDOW_BYTES", "Callers"]

WINDOW_BYTES = 1 << 20
"""How far one caller may run ahead while it is busy; one that is not, a piece. With 256 KiB a third is lost."""

BUDGET_BYTES = 8 << 20
"""How far all may together, but for a piece each. Of this, little waits at the server, which by default cuts off whom
64 MiB wait for, or who takes nothing for 10 s while it has to wait. More makes nothing faster."""

CALLERS_MAX = 4096
_FORGET_S = 30.0
_TICK_S = 5.0


class _Caller:
    """One connection that comes in."""

    __slots__ = ("granted", "heard_at", "pieces", "received", "size", "subject")

    def __init__(self, subject: str, now: float) -> None:
        self.subject = subject
        self.heard_at = now
        self.granted = self.received = 0
        self.pieces: list[bytes | memoryview] = []
        self.size = 0

    @property
    def ahead(self) -> int:
        """What it was granted and has not used."""
        return self.granted - self.received


class Callers:
    """All connections that come in, by number."""

    def __init__(self, post: Post, packet_max_bytes: int) -> None:
        self._post = post
        self._packet_max_bytes = packet_max_bytes
        self._callers: dict[int, _Caller] = {}
        self.ahead = 0
        """What all were granted and have not used."""
        self.due = 0.0

    def on_call(self, message: Message, subject: str, now: float) -> None:
        """Let somebody in, or back in."""
        caller = self._callers.get(message.connection)
        if caller is None and len(self._callers) < CALLERS_MAX:
            caller = self._callers[message.connection] = _Caller(subject, now)
        if caller is not None:
            caller.heard_at = now
            self._grant(message.connection, caller, PIECE_COST_MAX)

    def on_ping(self, message: Message, subject: str, now: float) -> None:
        """Say how far we are; or that all is lost, if something is missing."""
        caller = self._callers.get(message.connection)
        if caller is None or caller.received != message.number:
            self._cut(message.connection, subject)
        else:
            caller.heard_at = now
            self._grant(message.connection, caller, PIECE_COST_MAX)

    def on_piece(self, message: Message, now: float) -> bytes | None:
        """Take a piece; give the packet if it was the last one of it."""
        caller = self._callers.get(message.connection)
        if caller is None or message.number < caller.received:
            return None  # the next ping will tell it; or somebody has published again what was published before
        price = cost(len(message.body))
        if message.number > caller.received or price > caller.ahead or not self._has_space(caller, message):
            self._cut(message.connection, caller.subject)
            return None
        caller.heard_at = now
        caller.received += price
        self.ahead -= price
        allowed = self._allowed(caller)
        if caller.ahead <= allowed // 2:
            self._grant(message.connection, caller, allowed)
        return self._assemble(caller, message)

    def on_hangup(self, message: Message, _now: float) -> None:
        """Forget a connection."""
        self._forget(message.connection)

    def cut_all(self) -> None:
        """Tell everybody that what is on the way is lost."""
        for connection, caller in tuple(self._callers.items()):
            self._cut(connection, caller.subject)

    def tick(self, now: float) -> None:
        """Forget those who have left without a word."""
        for connection, caller in tuple(self._callers.items()):
            if now >= caller.heard_at + _FORGET_S:
                self._forget(connection)
        self.due = now + _TICK_S

    def _has_space(self, caller: _Caller, message: Message) -> bool:
        return caller.size + len(message.body) <= self._packet_max_bytes

    def _assemble(self, caller: _Caller, message: Message) -> bytes | None:
        pieces = caller.pieces
        pieces.append(message.body)
        caller.size += len(message.body)
        if message.kind != LAST:
            return None
        packet = b"".join(pieces)
        pieces.clear()
        caller.size = 0
        return packet

    def _allowed(self, caller: _Caller) -> int:
        """Give how far one may run ahead now: its share of the budget, if the others leave that; a piece anyhow."""
        share = min(WINDOW_BYTES, BUDGET_BYTES // len(self._callers))
        return max(PIECE_COST_MAX, min(share, BUDGET_BYTES - (self.ahead - caller.ahead)))

    def _grant(self, connection: int, caller: _Caller, ahead: int) -> None:
        more = max(0, ahead - caller.ahead)
        caller.granted += more
        self.ahead += more
        self._post(caller.subject, Message(GRANT, connection, caller.granted))

    def _cut(self, connection: int, subject: str) -> None:
        self._forget(connection)
        self._post(subject, Message(RESET, connection))

    def _forget(self, connection: int) -> None:
        caller = self._callers.pop(connection, None)
        if caller is not None:
            self.ahead -= caller.ahead
