"""The two directions of a link: `Outflow` keeps every frame until it is acknowledged, `Inflow` passes each on once.

A frame costs what `frame_cost` says, on both sides alike: credit is an offset in the stream of these costs, and can be
told again and again without harm. So what a receiver holds of frames that it has not handled, and what it has given
credit for, are never more than its window.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from manifold.core.frames import (
    FRAME_COST_BYTES,
    FRAME_HEADER_BYTES,
    PACKET_FRAMES_MAX,
    Ack,
    Garbage,
    encode_frame_header,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifold.core.frames import Frame, Packet

    Chunk = bytes | memoryview
    Entry = tuple[tuple[Chunk, ...], int, object]
    """A frame to send: header and body in pieces, what it costs, tag."""

__all__ = ["Inflow", "Outflow", "frame_cost"]


def frame_cost(body_bytes: int) -> int:
    """Give what a frame with a body of so many bytes costs where it waits, to be sent or to be handled."""
    return body_bytes + FRAME_HEADER_BYTES + FRAME_COST_BYTES


_NONE = -1
# A hello, an acknowledgement and a ping may go with them.
_TAKE_MAX = PACKET_FRAMES_MAX - 3


class Outflow:
    """Frames on their way out: queued, then in flight until the peer says that it has them.

    In flight are never more than `window_bytes`, and never what the peer gave no credit for; bytes are costs here.
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
        """What is kept in memory, queued and in flight."""
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
        cost = frame_cost(size)
        self._queue.append(((encode_frame_header(kind, size), *parts), cost, tag))
        self.pending_bytes += cost

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
            pieces, cost, _ = entry = queue[0]
            if cost > room or (cost - FRAME_COST_BYTES > space and chunks):
                break
            queue.popleft()
            flight.append(entry)
            chunks += pieces
            room -= cost
            space -= cost - FRAME_COST_BYTES
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
                cost = self._flight.popleft()[1]
                self.flight_bytes -= cost
            else:
                cost = self._queue.popleft()[1]
            self.acked_bytes += cost
            self.pending_bytes -= cost
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

    def refuse(self, body_max_bytes: int) -> list[object]:
        """Drop frames with larger bodies than this from the queue, before any was sent; give their tags."""
        most = frame_cost(body_max_bytes)
        refused = [entry for entry in self._queue if entry[1] > most]
        if refused:
            self._queue = deque(entry for entry in self._queue if entry[1] <= most)
            self.pending_bytes -= sum(cost for _, cost, _ in refused)
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
        cost = _cost(packet) - (_cost_of(packet.frames[:known]) if known > 0 else 0)
        if self.received_bytes + cost > self.credit:
            raise Garbage(f"frames that cost {cost} after {self.received_bytes} exceed the credit of {self.credit}")

    def accept(self, packet: Packet, now: float) -> list[Frame]:
        """Give the frames that are new, if none is missing before them."""
        known = self.received + 1 - packet.first
        if known < 0:
            if self._asked != self.received:
                self.ask(now)
            return []
        fresh = packet.frames[known:] if known else packet.frames
        self.received += len(fresh)
        self.received_bytes += _cost_of(fresh) if known else _cost(packet)
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


def _cost(packet: Packet) -> int:
    return packet.frames_bytes + FRAME_COST_BYTES * len(packet.frames)


def _cost_of(frames: Sequence[Frame]) -> int:
    return sum([frame_cost(len(body)) for _, body in frames])
