"""Whether one session got each event that was for it, once and in turn, from its first to its last."""

from __future__ import annotations

__all__ = ["NOTHING", "Check", "Tally", "added"]

Tally = tuple[int, int, int, int, int]
"""(due, received, lost, duplicated, reordered): a plain tuple, which may travel in a message."""

NOTHING: Tally = (0, 0, 0, 0, 0)


def added(one: Tally, other: Tally) -> Tally:
    """Add up two tallies."""
    due, received, lost, duplicated, reordered = map(sum, zip(one, other, strict=True))
    return due, received, lost, duplicated, reordered


class Check:
    """Follows the numbers of the events that arrive, from 1 up. Which were due is told at the end.

    Those from `_start` to before `expected` have arrived, but for the missing.
    """

    __slots__ = ("_missing", "_start", "duplicated", "expected", "received", "reordered")

    def __init__(self) -> None:
        self.expected = 0  # no event's number: so the first to arrive is looked at
        self.received = 0
        self.duplicated = 0
        self.reordered = 0
        self._start = 0
        self._missing: set[int] = set()

    def see(self, seq: int) -> None:
        """Take note of one event that arrived."""
        self.received += 1
        if not self._start:
            self._start = self.expected = seq
        if seq == self.expected:
            self.expected = seq + 1
        else:
            self._out_of_turn(seq)

    def close(self, first: int, last: int) -> Tally:
        """Tell how it went; `first` and `last` are the numbers of the events that were due.

        What never came is lost. What came and was not due counts as duplicated.
        """
        due = last + 1 - first
        before = max(0, min(self._start, last + 1) - first)
        after = max(0, last + 1 - max(self.expected, first))
        lost = before + sum(first <= seq <= last for seq in self._missing) + after
        not_due = self.expected - self._start - len(self._missing) - (due - lost)
        return due, self.received, lost, self.duplicated + not_due, self.reordered

    def _out_of_turn(self, seq: int) -> None:
        if seq > self.expected:
            self._missing.update(range(self.expected, seq))
            self.expected = seq + 1
        elif seq < self._start:
            self._missing.update(range(seq + 1, self._start))
            self._start = seq
            self.reordered += 1
        elif seq in self._missing:
            self._missing.remove(seq)
            self.reordered += 1
        else:
            self.duplicated += 1
