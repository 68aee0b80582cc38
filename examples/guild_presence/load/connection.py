"""One WebSocket, as cheap as thousands in one process have to be.

The handshake, what is sent, and control frames are the business of `websockets`; text frames, of which millions come,
are cut out of the stream here. The server neither masks nor fragments.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from websockets.client import ClientProtocol
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connection", "RefusedError", "connect"]

_TEXT = 0x81
"""The first byte of a text frame that is a whole message."""
_READ = memoryview(bytearray(64 * 1024))
"""Where what comes is read to. Nothing of it is kept beyond the call."""


class RefusedError(Exception):
    """The server answered, but not with a WebSocket."""


async def connect(url: str, on_text: Callable[[bytes], object], on_close: Callable[[int], object]) -> Connection:
    """Open a WebSocket. `on_text` gets each message, `on_close` at last the close code, if it was open.

    Raises OSError, and RefusedError.
    """
    protocol = ClientProtocol(parse_uri(url), max_size=None)
    connection = Connection(protocol, on_text, on_close)
    await asyncio.get_running_loop().create_connection(lambda: connection, protocol.uri.host, protocol.uri.port)
    try:
        await connection.opened
    except BaseException:
        connection.drop()
        raise
    return connection


class Connection(asyncio.BufferedProtocol):
    """A WebSocket; see `connect`."""

    def __init__(
        self, protocol: ClientProtocol, on_text: Callable[[bytes], object], on_close: Callable[[int], object]
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_text = on_text
        self.on_close = on_close
        self._protocol = protocol
        self._rest = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, unless the socket is closing."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(json.dumps(message).encode())
            self._write()

    def close(self) -> None:
        """Close it in order: `on_close` follows, when the server has done so too."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._write()

    def hush(self) -> None:
        """Have nobody hear any more what comes, nor that it closes."""
        self.on_text = self.on_close = _ignore

    def drop(self) -> None:
        """Have nobody hear of it any more, and close it at once."""
        self.hush()
        self._transport.abort()

    @property
    def is_closed(self) -> bool:
        """Tell whether it is over."""
        return self._protocol.state is State.CLOSED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._protocol.send_request(self._protocol.connect())
        self._write()

    def get_buffer(self, _size: int) -> memoryview:
        """Have all sockets read into the same memory: to have some for each read costs more than all else."""
        return _READ

    def buffer_updated(self, size: int) -> None:
        """Take what came, frame by frame once the handshake is done."""
        data = bytes(_READ[:size])
        if self._rest:
            data = self._rest + data
        taken = self._cut(data, 0) if self.opened.done() else self._shake_hands(data)
        self._rest = data[taken:]

    def eof_received(self) -> None:
        """Let the transport close."""
        self._protocol.receive_eof()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell that it is over."""
        self._protocol.receive_eof()
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError("the server closed the connection"))
        elif not self.opened.cancelled() and not self.opened.exception():
            closing = self._protocol.close_rcvd
            self.on_close(closing.code if closing else CloseCode.ABNORMAL_CLOSURE)

    def _shake_hands(self, data: bytes) -> int:
        """Take the server's answer when it is complete, and what came behind it; give how much that was."""
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            return 0
        self._feed(head + end)
        if self._protocol.state is State.OPEN:
            self.opened.set_result(None)
            return self._cut(data, len(head + end))
        self.opened.set_exception(RefusedError(head.partition(b"\r\n")[0].decode(errors="replace")))
        return len(data)

    def _cut(self, data: bytes, start: int) -> int:
        """Take the whole frames out of what came; give where the first incomplete one begins."""
        size = len(data)
        while size - start >= 2:
            length, body = data[start + 1], start + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[start + 2 : body], "big")
            end = body + length
            if end > size:
                break
            if data[start] == _TEXT:
                self.on_text(data[body:end])
            else:
                self._feed(data[start:end])
            start = end
        return start

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._write()

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()


def _ignore(_: object) -> None:
    pass
