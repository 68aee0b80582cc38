"""Packets over ZeroMQ, tcp or ipc: one socket takes in, one for each dialled address sends, all on one thread.

PUSH and PULL rather than DEALER and ROUTER: nothing is ever sent back over a connection, and the name of its sender
that a ROUTER puts before every packet costs as much to receive as the packet.
"""

from __future__ import annotations

import math
import selectors
import time
from functools import partial
from typing import TYPE_CHECKING

import zmq

from manifold.transport.waking import Waker
from manifold.transport.zmq_calls import receiver
from manifold.transport.zmq_curve import derive_keys
from manifold.transport.zmq_dial import Line
from manifold.transport.zmq_listen import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    Socket = zmq.Socket[bytes]

__all__ = ["ZeroMQ"]

_POLL_BUDGET_BYTES = 4 << 20
_SOCKETS_MAX = 1 << 14  # three for each dialled address; takes 200 KB
_PACKET_COST_BYTES = 16 << 10  # what a packet counts beside its own bytes: 256 small ones at a time


class ZeroMQ:
    """A `Transport` over ZeroMQ.

    `listen` is "tcp://host:port" (port 0: any that is free), "tcp://*:port", "ipc:///path", or "" not to listen. With
    a `cookie` all connections are encrypted, and made only with those who have the same. Without one, `open` refuses
    to listen on anything that other machines can reach. For "*" the `address` is that of the way to the outside.

    What waits is 1,000 packets for every dialled address, and as many for every connection that comes in.
    """

    def __init__(
        self, listen: str = "", *, cookie: str | bytes | None = None, packet_max_bytes: int = 20 << 20
    ) -> None:
        self.address = ""
        self.packet_max_bytes = packet_max_bytes
        self._listen = listen
        self._keys = derive_keys(cookie.encode() if isinstance(cookie, str) else cookie) if cookie else None
        self._lines: dict[str, Line] = {}
        self._retrying: set[Line] = set()
        self._listener: Listener | None = None
        self._is_open = False
        self._is_more = False
        self._next: Callable[[], bytes | None] = _nothing
        self._waker = Waker()

    def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
        self._receive = receive
        self._connected = connected
        self._context: zmq.Context[Socket] = zmq.Context()
        self._context.max_sockets = _SOCKETS_MAX
        self._selector = selectors.DefaultSelector()
        self._waker.open()
        self._is_open = True
        self._watch(self._waker.file, self._waker.drain)
        try:
            if self._listen:
                self._start_listening()
        except BaseException:
            self.close()
            raise

    def dial(self, address: str) -> None:
        if self._is_open and address not in self._lines:
            self._lines[address] = line = Line(self._context, address, self._keys)
            self._watch(line.events.socket, partial(self._on_line, line))

    def hang_up(self, address: str) -> None:
        if (line := self._lines.pop(address, None)) is not None:
            self._selector.unregister(line.events.socket)
            if line.is_blocked:
                self._selector.unregister(line.socket)
            self._retrying.discard(line)
            line.close()

    def send(self, address: str, packet: bytes) -> bool:
        if len(packet) > self.packet_max_bytes:
            msg = f"a packet of {len(packet)} bytes; at most {self.packet_max_bytes} can be sent"
            raise ValueError(msg)
        line = self._lines.get(address)
        if line is None:
            return False
        return line.send(packet) or self._send_again(line, packet)

    def poll(self, timeout_s: float) -> None:
        if self._retrying:
            timeout_s = min(timeout_s, self._retry())
        for key, _ in self._wait(timeout_s):
            if self._is_open:
                key.data()
        if self._is_more:
            self._take_in()

    def wake(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = self._is_more = False
        self._next = _nothing
        self.address = ""
        for address in tuple(self._lines):
            self.hang_up(address)
        if self._listener is not None:
            self._listener.close()
        self._selector.close()
        self._waker.close()
        self._context.term()

    def _start_listening(self) -> None:
        self._listener = Listener(self._context, self._listen, self._keys, self.packet_max_bytes)
        self.address = self._listener.address
        self._next = receiver(self._listener.socket)
        self._watch(self._listener.socket, self._on_packets)
        self._watch(self._listener.refusals.events.socket, self._listener.refusals.watch)
        self._watch(self._listener.doorkeeper.socket, self._listener.doorkeeper.answer)

    def _watch(self, file: int | Socket, act: Callable[[], object]) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def _wait(self, timeout_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._is_open:
            return []
        if self._is_more or not self._waker.sleep():
            timeout_s = 0.0
        try:
            return self._selector.select(max(0.0, timeout_s))
        finally:
            self._waker.rise()

    def _on_packets(self) -> None:
        self._is_more = True

    def _take_in(self) -> None:
        receive = self._receive
        budget = _POLL_BUDGET_BYTES
        while budget > 0:
            packet = self._next()
            if packet is None:
                self._is_more = False
                return
            budget -= len(packet) + _PACKET_COST_BYTES
            receive(packet)

    def _on_line(self, line: Line) -> None:
        if line.is_closed:
            return
        if line.watch(time.monotonic()):
            self._connected(line.address)
        elif line.retry_at is not None:
            self._retrying.add(line)

    def _retry(self) -> float:
        """Take up the lines whose time has come; give how long the next one has."""
        now = time.monotonic()
        for line in [line for line in self._retrying if line.retry_at is not None and line.retry_at <= now]:
            self._retrying.discard(line)
            line.retry()
        return min((line.retry_at - now for line in self._retrying if line.retry_at is not None), default=math.inf)

    def _send_again(self, line: Line, packet: bytes) -> bool:
        """Try once more, as libzmq looks only now and then whether there is room by now; else watch for it."""
        if line.has_room() and line.send(packet):
            return True
        if not line.is_blocked and not line.is_closed:
            line.is_blocked = True
            self._watch(line.socket, partial(self._on_room, line))
        return False

    def _on_room(self, line: Line) -> None:
        if line.is_blocked and not line.is_closed and line.has_room():
            line.is_blocked = False
            self._selector.unregister(line.socket)


def _nothing() -> None:
    return None
