"""One link between two nodes: within a pair of sessions every frame arrives once and in order, or its owner hears.

A `Link` is one side, without I/O, clock or randomness: it is fed packets and the time, and gives events and packets.
All that decides over its life stands in `TRANSITIONS`, in `link_terms`, with the events, limits and errors. A link that
is DOWN stays so: its owner makes another, of a later session.

Not thread-safe: the owner holds a lock, or calls it from one thread. A turn of the owner is: `receive_packet` for all
that came in, `tick`, `packets_to_send`, then wait `next_timeout`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from manifold.core.flow import Inflow, Outflow, frame_cost
from manifold.core.frames import (
    FIRST_SEQUENCED,
    FRAME_HEADER_BYTES,
    PACKET_HEADER_BYTES,
    Ack,
    Frame,
    FrameTooLarge,
    Garbage,
    Hello,
    Packet,
    decode_packet,
    encode_ack,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
    encode_reset,
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
    quarter, so that links made at once do not tick at once. The first hello is said `hello_after_s` from now.
    """

    __slots__ = (
        "_ask_alive",
        "_goodbye",
        "_greet",
        "_hello_at",
        "_hello_frame",
        "_hello_period_s",
        "_in",
        "_limits",
        "_low_water_bytes",
        "_out",
        "_ping_at",
        "_probe_at",
        "_probe_period_s",
        "_reset",
        "_reset_at",
        "_settled",
        "_stretch",
        "frame_max_bytes",
        "heard_at",
        "peer",
        "peer_session",
        "reason",
        "session",
        "state",
    )

    def __init__(
        self,
        me: Hello,
        session: int,
        *,
        now: float,
        limits: LinkLimits | None = None,
        jitter: float = 0.0,
        hello_after_s: float = 0.0,
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
        self.frame_max_bytes = limits.frame_max_bytes
        """The largest body of a frame that is taken to be sent; once the link is up, what the peer takes, too."""
        self._low_water_bytes = limits.outbox_max_bytes * limits.drain_below
        self._settled = (0, 0, 0)
        self._stretch = 1 + jitter / 4
        self.heard_at = now
        """When something of the peer came in last; at first, when the link was made."""
        self._hello_at = now + hello_after_s
        # The session of the peer to which the next hello is said, 0 for any; and one that is asked whether it lives.
        self._greet = self._ask_alive = 0
        self._hello_period_s = limits.hello_period_s
        self._ping_at = self._probe_at = inf
        self._probe_period_s = limits.ack_timeout_s
        # A session that is over, and the one of the peer's that has yet to hear of it.
        self._reset: tuple[int, int] | None = None
        self._reset_at = now
        self._goodbye: bytes | None = None
        self.introduce(me)

    # What the owner asks.

    @property
    def pending_bytes(self) -> int:
        """What waits to be sent or acknowledged, 352 bytes a frame added."""
        return self._out.pending_bytes

    @property
    def in_flight_bytes(self) -> int:
        """What was sent and is not acknowledged, 352 bytes a frame added: `window_bytes` at most."""
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

    def forget(self) -> None:
        """Let go of these frames, when the link is down: their bytes, and that there were any."""
        assert self.state is State.DOWN
        self._out = Outflow(self._limits.window_bytes)

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
        if size > self.frame_max_bytes:
            raise FrameTooLarge(size, self.frame_max_bytes)
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
        """Say how much waits at this side, by `flow.frame_cost`.

        The peer gets credit for what came in and `window_bytes` less this. Say it after the events of `receive_packet`
        were taken, and before `packets_to_send`.
        """
        self._in.backlog(size_bytes, now)

    def reconnected(self) -> None:
        """The transport lost what it had to send, or may have: introduce ourselves and send it again."""
        self._out.rewind()
        self._hello_at = -inf
        self.ask()

    def ask(self) -> None:
        """Have the peer say that it is there, with the next packets sent."""
        self._ping_at = -inf if self.state is State.UP else inf

    def close(self, why: str = "") -> None:
        """Say goodbye (once, and not again if that is lost), and be down. What it says is in the peer's `Down`."""
        if self.state is not State.DOWN:
            self._goodbye = encode_goodbye(why)
        self._move(Input.CLOSE)

    # Time.

    def tick(self, now: float) -> list[Event]:
        """Find out whether the peer was silent for too long. Feed what has come in first."""
        if now < self.heard_at + self._limits.node_down_after_s:
            return []
        return self._move(Input.SILENCE)

    def next_timeout(self, now: float) -> float | None:
        """Give the seconds until `tick` and `packets_to_send` have something to do; None if only input can change that.

        Frames just queued are not in this: call `packets_to_send` after sending.
        """
        reset_at = self._reset_at if self._reset else inf
        if self.state is State.DOWN:
            at = -inf if self._goodbye else reset_at
        elif self._ask_alive:
            at = -inf
        else:
            silent_at = self.heard_at + self._limits.node_down_after_s
            ack_at = self._in.ack_at if self.state is State.UP else inf
            at = min(self._hello_at, self._ping_at, self._probe_at, ack_at, reset_at, silent_at)
        return None if at == inf else max(0.0, at - now)

    # Output.

    def packets_to_send(self, now: float, max_packet_bytes: int = 64 * _KIB) -> list[bytes]:
        """Give all that is due now, in order. The owner sends every packet, or tells `reconnected` that it could not.

        Frames are put together up to `max_packet_bytes`; a larger one goes alone.
        """
        packets = self._asides(now) if self._reset or self._goodbye or self._ask_alive else []
        if self.state is State.DOWN:
            return packets
        controls = self._controls(now)
        if self.state is State.UP:
            packets += self._frame_packets(controls, min(max_packet_bytes, self.frame_max_bytes + FRAME_HEADER_BYTES))
            self._plan_pings(now, is_sending=bool(packets))
        elif controls:
            packets.append(encode_packet(self.session, self._greet, 0, controls))
            self._greet = self.peer_session
        return packets

    def _asides(self, now: float) -> list[bytes]:
        """Give what is said besides the life of a link that is up."""
        packets = []
        if self._goodbye:
            packets.append(encode_packet(self.session, self.peer_session, 0, (self._goodbye,)))
            self._goodbye = None
        if self._ask_alive:
            packets.append(encode_packet(self.session, self._ask_alive, 0, (encode_ping(0),)))
            self._ask_alive = 0
        if self._reset and now >= self._reset_at:
            packets.append(encode_reset(*self._reset))
            self._reset = None
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
        self._hello_at = inf if self.state is State.UP else now + self._hello_period_s * self._stretch
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
        if packet.sender != self.peer_session:
            return self._on_stranger(packet, now)
        if packet.reset:
            return self._move(Input.RESET) if packet.receiver else []
        self._check(packet)
        return self._on_peer(packet, now)

    def _on_stray(self, packet: Packet) -> list[Event]:
        """The packet is for a session that is over: say so to whoever believes in it."""
        if packet.needs_reset:
            self._reset = packet.receiver, packet.sender
        return []

    def _on_stranger(self, packet: Packet, now: float) -> list[Event]:
        """The packet is of another session of the peer than we know, or of the first."""
        if packet.hello and not self._is_late(packet, packet.hello):
            return self._on_new_hello(packet, packet.hello, now)
        if packet.receiver and self.state is not State.UP:
            if packet.ping is not None:
                self._greet, self._hello_at = packet.sender, now
            if packet.goodbye is not None and not self.peer_session:
                return self._move(Input.GOODBYE, packet.goodbye)
        return []

    def _on_new_hello(self, packet: Packet, hello: Hello, now: float) -> list[Event]:
        """A link that is up ends only for a session that shows that it lives; its hello may be an old one."""
        if self.state is State.UP:
            if packet.receiver:
                return self._move(Input.SUCCESSOR)
            self._ask_alive = packet.sender
            return []
        self._check(packet)
        self._meet(packet.sender, hello)
        return self._on_peer(packet, now)

    def _is_late(self, packet: Packet, hello: Hello) -> bool:
        """Say whether the packet is of an earlier session of the same node, come late."""
        return self.peer is not None and self.peer.node == hello.node and packet.sender < self.peer_session

    def _check(self, packet: Packet) -> None:
        """Raise Garbage for what no peer in its senses says."""
        if packet.ack and packet.ack.seq > self._out.sent:
            raise Garbage(f"{packet.ack.seq} frames acknowledged, where {self._out.sent} were sent")
        if packet.frames:
            self._in.check(packet)

    def _meet(self, session: int, hello: Hello) -> None:
        self.peer, self.peer_session = hello, session
        self._greet = session
        self._hello_period_s = self._limits.hello_period_s
        self._move(Input.HELLO)

    def _on_peer(self, packet: Packet, now: float) -> list[Event]:
        self.heard_at = now
        if self.state is State.UP:
            return self._on_news(packet, now)
        if packet.goodbye is not None:
            return self._move(Input.GOODBYE, packet.goodbye)
        if packet.receiver:
            return [*self._come_up(), *self._on_news(packet, now)]
        if packet.hello:
            self._hello_at = now
        return []

    def _come_up(self) -> list[Event]:
        """The peer knows our session: say no more hello, and heed what it takes."""
        assert self.peer is not None
        window_bytes, frame_max_bytes = self.peer.limits["window_bytes"], self.peer.limits["frame_max_bytes"]
        self.frame_max_bytes = min(self.frame_max_bytes, frame_max_bytes, window_bytes - frame_cost(0))
        self._out.credit = window_bytes
        self._hello_at = inf
        refused = self._out.refuse(self.frame_max_bytes)
        return [*self._move(Input.ECHO), *map(Refused, refused)]

    def _on_news(self, packet: Packet, now: float) -> list[Event]:
        events: list[Event] = []
        if packet.frames:
            events += self._in.accept(packet, now)
        if packet.hello or packet.ping is not None:
            self._in.answer(packet.ping or 0, now)
        if packet.ack:
            self._on_ack(packet.ack, now, events)
        if packet.goodbye is not None:
            events += self._move(Input.GOODBYE, packet.goodbye)
        return events

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

    def _move(self, by: Input, said: str = "") -> list[Event]:
        """Go where the table says; give the event of having come there."""
        was, self.state = self.state, TRANSITIONS[self.state][by]
        if self.state is was or self.state is State.MEETING:
            return []
        if self.state is State.UP:
            assert self.peer is not None
            return [Up(self.peer)]
        self.reason = by.value
        return [Down(self.reason, said)]
