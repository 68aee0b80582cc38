"""What the guilds of this process have done, for the overview. Guilds of any thread write to it."""

from __future__ import annotations

import threading
from typing import NamedTuple

__all__ = ["Tally", "guilds_here"]


class Tally(NamedTuple):
    """The names of the guilds, how many events they have sent, and how many messages that were none."""

    guilds: list[str]
    events: int
    others: int


class _Guilds:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._events = self._others = 0

    def enter(self, name: str) -> None:
        """Note that a guild has begun."""
        with self._lock:
            self._names.add(name)

    def leave(self, name: str) -> None:
        """Note that a guild has ended."""
        with self._lock:
            self._names.discard(name)

    def count(self, events: int, others: int) -> None:
        """Note what a guild has sent."""
        with self._lock:
            self._events += events
            self._others += others

    def read(self) -> Tally:
        """Give the sums so far."""
        with self._lock:
            return Tally(sorted(self._names), self._events, self._others)


guilds_here = _Guilds()
