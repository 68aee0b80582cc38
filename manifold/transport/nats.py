"""Packets over NATS: one subject for each node, with one subscription for all its packets, and credit for who sends.

NATS drops what nobody takes, and cuts off who is slow to take it. So a connection between two nodes is made by calling
(see `nats_wire`), sends no more than it was granted, and is made again when anything is missing. Announcements, by
which nodes find each other, come to another subject that all share: in which order is all the same for them.
"""

from __future__ import annotations

import logging
import secrets
import time
from math import inf
from typing import TYPE_CHECKING

from manifold.transport import AddressError, parse_address
from manifold.transport.nats_broker import Broker
from manifold.transport.nats_callers import Callers
from manifold.transport.nats_dial import LINGER_S, Lines
from manifold.transport.nats_seal import make_seal
from manifold.transport.nats_url import parse_servers
from manifold.transport.nats_wire import (
    ANNOUNCE,
    CALL,
    GRANT,
    HANGUP,
    HEADER_BYTES,
    LAST,
    MORE,
    PIECE_MAX_BYTES,
    PING,
    RESET,
    Message,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Nats"]

logger = logging.getLogger("manifold")

_SCHEME = "subject://"
_SUBJECT_MAX_BYTES = 256


class Nats:
    """A `Transport` over the servers that `servers` names, such as "nats://host:4222"; also a `Finder`.

    `name` is the last part of the subject where others reach this one, "" if they need not. Nodes meet only those of
    the same cluster (`?cluster=name`) and the same `cookie`; with a cookie all that is published is encrypted and
    authenticated with it. Without one, `open` refuses a server that other machines reach and that lets in anybody.

    What waits is counted in bytes: for every dialled address a packet and 1 MiB, for all connections that come in
    32 MiB, or a piece for each.
    """

    def __init__(
        self,
        servers: str,
        name: str = "",
        *,
        cookie: str | bytes | None = None,
        packet_max_bytes: int = 20 << 20,
        announce_s: float = 5.0,
    ) -> None:
        self.address = ""
        self.packet_max_bytes = packet_max_bytes
        places = parse_servers(servers)
        self._seal = make_seal(cookie.encode() if isinstance(cookie, str) else cookie)
        prefix = ".".join(filter(None, ("manifold", places.cluster, self._seal.label)))
        self._name = name.replace(".", "_")
        self._subject = f"{prefix}.{self._name or f'nobody@{secrets.token_hex(8)}'}"
        self._everybody = f"{prefix}.all"
        self._announce_s = announce_s
        self._announce_at = inf
        self._found: Callable[[str], None] | None = None
        self._broker = Broker(places, self._subject, is_guarded=bool(cookie))
        self._lines = Lines(self._subject, self._post)
        self._callers = Callers(self._post, packet_max_bytes)
        self._connections = 0
        self._piece_bytes = PIECE_MAX_BYTES
        self._is_open = False
        self._has_warned = False
        self._handlers: dict[int, Callable[[Message, float], None]] = {
            MORE: self._on_piece,
            LAST: self._on_piece,
            GRANT: self._on_grant,
            CALL: self._on_call,
            PING: self._on_call,
            RESET: self._lines.on_reset,
            HANGUP: self._callers.on_hangup,
            ANNOUNCE: self._on_announcement,
        }

    def find(self, found: Callable[[str], None]) -> None:
        self._found = found
        self._broker.listen_to(self._everybody)

    def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
        self._receive = receive
        self._connected = connected
        self._broker.open()
        self._is_open = True
        self.address = _SCHEME + self._subject if self._name else ""
        self._catch_up(time.monotonic())

    def dial(self, address: str) -> None:
        subject = _subject_at(address)
        if self._is_open:
            self._lines.dial(address, subject, time.monotonic())

    def hang_up(self, address: str) -> None:
        if self._is_open:
            self._lines.hang_up(address, time.monotonic())

    def send(self, address: str, packet: bytes) -> bool:
        if len(packet) > self.packet_max_bytes:
            msg = f"a packet of {len(packet)} bytes; at most {self.packet_max_bytes} can be sent"
            raise ValueError(msg)
        return self._is_open and self._broker.is_up and self._lines.send(address, packet, self._piece_bytes)

    def poll(self, timeout_s: float) -> None:
        if not self._is_open:
            return
        broker = self._broker
        due = min(self._lines.due, self._callers.due, self._announce_at) if broker.is_up else inf
        # What a callback that raised has left is to be handed over first.
        if not broker.received:
            broker.wait(max(0.0, min(timeout_s, due - time.monotonic())))
        if broker.connections != self._connections:
            self._catch_up(time.monotonic())
        while broker.received and self._is_open:
            self._take(*broker.received.popleft())
        if self._is_open and broker.is_up:
            if time.monotonic() >= due:
                self._tick(time.monotonic())
            broker.publish()

    def wake(self) -> None:
        self._broker.wake()

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self.address = ""
        self._callers.cut_all()
        self._send_rest()
        self._lines.hang_up_all()
        self._broker.close()

    def _post(self, subject: str, message: Message) -> None:
        self._broker.post(subject, self._seal.seal(subject, encode(message)))

    def _catch_up(self, now: float) -> None:
        """There is another connection to the server: what was on the way may be lost, from us and to us."""
        self._connections = self._broker.connections
        self._piece_bytes = min(PIECE_MAX_BYTES, self._broker.payload_max_bytes - HEADER_BYTES - self._seal.extra_bytes)
        self._callers.cut_all()
        self._lines.call_all_anew(now)
        self._announce_at = now if self._found else inf

    def _tick(self, now: float) -> None:
        if now >= self._lines.due:
            self._lines.tick(now)
        if now >= self._callers.due:
            self._callers.tick(now)
        if now >= self._announce_at:
            self._announce_at = now + self._announce_s
            self._post(self._everybody, Message(ANNOUNCE, 0, 0, self._subject.encode()))

    def _send_rest(self) -> None:
        end = time.monotonic() + LINGER_S
        broker, lines = self._broker, self._lines
        while lines.has_rest and broker.is_up and (left_s := end - time.monotonic()) > 0:
            broker.wait(left_s)
            while broker.received:
                message = self._read(*broker.received.popleft())
                if message is not None and message.kind == GRANT:
                    lines.on_grant(message, time.monotonic())
                elif message is not None and message.kind == RESET:
                    lines.on_reset(message, time.monotonic())

    # What comes in.

    def _read(self, subject: str, data: bytes) -> Message | None:
        opened = self._seal.open(subject, data)
        message = None if opened is None else decode(opened)
        if message is None and not self._has_warned:
            self._has_warned = True
            logger.warning("%s: what is no message of this cluster was published here, and dropped", subject)
        return message

    def _take(self, subject: str, data: bytes) -> None:
        message = self._read(subject, data)
        if message is not None:
            self._handlers[message.kind](message, time.monotonic())

    def _on_piece(self, message: Message, now: float) -> None:
        packet = self._callers.on_piece(message, now)
        if packet is not None:
            self._receive(packet)

    def _on_grant(self, message: Message, now: float) -> None:
        address = self._lines.on_grant(message, now)
        if address is not None:
            self._connected(address)

    def _on_call(self, message: Message, now: float) -> None:
        caller = _text(message)
        if caller:
            act = self._callers.on_call if message.kind == CALL else self._callers.on_ping
            act(message, caller, now)

    def _on_announcement(self, message: Message, _now: float) -> None:
        subject = _text(message)
        if subject and subject != self._subject and self._found is not None:
            self._found(_SCHEME + subject)


def _text(message: Message) -> str:
    """Give the subject that a message names; "" if that is none."""
    try:
        return _subject_at(_SCHEME + bytes(message.body[:_SUBJECT_MAX_BYTES]).decode("ascii"))
    except ValueError:
        return ""


def _subject_at(address: str) -> str:
    parsed = parse_address(address)
    if parsed.scheme != "subject":
        raise AddressError(address, "not an address of this transport; expected subject://name")
    return parsed.host
