"""A node's `Transport` over the simulated medium. Connections are made to whoever is at an address, and told of."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from manifold.transport import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.testing.machine import Machine, Thread

__all__ = ["SCHEME", "SimulatedTransport", "place_of"]

SCHEME = "sim://"

_POLL_MAX_PACKETS = 256


def place_of(address: str) -> str:
    """Give the place that an address names; AddressError if it is no such address."""
    place = address.removeprefix(SCHEME)
    if not place or place == address:
        raise AddressError(address, f"not an address in a simulation; expected {SCHEME}place")
    return place


class SimulatedTransport:
    """Packets from one place to others. A receiver takes so many from each, and `send` refuses more."""

    def __init__(self, machine: Machine, listen: str, packet_max_bytes: int) -> None:
        self.packet_max_bytes = packet_max_bytes
        self.address = ""
        self.place = place_of(listen)
        self._simulation = machine.simulation
        self._queue_max_packets = machine.simulation.queue_max_packets
        self._connected_to: dict[str, bool] = {}
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._waiting: Counter[str] = Counter()
        self._refused: dict[str, None] = {}
        self._news: deque[str] = deque()
        self._poller: Thread | None = None

    def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
        if self.place in self._simulation.wires:
            raise AddressError(SCHEME + self.place, "something listens there already")
        self._receive = receive
        self._connected = connected
        self.address = SCHEME + self.place
        self._simulation.plug_in(self)

    def dial(self, address: str) -> None:
        place = place_of(address)
        if place not in self._connected_to:
            self._connected_to[place] = False
            self._simulation.after(self._simulation.latency_s(), lambda: self.find(place))

    def hang_up(self, address: str) -> None:
        place = place_of(address)
        self._connected_to.pop(place, None)
        self._news = deque(told for told in self._news if told != place)

    def send(self, address: str, packet: bytes) -> bool:
        if len(packet) > self.packet_max_bytes:
            msg = f"a packet of {len(packet)} bytes; at most {self.packet_max_bytes} can be sent"
            raise ValueError(msg)
        place = place_of(address)
        if not (self._connected_to.get(place) and self._simulation.is_connected(self.place, place)):
            return False
        other = self._simulation.wires.get(place)
        if other is not None and other._waiting[self.place] >= self._queue_max_packets:
            other._refused[self.place] = None
            return False
        self._simulation.transmit(self.place, place, packet)
        return True

    def poll(self, timeout_s: float) -> None:
        self._poller = self._simulation.running
        for _ in range(_POLL_MAX_PACKETS):
            if not self._deliver():
                break
        if self._poller is not None:
            self._poller.rest_s = 0.0 if self._inbox or self._news else timeout_s

    def wake(self) -> None:
        if self._poller is not None:
            self._poller.wake()

    def close(self) -> None:
        if self.address:
            self._simulation.unplug(self)
        self.address = ""
        self._connected_to.clear()
        self._inbox.clear()
        self._news.clear()

    def _deliver(self) -> bool:
        if self._news:
            self._connected(SCHEME + self._news.popleft())
        elif self._inbox:
            sender, packet = self._inbox.popleft()
            self._take(sender)
            self._receive(packet)
        else:
            return False
        return True

    def _take(self, sender: str) -> None:
        self._waiting[sender] -= 1
        if sender in self._refused:
            del self._refused[sender]
            if (wire := self._simulation.wires.get(sender)) is not None:
                wire.wake()

    # What the simulation tells.

    def find(self, place: str) -> None:
        """Connect, if somebody is there and it was dialled."""
        if self._connected_to.get(place) is False and place in self._simulation.wires:
            self._connected_to[place] = True
            self._reconnected(place)

    def lose(self, place: str) -> None:
        """Notice that nobody is there any more."""
        if place in self._connected_to:
            self._connected_to[place] = False
            self.find(place)

    def _reconnected(self, peer: str) -> None:
        if self._connected_to.get(peer):
            self._news.append(peer)
            self.wake()

    def _arrived(self, sender: str, packet: bytes) -> None:
        self._waiting[sender] += 1
        self._inbox.append((sender, packet))
        self.wake()
