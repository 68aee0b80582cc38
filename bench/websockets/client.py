"""Very many WebSockets in one thread, as cheaply as Python can read them.

An epoll, one buffer for all, and of a frame its header alone: a socket costs its client little more than the system
call. A few sockets of each guild are watched: everything that comes there is unpacked and checked, and its time taken.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.websockets.dialects import Dialect
    from bench.websockets.watch import Watch

__all__ = ["Crowd", "Guild", "Link", "Lost"]

_TEXT, _PING, _PONG = 0x1, 0x9, 0xA
_BUFFER_BYTES = 1 << 20
# What is read before one looks again at what is to be sent.
_READS_MAX = 4096
# The type of an event that is counted begins so, and no other that is as long.
_MESSAGE = ord("M")
_LONG = 126


class Lost(Exception):
    """A server closed a socket, refused it, or said something that the protocol does not have."""


class Guild:
    """Its sockets, and what was sent and received there in the measurement that runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.links: list[Link] = []
        self.sent = 0
        self.got = 0

    def begin(self) -> None:
        """Count from 0."""
        self.sent = self.got = 0
        for link in self.links:
            link.got = 0


class Link:
    """One socket: `got` counts the messages; `watch`, if there is one, sees them."""

    __slots__ = ("got", "guild", "hear", "joined", "kept", "sock", "user", "watch")

    def __init__(self, sock: socket.socket, user: str, guild: Guild, watch: Watch | None) -> None:
        self.sock, self.user, self.guild, self.watch = sock, user, guild, watch
        self.got = 0
        self.joined = False
        self.kept = b""
        # Hears what lies in the buffer from one place to another, and gives where what is not complete begins.
        self.hear: Callable[[Link, int, int], int]

    def say(self, payload: bytes, opcode: int = _TEXT) -> None:
        """Send a frame, masked with zeros; what does not fit into the socket's buffer is an error."""
        size = len(payload)
        length = struct.pack("!B", 0x80 | size) if size < _LONG else struct.pack("!BH", 0x80 | _LONG, size)
        frame = b"%c%b\0\0\0\0%b" % (0x80 | opcode, length, payload)
        if self.sock.send(frame) != len(frame):
            msg = f"{self.user}: the server does not read"
            raise Lost(msg)


class Crowd:
    """All sockets, and the loop that reads them; a context that closes them."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sockets, whatever has become of them."""
        for link in self._links.values():
            link.sock.close()
        self._epoll.close()

    def connect(self, url: str, user: str, guild: Guild, watch: Watch | None) -> Link:
        """Begin a handshake; it goes on while one polls."""
        where = urlsplit(url)
        sock = socket.create_connection((where.hostname or "", where.port or 80))
        link = self._links[sock.fileno()] = Link(sock, user, guild, watch)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET {self._dialect.path(user, guild.name)} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        link.hear = self._hear_handshake
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        guild.links.append(link)
        return link

    def poll(self, timeout_s: float) -> int:
        """Read what there is, or comes until then; gives how many sockets were read."""
        ready = self._epoll.poll(timeout_s, _READS_MAX)
        for descriptor, _ in ready:
            link = self._links[descriptor]
            end = self._read(link)
            at = link.hear(link, 0, end)
            link.kept = b"" if at == end else bytes(self._view[at:end])
        return len(ready)

    def _read(self, link: Link) -> int:
        """Have in the buffer what was kept of the socket, and what there is to read; gives where that ends."""
        kept = len(link.kept)
        if kept:
            self._buffer[:kept] = link.kept
        number = link.sock.recv_into(self._view[kept:] if kept else self._buffer)
        if not number:
            msg = f"{link.user}: the server closed the connection"
            raise Lost(msg)
        return kept + number

    def _hear_handshake(self, link: Link, at: int, end: int) -> int:
        head = self._buffer.find(b"\r\n\r\n", at, end)
        if head < 0:
            return at
        if not self._buffer.startswith(b"HTTP/1.1 101 "):
            msg = f"{link.user}: {bytes(self._view[:head])!r}"
            raise Lost(msg)
        link.hear = self._hear_greeting
        return link.hear(link, head + 4, end)

    def _hear_greeting(self, link: Link, at: int, end: int) -> int:
        while (frame := self._frame(at, end)) is not None:
            at = frame[-1]
            if heard := self._text(link, *frame):
                answer, link.joined = self._dialect.greet(heard, link.user, link.guild.name)
                if answer:
                    link.say(answer.encode())
            if link.joined:
                return self._begin(link, heard, at, end)
        return at

    def _begin(self, link: Link, heard: bytes, at: int, end: int) -> int:
        link.hear = self._hear_count
        if link.watch is not None:
            link.hear = self._hear_whole
            link.watch.begin(self._dialect.event(heard))
        return link.hear(link, at, end)

    def _hear_count(self, link: Link, at: int, end: int) -> int:
        """Count the messages. This is what the client spends its time with."""
        buffer, mark, found = self._buffer, self._dialect.mark, 0
        while at + 2 <= end:
            size, start = buffer[at + 1], at + 2
            if size >= _LONG:
                size, start = self._size(at, end)
            if start + size > end:
                break
            if size >= _LONG and buffer[start + mark] == _MESSAGE:
                found += 1
            elif heard := self._text(link, buffer[at] & 15, start, start + size):
                self._answer(link, heard)
            at = start + size
        link.got += found
        link.guild.got += found
        return at

    def _hear_whole(self, link: Link, at: int, end: int) -> int:
        assert link.watch is not None
        now = time.perf_counter()
        while (frame := self._frame(at, end)) is not None:
            at = frame[-1]
            heard = self._text(link, *frame)
            if event := self._dialect.event(heard) if heard else None:
                found = link.watch.see(event, now)
                link.got += found
                link.guild.got += found
            self._answer(link, heard)
        return at

    def _frame(self, at: int, end: int) -> tuple[int, int, int] | None:
        """Give the opcode of the frame at `at`, where its payload starts, and stops, if all of it is there."""
        if at + 2 > end:
            return None
        size, start = self._buffer[at + 1], at + 2
        if size >= _LONG:
            size, start = self._size(at, end)
        return (self._buffer[at] & 15, start, start + size) if start + size <= end else None

    def _size(self, at: int, end: int) -> tuple[int, int]:
        """Give the size of a longer payload, and where it starts; what is not there yet ends behind `end`."""
        form = "!Q" if self._buffer[at + 1] > _LONG else "!H"
        start = at + 2 + struct.calcsize(form)
        return (struct.unpack_from(form, self._buffer, at + 2)[0], start) if start <= end else (1, end)

    def _text(self, link: Link, opcode: int, start: int, stop: int) -> bytes:
        """Give a text's payload; see to any other frame."""
        payload = bytes(self._view[start:stop])
        if opcode == _TEXT:
            return payload
        if opcode != _PING:
            msg = f"{link.user}: the server sent opcode {opcode}: {payload!r}"
            raise Lost(msg)
        link.say(payload, _PONG)
        return b""

    def _answer(self, link: Link, heard: bytes) -> None:
        if heard.startswith(b'{"t":"ERROR"'):
            msg = f"{link.user}: the server says {heard!r}"
            raise Lost(msg)
        if answer := self._dialect.answer(heard):
            link.say(answer.encode())
