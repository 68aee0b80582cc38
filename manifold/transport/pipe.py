"""The mover of bytes between a node's main process and a worker process: frames, in order, over one socket of a pair.

A frame is written by whoever sends it, in one write, when the socket takes it; only what does not fit waits
for the side's own loop. Nothing is lost or doubled while both processes live, so nothing is acknowledged but room:
each side tells now and then how many bytes it has read, and how many of them it has not handled yet. What a frame takes
where it waits, besides its own bytes, is counted with them.
"""

from __future__ import annotations

import threading
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from manifold.core.frames import FRAME_COST_BYTES
from manifold.core.link_terms import LinkDown, LinkFull

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

__all__ = ["HEAD", "Channel", "Frame", "Pipe", "cost_of"]

HEAD = Struct("<IHI")
"""The head of a frame: the bytes of its body, its kind, its channel."""

_READ_BYTES = 1 << 16  # more, and every read maps fresh memory


def cost_of(body_bytes: int) -> int:
    """Give what a frame with a body of so many bytes is counted as."""
    return HEAD.size + body_bytes + FRAME_COST_BYTES


class Frame(NamedTuple):
    """A frame that came in; `body` shares its memory with those that came with it."""

    channel: int
    kind: int
    body: memoryview


class Pipe:
    """One end. `send` may be called from any thread, the rest by whoever runs this side's loop.

    `stuck` is called when something could not be written, and `flush` is to be called when the socket takes more.
    """

    def __init__(self, sock: socket.socket, max_bytes: int, stuck: Callable[[], object]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._max_bytes = max_bytes
        self._stuck = stuck
        self._lock = threading.Lock()
        self._waiting: deque[memoryview] = deque()
        self._buffer = bytearray()
        self._needed = HEAD.size
        self._sent_bytes = 0
        self._read_there = 0
        self._waits_there = 0
        self._open = True
        self.read_bytes = 0
        """What was read and handled."""
        self.writes = 0

    def fileno(self) -> int:
        """Give the socket's number, to be waited for."""
        return self._sock.fileno()

    @property
    def pending_bytes(self) -> int:
        """What was sent and not handled yet, as far as the other side has told."""
        return self._sent_bytes - self._read_there + self._waits_there

    def send(self, channel: int, kind: int, parts: Sequence[bytes], *, must_fit: bool = True) -> None:
        """Send a frame. Raises LinkFull when too much is pending, and LinkDown when nobody is there any more."""
        if must_fit and self.pending_bytes >= self._max_bytes:
            msg = f"{self.pending_bytes} bytes wait"
            raise LinkFull(msg)
        size = sum(map(len, parts))
        frame = b"".join((HEAD.pack(size, kind, channel), *parts))
        with self._lock:
            if not self._open:
                msg = "the other process has ended"
                raise LinkDown(msg)
            self._sent_bytes += cost_of(size)
            self.writes += 1
            if self._waiting:
                self._waiting.append(memoryview(frame))
                return
            sent = self._write(frame)
            if sent < len(frame):
                self._waiting.append(memoryview(frame)[sent:])
                self._stuck()

    def _write(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the other side has ended; what reads here will see it
            return len(data)

    def flush(self) -> bool:
        """Write what waits, as far as the socket takes it; whether nothing waits any more."""
        with self._lock:
            while self._waiting:
                data = self._waiting[0]
                sent = self._write(data)
                if sent < len(data):
                    self._waiting[0] = data[sent:]
                    return False
                self._waiting.popleft()
            return True

    def read(self) -> list[Frame] | None:
        """Give the frames that have come in, perhaps none; None when the other side has ended."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        return self._split(memoryview(data))

    def _split(self, data: memoryview) -> list[Frame]:
        frames = []
        at, size = 0, len(data)
        self._needed = HEAD.size
        while size - at >= HEAD.size:
            length, kind, channel = HEAD.unpack_from(data, at)
            end = at + HEAD.size + length
            if end > size:
                self._needed = end - at
                break
            frames.append(Frame(channel, kind, data[at + HEAD.size : end]))
            at = end
        self._buffer += data[at:]
        return frames

    def handled(self, frame: Frame) -> None:
        """A frame that was read is handled: what it brought is counted where it waits, from now on."""
        self.read_bytes += cost_of(len(frame.body))

    def told(self, read_bytes: int, waiting_bytes: int) -> None:
        """The other side has told what it has read, and what of it waits there."""
        self._read_there, self._waits_there = read_bytes, waiting_bytes

    def close(self) -> None:
        """Send nothing any more, and close the socket."""
        with self._lock:
            self._open = False
            self._waiting.clear()
        self._sock.close()


class Channel:
    """One of the conversations that share a pipe: what a link is to its peer."""

    unacked = 0

    def __init__(self, pipe: Pipe, number: int, frame_max_bytes: int) -> None:
        self._pipe = pipe
        self._number = number
        self.frame_max_bytes = frame_max_bytes

    @property
    def pending_bytes(self) -> int:
        """What is pending on the whole pipe."""
        return self._pipe.pending_bytes

    def send(self, kind: int, parts: Sequence[bytes], *, must_fit: bool = True) -> None:
        """Send a frame; see `Pipe.send`."""
        self._pipe.send(self._number, kind, parts, must_fit=must_fit)
