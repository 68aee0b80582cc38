"""The dialling side: one socket for each address; who does not agree with us is asked again ever more seldom."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import zmq

from manifold.transport import AddressError, parse_address
from manifold.transport.zmq_calls import sender
from manifold.transport.zmq_events import FAILED, PATIENCE, Event, Events, explain

if TYPE_CHECKING:
    from manifold.transport.zmq_curve import Keys

    Socket = zmq.Socket[bytes]

__all__ = ["LINGER_S", "Line"]

logger = logging.getLogger("manifold")

LINGER_S = 0.5
"""How long what was sent may still try to get out after a hang-up."""

_QUEUE_MAX_PACKETS = 1000
_ANSWER_MAX_BYTES = 4096  # nothing comes back but the protocol's own
_RETRY_FIRST_S, _RETRY_MAX_S = 0.1, 8.0
_OPTIONS = {
    zmq.LINGER: int(LINGER_S * 1000),
    zmq.SNDHWM: _QUEUE_MAX_PACKETS,
    zmq.RCVHWM: 1,
    zmq.MAXMSGSIZE: _ANSWER_MAX_BYTES,
    zmq.IMMEDIATE: 1,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 3000,
    zmq.CONNECT_TIMEOUT: 5000,
    **PATIENCE,
}


class Line:
    """The way to one address.

    libzmq goes on trying where nobody listens. All other breaks are taken in hand here: the line is taken down, and
    up again at `retry_at`. libzmq itself would be back every 100 ms at a peer that hangs up on it in the handshake, for
    ever; and never again at one that broke the protocol.
    """

    def __init__(self, context: zmq.Context[Socket], address: str, keys: Keys | None) -> None:
        self.address = address
        _check(address)
        self.socket = context.socket(zmq.PUSH)
        for option, value in _OPTIONS.items():
            self.socket.setsockopt(option, value)
        self.socket.ipv6 = "[" in address
        if keys:
            keys.unlock(self.socket)
        self.events = Events(self.socket, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | FAILED)
        self.send = sender(self.socket)
        self.is_closed = False
        self.is_blocked = False
        self.retry_at: float | None = None
        self._is_up = False
        self._failures = 0
        try:
            self.socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise AddressError(address, f"cannot be dialled: {error.strerror}") from error

    def has_room(self) -> bool:
        return bool(int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)

    def watch(self, now: float) -> bool:
        """Look at what has happened. True if a connection was made."""
        was_up, last, fault = self._is_up, None, None
        for last in self.events.read():
            fault = last if last.kind & FAILED else fault
        if last is None or self.retry_at is not None:
            return False  # nothing, or of before the line was taken down
        self._is_up = last.kind == zmq.EVENT_HANDSHAKE_SUCCEEDED
        if self._is_up:
            self._failures = 0
        else:
            self._take_down(now, None if was_up else fault or last)
        return self._is_up

    def retry(self) -> None:
        """Take the line up again."""
        for _ in self.events.read():
            pass  # of before
        self.retry_at = None
        self.socket.connect(self.address)

    def close(self) -> None:
        """Hang up. Does not wait: libzmq goes on sending for `LINGER_S`."""
        self.is_closed = True
        self.send = lambda _: False
        self.events.close()
        self.socket.close()

    def _take_down(self, now: float, fault: Event | None) -> None:
        with suppress(zmq.ZMQError):  # gone already, if the protocol was broken
            self.socket.disconnect(self.address)
        wait_s = min(_RETRY_FIRST_S * 2**self._failures, _RETRY_MAX_S)
        self.retry_at = now + wait_s * random.uniform(0.5, 1.0)  # noqa: S311
        if fault:
            self._failures += 1
            # The first time it may just have been stopping.
            if self._failures == 2:
                logger.warning("%s does not let us in: %s. Trying on", self.address, explain(fault))


def _check(text: str) -> None:
    address = parse_address(text)
    if address.scheme not in ("tcp", "ipc"):
        raise AddressError(text, "not an address of this transport; expected tcp://host:port or ipc:///path")
    if address.scheme == "tcp" and (address.port == 0 or "*" in address.host):
        raise AddressError(text, "can be listened on, not dialled: that takes the real host and port")
