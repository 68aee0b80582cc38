"""The two directions of a link: `Outflow` keeps every frame until it is acknowledged, `Inflow` passes each on once.

Bytes of frames are counted as they are on the wire, headers included; both sides count the same stream, so that
credit is an offset in it and can be told again and again without harm.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from manifold.core.frames import FRAME_HEADER_BYTES, PACKET_FRAMES_MAX, Ack, Garbage, encode_frame_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifold.core.frames import Frame, Packet

    Chunk = bytes | memoryview
    Entry = tuple[tuple[Chunk, ...], int, object]
    """A frame to send: header and body in pieces, size on the wire, tag."""

__all__ = ["FRAME_COST_BYTES", "Inflow", "Outflow"]

FRAME_COST_BYTES = 256
"""What a frame that waits costs beside its bytes: the objects that hold it."""

_NONE = -1
# A hello, an acknowledgement and a ping may go with them.
_TAKE_MAX = PACKET_FRAMES_MAX - 3


class Outflow:
    """Frames on their way out: queued, then in flight until the peer says that it has them.

    In flight are never more than `window_bytes`, and never what the peer gave no credit for.
    """

    __slots__ = (
        "_flight",
        "_queue",
        "_rewound",
        "acked",
        "acked_bytes",
        "credit",
        "flight_bytes",
        "pending_bytes",
        "sent",
        "window_bytes",
    )

    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes
        self._queue: deque[Entry] = deque()
        self._flight: deque[Entry] = deque()
        self.pending_bytes = 0
        """What is kept in memory, queued and in flight, `FRAME_COST_BYTES` a frame included."""
        self.flight_bytes = 0
        self.acked = 0
        self.acked_bytes = 0
        self.sent = 0
        """The highest number sent so far."""
        self.credit = 0
        # The acknowledged number at which frames were last sent again: once a gap is enough.
        self._rewound = _NONE

    def __len__(self) -> int:
        """Give the number of frames not acknowledged."""
        return len(self._queue) + len(self._flight)

    def put(self, kind: int, parts: Sequence[Chunk], size: int, tag: object) -> None:
        """Queue a frame whose body of `size` bytes comes in parts."""
        size += FRAME_HEADER_BYTES
        header = encode_frame_header(kind, size - FRAME_HEADER_BYTES)
        self._queue.append(((header, *parts), size, tag))
        self.pending_bytes += size + FRAME_COST_BYTES

    def room(self) -> int:
        """Give how many bytes more may be in flight."""
        return min(self.credit - self.acked_bytes, self.window_bytes) - self.flight_bytes

    def ready(self) -> bool:
        """Say whether a frame may be sent now."""
        return bool(self._queue) and self._queue[0][1] <= self.room()

    def last(self) -> int:
        """Give the number of the last frame in flight."""
        return self.acked + len(self._flight)

    def take(self, space: int) -> list[Chunk]:
        """Put in flight the next frames that may be sent and fit in `space` bytes (the first always fits)."""
        queue, flight = self._queue, self._flight
        chunks: list[Chunk] = []
        room = start = self.room()
        for _ in range(min(_TAKE_MAX, len(queue))):
            pieces, size, _ = entry = queue[0]
            if size > room or (size > space and chunks):
                break
            queue.popleft()
            flight.append(entry)
            chunks += pieces
            room -= size
            space -= size
        self.flight_bytes += start - room
        self.sent = max(self.sent, self.last())
        return chunks

    def acknowledge(self, seq: int) -> bool:
        """Forget all frames up to `seq`; say whether there were any. An old acknowledgement changes nothing."""
        if seq <= self.acked:
            return False
        before = self.pending_bytes
        for _ in range(seq - self.acked):
            # After a rewind, what is acknowledged may stand in the queue once more.
            if self._flight:
                size = self._flight.popleft()[1]
                self.flight_bytes -= size
            else:
                size = self._queue.popleft()[1]
            self.acked_bytes += size
            self.pending_bytes -= size + FRAME_COST_BYTES
        self.acked = seq
        return self.pending_bytes < before

    def rewind(self) -> None:
        """Send again, in order, all that is in flight."""
        self._queue.extendleft(reversed(self._flight))
        self._flight.clear()
        self.flight_bytes = 0
        self._rewound = self.acked

    def rewind_once(self) -> None:
        """Do it, unless it was done since anything was acknowledged, or since `doubt`."""
        if self._rewound != self.acked:
            self.rewind()

    def doubt(self) -> None:
        """What was sent again may be lost, too: heed the next request to send again."""
        self._rewound = _NONE

    def refuse(self, size_max: int) -> list[object]:
        """Drop frames larger than this from the queue, before any was sent; give their tags."""
        refused = [entry for entry in self._queue if entry[1] > size_max]
        if refused:
            self._queue = deque(entry for entry in self._queue if entry[1] <= size_max)
            self.pending_bytes -= sum(size + FRAME_COST_BYTES for _, size, _ in refused)
        return [tag for _, _, tag in refused]

    def tags(self) -> list[object]:
        """Give the tags of all frames not acknowledged, in the order sent."""
        return [tag for entries in (self._flight, self._queue) for _, _, tag in entries]


class Inflow:
    """Frames on their way in, and what the peer must be told of them.

    What is out of order is not held: transports keep order but for what a broken connection loses, and then all
    that follows is sent again anyway.
    """

    __slots__ = (
        "_ack_delay_s",
        "_asked",
        "_backlog_bytes",
        "_resend",
        "_settled",
        "_told_bytes",
        "_window_bytes",
        "ack_at",
        "credit",
        "received",
        "received_bytes",
    )

    def __init__(self, window_bytes: int, ack_delay_s: float) -> None:
        self._window_bytes = window_bytes
        self._ack_delay_s = ack_delay_s
        self.received = 0
        self.received_bytes = 0
        self.credit = window_bytes
        """What the peer was told that it may send."""
        self.ack_at = inf
        """When the peer must be told at latest; inf when there is nothing to tell."""
        self._backlog_bytes = 0
        self._told_bytes = 0
        self._settled = (0, 0, 0)
        self._resend = False
        # The number after which a gap was seen and told: once is enough.
        self._asked = _NONE

    def check(self, packet: Packet) -> None:
        """Raise Garbage if the peer sends more than it was given credit for."""
        known = self.received + 1 - packet.first
        size = packet.frames_bytes - _wire_bytes(packet.frames[:known]) if known > 0 else packet.frames_bytes
        if self.received_bytes + size > self.credit:
            raise Garbage(f"frames of {size} bytes after {self.received_bytes} exceed the credit of {self.credit}")

    def accept(self, packet: Packet, now: float) -> list[Frame]:
        """Give the frames that are new, if none is missing before them."""
        known = self.received + 1 - packet.first
        if known < 0:
            if self._asked != self.received:
                self.ask(now)
            return []
        fresh = packet.frames[known:] if known else packet.frames
        self.received += len(fresh)
        self.received_bytes += _wire_bytes(fresh) if known else packet.frames_bytes
        urgent = self.received_bytes - self._told_bytes >= self._window_bytes // 4
        self.owe(now if urgent else now + self._ack_delay_s)
        return fresh

    def answer(self, sent: int, now: float) -> None:
        """The peer asks how far this side is; it has sent frames up to `sent`."""
        if sent > self.received:
            self.ask(now)
        self.owe(now)

    def ask(self, now: float) -> None:
        """Have the peer send again what comes after the last frame received."""
        self._resend = True
        self._asked = self.received
        self.owe(now)

    def owe(self, at: float) -> None:
        """The peer must be told at this time at latest."""
        self.ack_at = min(self.ack_at, at)

    def settle(self, delivered: int, dead: int, shed: int, now: float) -> None:
        """So many recipients more were settled."""
        old = self._settled
        self._settled = (old[0] + delivered, old[1] + dead, old[2] + shed)
        self.owe(now + self._ack_delay_s)

    def backlog(self, size_bytes: int, now: float) -> None:
        """So much waits at the receiver; the peer is told when it may send more for that."""
        self._backlog_bytes = size_bytes
        if self._allowed() > self.credit:
            self.owe(now + self._ack_delay_s)

    def _allowed(self) -> int:
        """Give the credit for the backlog of now. What was given once is never taken back."""
        return max(self.credit, self.received_bytes + self._window_bytes - self._backlog_bytes)

    def tell(self) -> Ack:
        """Give what the peer is to know now; nothing is owed then."""
        self.credit = self._allowed()
        ack = Ack(self.received, self.credit, *self._settled, self._resend)
        self._resend = False
        self._told_bytes = self.received_bytes
        self.ack_at = inf
        return ack


def _wire_bytes(frames: Sequence[Frame]) -> int:
    return sum([len(body) for _, body in frames]) + FRAME_HEADER_BYTES * len(frames)
