"""One link between two nodes: within a pair of sessions every frame arrives once and in order, or its owner hears.

A `Link` is one side, without I/O, clock or randomness: it is fed packets and the time, and gives events and packets.
All that decides over its life stands in `TRANSITIONS`, in `link_terms`, with the events, limits and errors. A link that
is DOWN stays so: its owner makes another, of a later session, and feeds it the packet that ended the old one.

Not thread-safe: the owner holds a lock, or calls it from one thread. A turn of the owner is: `receive_packet` for all
that came in, `tick`, `packets_to_send`, then wait `next_timeout`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from manifold.core.flow import Inflow, Outflow
from manifold.core.frames import (
    FIRST_SEQUENCED,
    FRAME_HEADER_BYTES,
    GOODBYE,
    PACKET_HEADER_BYTES,
    RESET,
    Ack,
    Frame,
    FrameTooLarge,
    Garbage,
    Hello,
    Packet,
    decode_packet,
    encode_ack,
    encode_hello,
    encode_packet,
    encode_ping,
    encode_signal,
)
from manifold.core.link_terms import (
    TRANSITIONS,
    Down,
    Event,
    Input,
    LinkDown,
    LinkFull,
    LinkLimits,
    Refused,
    Room,
    Settled,
    State,
    Up,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Down", "Event", "Frame", "Hello", "Link", "LinkDown", "LinkFull", "LinkLimits", "Packet"]
__all__ += ["Refused", "Room", "Settled", "State", "Up"]

_KIB = 1024


class Link:
    """One side of the link to one peer.

    `session` must be above 0, below 2**64, and above that of every earlier link to this peer: a later session is how
    the peer knows that this is not a late packet of an earlier one. `jitter` (0..1) stretches periods by up to a
    quarter, so that links made at once do not tick at once.
    """

    __slots__ = (
        "_frame_max_bytes",
        "_heard_at",
        "_hello_at",
        "_hello_frame",
        "_hello_period_s",
        "_in",
        "_is_known",
        "_limits",
        "_low_water_bytes",
        "_out",
        "_ping_at",
        "_probe_at",
        "_probe_period_s",
        "_reset_at",
        "_reset_to",
        "_say_goodbye",
        "_settled",
        "_stretch",
        "peer",
        "peer_session",
        "reason",
        "session",
        "state",
    )

    def __init__(
        self, me: Hello, session: int, *, now: float, limits: LinkLimits | None = None, jitter: float = 0.0
    ) -> None:
        self._limits = limits = limits or LinkLimits()
        self.session = session
        self.state = State.CONNECTING
        self.reason = ""
        """Why it is down."""
        self.peer: Hello | None = None
        self.peer_session = 0
        self._out = Outflow(limits.window_bytes)
        self._in = Inflow(limits.window_bytes, limits.ack_delay_s)
        self._frame_max_bytes = limits.frame_max_bytes
        self._low_water_bytes = limits.outbox_max_bytes * limits.drain_below
        self._settled = (0, 0, 0)
        # The peer has shown that it knows our session: no hello is needed any more.
        self._is_known = False
        self._stretch = 1 + jitter / 4
        self._heard_at = now
        self._hello_at = now
        self._hello_period_s = limits.hello_period_s
        self._ping_at = self._probe_at = inf
        self._probe_period_s = limits.ack_timeout_s
        self._reset_to = 0
        self._reset_at = now
        self._say_goodbye = False
        self.introduce(me)

    # What the owner asks.

    @property
    def pending_bytes(self) -> int:
        """What waits to be sent or acknowledged, 256 bytes a frame added."""
        return self._out.pending_bytes

    @property
    def in_flight_bytes(self) -> int:
        """What was sent and is not acknowledged: `window_bytes` at most."""
        return self._out.flight_bytes

    @property
    def unacked(self) -> int:
        """How many frames are queued or in flight."""
        return len(self._out)

    def abandoned(self) -> list[object]:
        """Give the tags of the frames that the peer did not acknowledge, in the order sent.

        Once the link is down these are lost, as far as this side can know: the peer may have got some of them.
        """
        return self._out.tags()

    # What the owner says.

    def introduce(self, me: Hello) -> None:
        """Say this in every hello from now on. FrameTooLarge, and nothing is changed, if it is over a MiB."""
        limits = {"frame_max_bytes": self._limits.frame_max_bytes, "window_bytes": self._limits.window_bytes}
        self._hello_frame = encode_hello(me._replace(limits={**me.limits, **limits}))

    def send(
        self, kind: int, parts: Sequence[bytes | memoryview], tag: object = None, *, must_fit: bool = True
    ) -> None:
        """Queue a frame of a sequenced kind (16..255); its body is the parts (bytes, or memoryviews of bytes) in a row.

        Never blocks; the parts must not change. Raises, and queues nothing: `LinkFull` (not if it need not fit),
        `LinkDown`, `FrameTooLarge`.
        """
        out = self._out
        size = sum(map(len, parts))
        if size > self._frame_max_bytes:
            raise FrameTooLarge(size, self._frame_max_bytes)
        if must_fit and out.pending_bytes >= self._limits.outbox_max_bytes:
            raise LinkFull(f"{out.pending_bytes} bytes wait; LinkLimits.outbox_max_bytes lets no more in")
        if self.state is State.DOWN:
            raise LinkDown(f"the link is down: {self.reason}")
        if kind < FIRST_SEQUENCED:
            raise ValueError(f"kinds below {FIRST_SEQUENCED} are the link's own, such as {kind}")
        out.put(kind, parts, size, tag)

    def settle(self, delivered: int, dead: int, shed: int, now: float) -> None:
        """So many more recipients of what came in were settled. The peer hears within `ack_delay_s`, if it hears."""
        self._in.settle(delivered, dead, shed, now)

    def backlog(self, size_bytes: int, now: float) -> None:
        """Say how much waits at this side. The peer gets credit for what came in and `window_bytes` less this.

        Say it after the events of `receive_packet` were taken, and before `packets_to_send`.
        """
        self._in.backlog(size_bytes, now)

    def reconnected(self) -> None:
        """The transport lost what it had to send, or may have: introduce ourselves and send it again."""
        self._out.rewind()
        self._hello_at = -inf
        self._ping_at = -inf if self.state is State.UP else inf

    def close(self) -> None:
        """Say goodbye (once, and not again if that is lost), and be down."""
        self._say_goodbye |= self.state is not State.DOWN
        self._move(Input.CLOSE)

    # Time.

    def tick(self, now: float) -> list[Event]:
        """Find out whether the peer was silent for too long. Feed what has come in first."""
        if now < self._heard_at + self._limits.node_down_after_s:
            return []
        return self._move(Input.SILENCE)

    def next_timeout(self, now: float) -> float | None:
        """Give the seconds until `tick` and `packets_to_send` have something to do; None if only input can change that.

        Frames just queued are not in this: call `packets_to_send` after sending.
        """
        reset_at = self._reset_at if self._reset_to else inf
        if self.state is State.DOWN:
            at = -inf if self._say_goodbye else reset_at
        else:
            silent_at = self._heard_at + self._limits.node_down_after_s
            at = min(self._hello_at, self._ping_at, self._probe_at, self._in.ack_at, reset_at, silent_at)
        return None if at == inf else max(0.0, at - now)

    # Output.

    def packets_to_send(self, now: float, max_packet_bytes: int = 64 * _KIB) -> list[bytes]:
        """Give all that is due now, in order. The owner sends every packet, or tells `reconnected` that it could not.

        Frames are put together up to `max_packet_bytes`; a larger one goes alone.
        """
        packets = self._farewells(now) if self._reset_to or self._say_goodbye else []
        if self.state is State.DOWN:
            return packets
        controls = self._controls(now)
        if self.state is State.UP:
            packets += self._frame_packets(controls, min(max_packet_bytes, self._frame_max_bytes + FRAME_HEADER_BYTES))
            self._plan_pings(now, is_sending=bool(packets))
        elif controls:
            packets.append(encode_packet(self.session, 0, 0, controls))
        return packets

    def _farewells(self, now: float) -> list[bytes]:
        packets = []
        if self._say_goodbye:
            packets.append(encode_packet(self.session, self.peer_session, 0, (encode_signal(GOODBYE),)))
            self._say_goodbye = False
        if self._reset_to and now >= self._reset_at:
            packets.append(encode_packet(self.session, self._reset_to, 0, (encode_signal(RESET),)))
            self._reset_to = 0
            self._reset_at = now + self._limits.hello_period_s
        return packets

    def _controls(self, now: float) -> list[bytes | memoryview]:
        """Give the link's own frames that are due."""
        controls: list[bytes | memoryview] = []
        if now >= self._hello_at:
            controls.append(self._hello_frame)
            self._plan_hello(now)
        if self.state is State.UP:
            is_due = now >= min(self._ping_at, self._probe_at)
            if is_due:
                controls.append(encode_ping(self._out.last()))
                self._note_probe(now)
            if is_due or now >= self._in.ack_at or (self._in.ack_at < inf and self._out.ready()):
                controls.append(encode_ack(self._in.tell()))
        return controls

    def _plan_hello(self, now: float) -> None:
        self._hello_at = inf if self._is_known else now + self._hello_period_s * self._stretch
        self._hello_period_s = min(2 * self._hello_period_s, self._limits.ack_timeout_max_s)

    def _note_probe(self, now: float) -> None:
        if now >= self._probe_at:
            self._out.doubt()
            self._probe_period_s = min(2 * self._probe_period_s, self._limits.ack_timeout_max_s)
            self._probe_at = now + self._probe_period_s * self._stretch

    def _frame_packets(self, chunks: list[bytes | memoryview], space: int) -> list[bytes]:
        out, packets = self._out, []
        while chunks or out.ready():
            first = out.last() + 1
            taken = out.take(space - PACKET_HEADER_BYTES)
            packets.append(encode_packet(self.session, self.peer_session, first if taken else 0, chunks + taken))
            chunks = []
        return packets

    def _plan_pings(self, now: float, *, is_sending: bool) -> None:
        if is_sending:
            self._ping_at = now + self._limits.ping_period_s * self._stretch
        if self._probe_at == inf and self._out.pending_bytes:
            self._probe_at = now + self._probe_period_s * self._stretch

    # Input.

    def receive_packet(self, data: bytes | memoryview, now: float) -> list[Event]:
        """Take a packet that came from the peer and give what it means, in order.

        Raises `FrameError`, and nothing is changed, for one that is no packet or breaks the protocol.
        """
        return self.receive(decode_packet(data, self._limits.frame_max_bytes), now)

    def receive(self, packet: Packet, now: float) -> list[Event]:
        """Do the same with a packet that its owner has decoded, to find the link that it is for."""
        if packet.receiver not in (0, self.session) or self.state is State.DOWN:
            return self._on_stray(packet)
        if packet.reset:
            return self._move(Input.RESET) if packet.receiver else []
        if packet.sender != self.peer_session:
            return self._on_stranger(packet, now)
        self._check(packet)
        return self._on_peer(packet, now)

    def _on_stray(self, packet: Packet) -> list[Event]:
        """The packet is for a session that is over: say so to whoever believes in it."""
        if packet.needs_reset:
            self._reset_to = packet.sender
        return []

    def _on_stranger(self, packet: Packet, now: float) -> list[Event]:
        """The packet is of another session of the peer than we know, or of the first."""
        if packet.hello and not self._is_late(packet, packet.hello):
            if self.state is State.UP:
                return self._move(Input.HELLO)
            self._check(packet)
            return [*self._on_first_hello(packet, packet.hello), *self._on_peer(packet, now)]
        if packet.goodbye and packet.receiver and not self.peer_session:
            return self._move(Input.GOODBYE)
        return []

    def _is_late(self, packet: Packet, hello: Hello) -> bool:
        """Say whether the packet is of an earlier session of the same node, come late."""
        return self.peer is not None and self.peer.node == hello.node and packet.sender < self.peer_session

    def _check(self, packet: Packet) -> None:
        """Raise Garbage for what no peer in its senses says."""
        if packet.ack and packet.ack.seq > self._out.sent:
            raise Garbage(f"{packet.ack.seq} frames acknowledged, where {self._out.sent} were sent")
        if packet.frames:
            self._in.check(packet)

    def _on_first_hello(self, packet: Packet, hello: Hello) -> list[Event]:
        self.peer, self.peer_session = hello, packet.sender
        window_bytes, frame_max_bytes = hello.limits["window_bytes"], hello.limits["frame_max_bytes"]
        self._frame_max_bytes = min(self._frame_max_bytes, frame_max_bytes, window_bytes - FRAME_HEADER_BYTES)
        self._out.credit = window_bytes
        self._hello_period_s = self._limits.hello_period_s
        refused = self._out.refuse(self._frame_max_bytes + FRAME_HEADER_BYTES)
        return [*self._move(Input.HELLO), *map(Refused, refused)]

    def _on_peer(self, packet: Packet, now: float) -> list[Event]:
        events: list[Event] = []
        self._heard_at = now
        if not self._is_known:
            self._on_unsure(packet, now)
        if packet.frames:
            events += self._in.accept(packet, now)
        if packet.hello or packet.ping is not None:
            self._in.answer(packet.ping or 0, now)
        if packet.ack:
            self._on_ack(packet.ack, now, events)
        if packet.goodbye:
            events += self._move(Input.GOODBYE)
        return events

    def _on_unsure(self, packet: Packet, now: float) -> None:
        """Go on saying hello until the peer shows that it knows us, at once when it asks who we are."""
        if packet.receiver:
            self._is_known = True
            self._hello_at = inf if self._hello_at > now else self._hello_at
        elif packet.hello:
            self._hello_at = now

    def _on_ack(self, ack: Ack, now: float, events: list[Event]) -> None:
        out = self._out
        before = out.pending_bytes
        if out.acknowledge(ack.seq):
            self._probe_period_s = self._limits.ack_timeout_s
            self._probe_at = now + self._probe_period_s * self._stretch if out.pending_bytes else inf
            if out.pending_bytes < self._low_water_bytes <= before:
                events.append(Room())
        out.credit = max(out.credit, ack.credit)
        if ack.resend and ack.seq == out.acked:
            out.rewind_once()
        counts = ack[2:5]
        if counts != self._settled:
            self._note_settled(counts, events)

    def _note_settled(self, counts: tuple[int, int, int], events: list[Event]) -> None:
        """Tell what is new. A late packet tells less than is known: nothing."""
        delivered, dead, shed = (max(0, count - known) for count, known in zip(counts, self._settled, strict=True))
        if delivered or dead or shed:
            known = self._settled
            self._settled = (known[0] + delivered, known[1] + dead, known[2] + shed)
            events.append(Settled(delivered, dead, shed))

    def _move(self, by: Input) -> list[Event]:
        """Go where the table says; give the event of having come there."""
        was, self.state = self.state, TRANSITIONS[self.state][by]
        if self.state is was:
            return []
        if self.state is State.UP:
            assert self.peer is not None
            return [Up(self.peer)]
        self.reason = by.value
        return [Down(self.reason)]
