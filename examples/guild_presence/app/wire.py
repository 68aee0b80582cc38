"""How a message gets into a WebSocket: as a frame that is made once for all sockets of the process.

uvicorn's own protocol does the handshake, reads, answers pings and closes. What goes out to many is written here: the
same bytes to each transport, at once where little is to be written; where much is, what came meanwhile goes together,
for the system call costs several times what a message costs otherwise.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from asyncio import BaseTransport

    from websockets.http11 import Request

__all__ = ["UNREAD_MAX_BYTES", "Frames", "Wire"]

REST = 3.0
"""After writing to all who wait, it rests so many times as long as that took, but `REST_MAX_S` at most."""
REST_MAX_S = 0.05
UNREAD_MAX_BYTES = 1024 * 1024
"""What may wait for a client that does not read. One that is further behind is cut off: it can come back."""

logger = logging.getLogger("guild_presence")


class Frames:
    """Makes the frame of a message: JSON in a text frame, as the `websockets` package makes it.

    All sessions of a process get an event as the same object, one after the other: so the latest is kept.
    """

    __slots__ = ("_frame", "_message", "made")

    def __init__(self) -> None:
        self._message: Any = None
        self._frame = b""
        self.made = 0

    def of(self, message: dict[str, Any]) -> bytes:
        """Give the frame of a message."""
        if message is not self._message:
            text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
            self._frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
            self._message = message
            self.made += 1
        return self._frame


class Wire(WebSocketsSansIOProtocol):
    """One socket. The application finds it in the scope, as extension `wire`."""

    _dirty: list[Wire] = []  # noqa: RUF012 - of all sockets of the process, which has one loop
    """Those that have something to write, when it has rested."""
    _rested_at = 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        """Take the connection, and be told when too much waits to be read."""
        super().connection_made(transport)
        self._waiting: list[bytes] = []
        self.transport.set_write_buffer_limits(high=UNREAD_MAX_BYTES)

    def handle_connect(self, event: Request) -> None:
        """Let the application find this."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("dict[str, Any]", self.scope["extensions"])["wire"] = self

    def push(self, frame: bytes) -> None:
        """Write a frame. Never blocks; in order; nothing once the socket has closed."""
        if not self._waiting:
            if not self._dirty:
                self.loop.call_at(Wire._rested_at, self._flush_all)
            self._dirty.append(self)
        self._waiting.append(frame)

    def end(self, code: int, reason: str) -> None:
        """Close the socket behind what was pushed."""
        self._flush()
        task = self.loop.create_task(self._close(code, reason))
        self.tasks.add(task)
        task.add_done_callback(self.on_task_complete)

    async def _close(self, code: int, reason: str) -> None:
        if not (self.close_sent or self.transport.is_closing()):
            with suppress(ClientDisconnected):
                await self.send({"type": "websocket.close", "code": code, "reason": reason})

    def pause_writing(self) -> None:
        """Cut off who does not read: everybody else's memory is worth more."""
        super().pause_writing()
        logger.info("%s does not read, and is cut off", self.client)
        self.transport.abort()

    @classmethod
    def _flush_all(cls) -> None:
        dirty, cls._dirty = cls._dirty, []
        now = dirty[0].loop.time
        began = now()
        for wire in dirty:
            wire._flush()
        ended = now()
        cls._rested_at = ended + min(REST * (ended - began), REST_MAX_S)

    def _flush(self) -> None:
        waiting = self._waiting
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        if data and not (self.close_sent or self.transport.is_closing()):
            self.transport.write(data)
