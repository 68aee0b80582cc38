"""When each line of a log is due: by the log's own clock, or at once.

Lines without a time go with the latest one. A clock that goes back has gone round its dial: 24 hours, or 12
in a log that shows no hour above 12 (the #ubuntu logs are such). Only a clock that goes back by less than an
hour was set back, and no time has passed.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from examples.guild_presence.logs.log import minute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["batches", "due_minutes"]

_HOUR = 60


def batches(lines: Sequence[str], size: int, speed: float | None) -> Iterator[tuple[float, Sequence[str]]]:
    """Cut lines into pieces of at most `size`, each with the seconds from the start at which it is due.

    `speed` is how many times faster than the log's clock; None: all of it is due at once.
    """
    if speed is None:
        yield from ((0.0, piece) for piece in _cut(lines, size))
        return
    timed = zip(due_minutes(lines), lines, strict=True)
    for due, group in groupby(timed, key=lambda pair: pair[0]):
        yield from ((due * 60 / speed, piece) for piece in _cut([line for _, line in group], size))


def due_minutes(lines: Sequence[str]) -> Iterator[int]:
    """Give for each line the minutes since the first time in the log."""
    dial = _dial(lines)
    passed, latest = 0, None
    for line in lines:
        now = minute(line)
        if now is not None:
            passed += 0 if latest is None else _step(latest, now, dial)
            latest = now
        yield passed


def _dial(lines: Sequence[str]) -> int:
    return 24 * _HOUR if any((minute(line) or 0) >= 13 * _HOUR for line in lines) else 12 * _HOUR


def _step(latest: int, now: int, dial: int) -> int:
    if now >= latest:
        return now - latest
    step = (now - latest) % dial
    return 0 if step > dial - _HOUR else step


def _cut(lines: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (lines[start : start + size] for start in range(0, len(lines), size))
