"""What libzmq tells of its connections, and what it means in words."""

from __future__ import annotations

from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

import zmq

from manifold.transport.zmq_calls import receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    Socket = zmq.Socket[bytes]

__all__ = ["FAILED", "PATIENCE", "Event", "Events", "explain"]

FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
"""A peer was found, and then no agreement with it."""

PATIENCE = {
    zmq.HANDSHAKE_IVL: 5000,
    # Answered by libzmq's own thread, however busy Python is: only a peer that is gone, or stopped, is silent.
    zmq.HEARTBEAT_IVL: 1000,
    zmq.HEARTBEAT_TIMEOUT: 4000,
    zmq.HEARTBEAT_TTL: 4000,
}
"""How long, in ms, libzmq bears with a peer that says nothing. On both sides."""

# libzmq's own thread would stand still when this many are not read, so the bound is large: 20 MB.
_MAX = 100_000


class Event(NamedTuple):
    """One event: which, and the number that comes with it (a file, an errno or a code, as libzmq documents)."""

    kind: int
    value: int


class Events:
    """The events of one socket, of the given kinds. Made before the socket is bound or connected."""

    def __init__(self, socket: Socket, kinds: int) -> None:
        self._watched = socket
        name = f"inproc://events-{id(self)}"
        socket.monitor(name, kinds)
        self.socket = socket.context.socket(zmq.PAIR)
        self.socket.linger = 0
        self.socket.rcvhwm = _MAX
        self.socket.connect(name)
        self._next = receiver(self.socket)
        # Only who has looked and found nothing is told, by the file, of what comes.
        self.socket.getsockopt(zmq.EVENTS)

    def read(self) -> Iterator[Event]:
        """Give those that have happened since."""
        while (head := self._next()) is not None:
            self._next()  # the address, known
            yield Event(int.from_bytes(head[:2], byteorder), int.from_bytes(head[2:6], byteorder))

    def close(self) -> None:
        """Stop watching; before the socket is closed."""
        self._watched.disable_monitor()
        self._next = lambda: None
        self.socket.close()


def explain(event: Event) -> str:
    """Say why a handshake failed, as far as one side can know."""
    if event.kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "it does not know the cookie, or it has another one"
    if event.kind == zmq.EVENT_DISCONNECTED:
        return "what it says is not ZeroMQ: it is no node of manifold"
    if event.kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return "it hung up, or kept silent: it was stopping, or its cookie is another one, or it is no node of manifold"
    if event.value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        return "one of the two has a cookie and the other has none"
    if event.value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
        return "its cookie is another one"
    return f"it does not speak as a node of manifold does (libzmq's protocol error {event.value:#x})"
