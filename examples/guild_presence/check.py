"""Whether one session got each event that was for it, once and in turn, from its first to its last."""

from __future__ import annotations

__all__ = ["Check", "Tally"]

Tally = tuple[int, int, int, int]
"""(received, lost, duplicated, reordered): a plain tuple, which may travel in a message."""


class Check:
    """Follows the sequence numbers that arrive. `first` is the number of the first event that is due."""

    __slots__ = ("_missing", "duplicated", "expected", "received", "reordered")

    def __init__(self, first: int) -> None:
        self.expected = first
        self.received = 0
        self.duplicated = 0
        self.reordered = 0
        self._missing: set[int] = set()

    def see(self, seq: int) -> None:
        """Take note of one event that arrived."""
        self.received += 1
        if seq == self.expected:
            self.expected = seq + 1
        else:
            self._out_of_turn(seq)

    def close(self, last: int) -> Tally:
        """Tell how it went; `last` is the number of the last event that was due. What never came is lost."""
        overdue = max(0, last + 1 - self.expected)
        return self.received, len(self._missing) + overdue, self.duplicated, self.reordered

    def _out_of_turn(self, seq: int) -> None:
        if seq > self.expected:
            self._missing.update(range(self.expected, seq))
            self.expected = seq + 1
        elif seq in self._missing:
            self._missing.remove(seq)
            self.reordered += 1
        else:
            self.duplicated += 1
