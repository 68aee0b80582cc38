"""Points on a circle of 64-bit hashes, each with an owner: what lies between two points is the second one's.

A hash belongs to the first point at or after it; after the last point comes the first. Where points of two owners
coincide, the owner that sorts first counts. Finding the point takes no search: hashes are spread evenly, so the high
bits of one tell where to start, and on average the point is less than one step away.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["SPACE", "Circle", "moves"]

_BITS = 64
SPACE = 1 << _BITS
"""How many hashes there are."""


class Circle:
    """The points in order, and who owns each. Immutable; about 20 bytes a point.

    Nobody owns anything on a circle without points: to look for an owner there is an IndexError.
    """

    __slots__ = ("_owners", "_points", "_shift", "_starts")

    def __init__(self, points: array[int], owners: list[str]) -> None:
        bits = len(points).bit_length()
        self._shift = _BITS - bits
        self._starts = _starts(points, bits)
        # A point more than there are: every walk ends there at the latest, behind the last one, at the first's owner.
        self._points = points + array("Q", [SPACE - 1])
        self._owners = owners + owners[:1]

    @classmethod
    def of(cls, hashes: Mapping[str, Iterable[int]]) -> Circle:
        """Give the circle on which each owner has a point at each of its hashes."""
        points: list[int] = []
        owners: list[str] = []
        for owner in sorted(hashes):
            points += hashes[owner]
            owners += [owner] * (len(points) - len(owners))
        # A stable sort: points that coincide stay in the order of their owners.
        return _chosen(points, owners, sorted(range(len(points)), key=points.__getitem__))

    @property
    def points(self) -> array[int]:
        """All points, in order."""
        return self._points[:-1]

    def owner(self, number: int) -> str:
        """Give the owner of the hash `number`."""
        return self._owners[self._at(number)]

    def owners(self, numbers: Iterable[int]) -> list[str]:
        """Give the owner of each hash; the same as `owner`, without a call for each."""
        starts, shift, points, owners = self._starts, self._shift, self._points, self._owners
        found = []
        for number in numbers:
            at = starts[number >> shift]
            while points[at] < number:
                at += 1
            found.append(owners[at])
        return found

    def clockwise(self, number: int) -> Iterator[str]:
        """Give the owner of each point, once around, beginning with the owner of the hash `number`."""
        points, first = len(self._points) - 1, self._at(number)
        return (self._owners[at % points] for at in range(first, first + points))

    def _at(self, number: int) -> int:
        points, at = self._points, self._starts[number >> self._shift]
        while points[at] < number:
            at += 1
        return at

    def added(self, owner: str, hashes: Iterable[int]) -> Circle:
        """Give the circle on which `owner`, who has no points on this one, has these as well."""
        old, old_owners = self.points, self._owners[:-1]
        points: array[int] = array("Q")
        owners: list[str] = []
        start = 0
        for number in sorted(hashes):
            end = bisect_left(range(len(old)), (number, owner), start, key=lambda at: (old[at], old_owners[at]))
            points += old[start:end]
            points.append(number)
            owners += [*old_owners[start:end], owner]
            start = end
        return Circle(points + old[start:], owners + old_owners[start:])

    def removed(self, owner: str) -> Circle:
        """Give the circle on which `owner` has no points."""
        kept = [at for at, other in enumerate(self._owners[:-1]) if other != owner]
        return _chosen(self._points, self._owners, kept)


def _chosen(points: Sequence[int], owners: Sequence[str], places: Sequence[int]) -> Circle:
    return Circle(array("Q", [points[at] for at in places]), [owners[at] for at in places])


def _starts(points: Iterable[int], bits: int) -> array[int]:
    """Give for every value of the high `bits` bits how many points have a smaller one."""
    counts = [0] * (1 << bits)
    shift = _BITS - bits
    for point in points:
        counts[point >> shift] += 1
    return array("I", accumulate(counts[:-1], initial=0))


def moves(before: Circle, after: Circle) -> Counter[tuple[str | None, str | None]]:
    """Count the hashes that change hands, by the owner before and the owner after; None is nobody."""
    moved: Counter[tuple[str | None, str | None]] = Counter()
    ends = sorted({*before.points, *after.points})
    start = ends[-1] - SPACE if ends else 0
    for end, old, new in zip(ends, _owners(before, ends), _owners(after, ends), strict=True):
        if old != new:
            moved[old, new] += end - start
        start = end
    return moved


def _owners(circle: Circle, numbers: Sequence[int]) -> Sequence[str | None]:
    return circle.owners(numbers) if circle.points else [None] * len(numbers)
