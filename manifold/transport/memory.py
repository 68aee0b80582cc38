"""Packets between nodes of one process: the contract of a transport, no network, and connections that tests can cut.

All that belongs to a hub is under its one lock, and no callback is called under it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from manifold.transport import AddressError, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HUB", "Hub", "Memory"]

_POLL_MAX_PACKETS = 256


class Hub:
    """A little world of addresses, and what is cut in it. Its methods are for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Memory] = []
        self._cuts: set[tuple[str | None, str | None]] = set()

    def cut(self, one: str, other: str | None = None) -> None:
        """Break the connections between two addresses, both ways, and let none be made until `heal`.

        What is on the way is lost. `other=None` cuts `one` off from everybody; "" stands for all who do not listen.
        """
        with self._lock:
            self._cuts.add((one, other))
            for connection in self._connections():
                if self._is_cut(connection):
                    connection.disconnect()

    def heal(self, one: str, other: str | None = None) -> None:
        """Take back the same `cut`: connections are made again, and their diallers told."""
        with self._lock:
            self._cuts -= {(one, other), (other, one)}
            for connection in self._connections():
                self._connect(connection)

    def _connections(self) -> Iterator[_Connection]:
        return (connection for memory in self._open for connection in memory._dialled.values())

    def _is_cut(self, connection: _Connection) -> bool:
        ends = {connection.source.address, connection.address}
        return any(one in ends and (other is None or other in ends) for one, other in self._cuts)

    def _find(self, address: str) -> Memory | None:
        return next((memory for memory in self._open if memory.address == address), None)

    def _connect(self, connection: _Connection) -> None:
        if connection.target is None and not self._is_cut(connection):
            connection.target = self._find(connection.address)
            if connection.target is not None:
                connection.source._tell(connection.address)

    def _enter(self, memory: Memory, address: str) -> None:
        with self._lock:
            if address and self._find(address):
                raise AddressError(address, "something listens there already")
            memory.address = address
            self._open.append(memory)
            for connection in self._connections():
                self._connect(connection)

    def _leave(self, memory: Memory) -> None:
        with self._lock:
            if memory in self._open:
                self._open.remove(memory)
                for connection in self._connections():
                    if connection.target is memory:
                        connection.disconnect()
            memory._end()


HUB = Hub()
"""The hub of all who name no other."""


class _Connection:
    """What `source` dialled; `target` is who is there, while they are connected."""

    __slots__ = ("address", "blocked", "queued", "source", "target")

    def __init__(self, source: Memory, address: str) -> None:
        self.source = source
        self.address = address
        self.target: Memory | None = None
        self.queued = 0
        self.blocked = False

    def disconnect(self) -> None:
        if self.target is not None:
            self.target._forget(self)
            self.target = None
            self.queued = 0

    def taken(self) -> None:
        self.queued -= 1
        if self.blocked:
            self.blocked = False
            self.source._rouse()


class Memory:
    """A `Transport` between the nodes of one process; `listen` is "memory://name", or "" not to listen.

    `queue_max_packets` is what may wait of every connection, on its way or at the receiver.
    """

    def __init__(
        self,
        listen: str = "",
        *,
        hub: Hub = HUB,
        packet_max_bytes: int = 17 << 20,
        queue_max_packets: int = 1000,
    ) -> None:
        if listen:
            _check(listen)
        self.address = ""
        self.packet_max_bytes = packet_max_bytes
        self._listen = listen
        self._hub = hub
        self._queue_max_packets = queue_max_packets
        self._dialled: dict[str, _Connection] = {}
        self._inbox: deque[tuple[_Connection, bytes]] = deque()
        self._news: deque[str] = deque()
        self._changed = threading.Condition(hub._lock)
        self._woken = False
        self._closed = False

    def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
        self._receive = receive
        self._connected = connected
        self._hub._enter(self, self._listen)

    def dial(self, address: str) -> None:
        _check(address)
        with self._hub._lock:
            if not self._closed and address not in self._dialled:
                self._dialled[address] = connection = _Connection(self, address)
                self._hub._connect(connection)

    def hang_up(self, address: str) -> None:
        with self._hub._lock:
            self._dialled.pop(address, None)
            self._news = deque(told for told in self._news if told != address)

    def send(self, address: str, packet: bytes) -> bool:
        if len(packet) > self.packet_max_bytes:
            msg = f"a packet of {len(packet)} bytes; at most {self.packet_max_bytes} can be sent"
            raise ValueError(msg)
        with self._hub._lock:
            connection = self._dialled.get(address)
            if connection is None or connection.target is None:
                return False
            if connection.queued >= self._queue_max_packets:
                connection.blocked = True
                return False
            connection.queued += 1
            connection.target._put(connection, packet)
            return True

    def poll(self, timeout_s: float) -> None:
        with self._hub._lock:
            self._changed.wait_for(lambda: self._woken or self._inbox or self._news or self._closed, timeout_s)
            self._woken = False
        for _ in range(_POLL_MAX_PACKETS):
            if not self._deliver():
                return

    def wake(self) -> None:
        if not self._woken:
            with self._hub._lock:
                self._rouse()

    def close(self) -> None:
        self._hub._leave(self)

    def _deliver(self) -> bool:
        """Hand over one thing that waits; taken one by one, so that a cut loses all that is not handed over yet."""
        with self._hub._lock:
            news = self._news.popleft() if self._news else None
            packet = self._take() if news is None and self._inbox else None
        if news is not None:
            self._connected(news)
        elif packet is not None:
            self._receive(packet)
        return news is not None or packet is not None

    # From here on: under the lock of the hub.

    def _take(self) -> bytes:
        connection, packet = self._inbox.popleft()
        connection.taken()
        return packet

    def _put(self, connection: _Connection, packet: bytes) -> None:
        self._inbox.append((connection, packet))
        self._changed.notify_all()

    def _tell(self, address: str) -> None:
        self._news.append(address)
        self._changed.notify_all()

    def _rouse(self) -> None:
        self._woken = True
        self._changed.notify_all()

    def _forget(self, connection: _Connection) -> None:
        self._inbox = deque(item for item in self._inbox if item[0] is not connection)

    def _end(self) -> None:
        self._closed = True
        self.address = ""
        self._dialled.clear()
        self._inbox.clear()
        self._news.clear()
        self._changed.notify_all()


def _check(address: str) -> None:
    if parse_address(address).scheme != "memory":
        raise AddressError(address, "not an address of this transport; expected memory://name")
