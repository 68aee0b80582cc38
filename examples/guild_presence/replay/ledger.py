"""What the sessions of one gateway have found, added up by guild. Sessions of any thread write to it."""

from __future__ import annotations

import threading

from examples.guild_presence.logs.check import NOTHING, Tally, added

__all__ = ["Ledger"]


class Ledger:
    """The sums of one gateway."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[str, Tally] = {}

    def add(self, guild: str, tally: Tally) -> None:
        """Enter what a session of a guild has found."""
        with self._lock:
            self._sums[guild] = added(self._sums.get(guild, NOTHING), tally)

    def sums(self) -> dict[str, Tally]:
        """Give the sums so far, by guild."""
        with self._lock:
            return dict(self._sums)
