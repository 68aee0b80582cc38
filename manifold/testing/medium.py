"""A clock and the ways between stations, simulated: one seed decides every delay and fault, and nothing ever sleeps.

Between two stations there are two connections, one each way, as over ZeroMQ. A connection keeps the order of its
packets unless `Faults.reorder` says otherwise, and loses what is on its way when it breaks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STEP_S", "Faults", "Medium", "Spinning", "Station"]

STEP_S = 1e-6
"""A shorter time than this is none."""


class Spinning(AssertionError):
    """Somebody is woken over and over without the time moving on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to packets on their way; shares are 0..1, of all packets, each decided for itself."""

    loss: float = 0.0
    """The share that is lost."""
    duplicate: float = 0.0
    """The share that comes again, up to `late_s` later."""
    reorder: float = 0.0
    """The share that is overtaken by others: it comes up to `late_s` later than it should."""
    delay_s: tuple[float, float] = (0.001, 0.003)
    """The least and the longest way."""
    late_s: float = 0.05


class Station(Protocol):
    """Who sends and receives."""

    def _arrived(self, sender: str, packet: bytes) -> None:
        """Take a packet."""

    def _reconnected(self, peer: str) -> None:
        """Hear that the connection to a peer stands again."""


class Medium:
    """What is on its way between stations, by their names, and the time.

    `seed` decides everything; two of one seed that are used in the same way do the same. `now` is the time, in
    seconds from 0. `faults` may be replaced at any time; it holds for packets sent from then on. `on_packet`, if
    set, sees (from, to, packet) of every packet that is sent, before any fault.
    """

    def __init__(self, seed: int, *, faults: Faults | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - a simulation
        self.now = 0.0
        self.faults = faults or Faults()
        self.stations: dict[str, Station] = {}
        self.on_packet: Callable[[str, str, bytes], None] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._cut: set[tuple[str, str]] = set()
        # How often a connection broke, and until when: what was sent before does not arrive.
        self._breaks: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._broken_until: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._last_arrival: defaultdict[tuple[str, str], float] = defaultdict(float)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(seed={self.seed}) at {self.now:.3f} s"

    # Time.

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call this when the time has come."""
        heappush(self._events, (self.now + delay_s, next(self._serial), call))

    def run(self, for_s: float) -> None:
        """Let so much time pass, and all happen that is due in it."""
        self.run_until(lambda: False, within_s=for_s)

    def run_until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Let time pass until the condition holds, and say whether it did within so many seconds.

        Raises `Spinning` when somebody does not let the time pass.
        """
        end, still = self.now + within_s, 0
        while not condition():
            if not self._events or self._events[0][0] > end:
                self.now = end
                return condition()
            at, _, call = heappop(self._events)
            still = still + 1 if at - self.now < STEP_S else 0
            if still > 100_000:
                raise Spinning(f"{self!r}: 100,000 events in a row at the same time")
            self.now = at
            call()
        return True

    # Faults at the test's command. Those of two endpoints hold for both ways unless `one_way`: then from a to b.

    def partition(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Lose all that is sent between the two from now on. Connections stay up: nobody is told."""
        self._cut.update(_ways(a, b, one_way=one_way))

    def heal(self, a: str, b: str) -> None:
        """End a partition."""
        self._cut.difference_update(_ways(a, b, one_way=False))

    def disconnect(self, a: str, b: str, *, for_s: float = 0.0, one_way: bool = False) -> None:
        """Break connections: what is on its way is lost, and what is sent until they are back, then both are told."""
        for way in _ways(a, b, one_way=one_way):
            self._breaks[way] += 1
            self._broken_until[way] = self.now + for_s
            self.after(for_s, partial(self._reconnect, way, self._breaks[way]))

    def mend(self) -> None:
        """End all partitions, and make the connections that are broken."""
        self._cut.clear()
        for way, until in list(self._broken_until.items()):
            if until > self.now:
                self._broken_until[way] = self.now
                self._reconnect(way, self._breaks[way])

    def is_connected(self, a: str, b: str) -> bool:
        """Say whether the connection from a to b stands."""
        return self.now >= self._broken_until[a, b]

    def _reconnect(self, way: tuple[str, str], breaks: int) -> None:
        if self._breaks[way] == breaks:
            station = self.stations.get(way[0])
            if station:
                station._reconnected(way[1])

    # The way of a packet.

    def _transmit(self, sender: str, receiver: str, packet: bytes) -> None:
        if self.on_packet:
            self.on_packet(sender, receiver, packet)
        faults, chance = self.faults, self.random.random
        if (sender, receiver) in self._cut or self.now < self._broken_until[sender, receiver]:
            return
        copies = 1 + (chance() < faults.duplicate)
        if chance() >= faults.loss:
            for copy in range(copies):
                self._post((sender, receiver), packet, is_late=copy > 0 or chance() < faults.reorder)

    def _post(self, way: tuple[str, str], packet: bytes, *, is_late: bool) -> None:
        at = self.now + self.random.uniform(*self.faults.delay_s)
        if is_late:
            at += self.random.uniform(0, self.faults.late_s)
        else:
            at = self._last_arrival[way] = max(at, self._last_arrival[way])
        self.after(at - self.now, partial(self._arrive, way, self._breaks[way], packet))

    def _arrive(self, way: tuple[str, str], breaks: int, packet: bytes) -> None:
        receiver = self.stations.get(way[1])
        if receiver and self._breaks[way] == breaks:
            receiver._arrived(way[0], packet)


def _ways(a: str, b: str, *, one_way: bool) -> list[tuple[str, str]]:
    return [(a, b)] if one_way else [(a, b), (b, a)]
