"""Checks of what arrived against what was sent: nothing lost, doubled, reordered, made up, or handled after the end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

__all__ = ["Checker", "Fault", "FaultKind", "Faulty"]

FaultKind = Literal["lost", "duplicated", "reordered", "stray", "after end"]

_AROUND = 4
"""How many sequence numbers before and after the fault are shown as evidence."""

_SHOWN = 20
"""How many faults `Faulty` writes out."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One message that did not arrive as it was sent, with the evidence.

    `lost`: it did not arrive. `duplicated`: it arrived more often than it was sent. `reordered`: one that the same
    sender sent later had arrived before. `stray`: it was never sent to this recipient. `after end`: the recipient
    had ended before.
    """

    kind: FaultKind
    sender: Hashable
    recipient: Hashable
    sequence: int
    expected: tuple[int, ...]
    """What was sent, around the fault."""
    arrived: tuple[int, ...]
    """What arrived, around the fault."""
    ended: bool = False
    """Whether the recipient has ended."""

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.sequence} from {self.sender} to {self.recipient}{' (ended)' if self.ended else ''}; "
            f"sent ..{_row(self.expected)}.. arrived ..{_row(self.arrived)}.."
        )


class Faulty(AssertionError):
    """What arrived is not what was sent; `faults` says where."""

    def __init__(self, faults: Sequence[Fault], note: str = "") -> None:
        self.faults = tuple(faults)
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(f.kind for f in faults).items()))
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        super().__init__("\n  ".join([f"{kinds}{note and f' ({note})'}", *map(str, faults[:_SHOWN]), *more]))


class _Pair:
    """What one sender sent to one recipient, and what of it arrived."""

    __slots__ = ("arrived", "late", "required", "sent")

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.arrived: list[int] = []
        self.late: list[int] = []
        # How many of `sent` have to arrive though the recipient has ended; None while its sender has not ended it.
        self.required: int | None = None


class Checker:
    """Holds every sender's messages to every recipient against what the recipients say has arrived.

    Senders call `sending` right before each send, with a sequence number that they use once. Recipients call
    `arrived` first thing in their handlers, and `ended` last thing in their lives. Both are named by anything
    hashable. All methods may be called from any thread; those of one sender in the order in which it sends.

    Of a recipient that has ended only the tail of what each sender sent may be missing; what a sender sent
    before it ended the recipient itself, which it tells with `ending`, may not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: dict[tuple[Hashable, Hashable], _Pair] = {}
        self._ended: set[Hashable] = set()
        self._copies: Counter[tuple[Hashable, int]] = Counter()

    def sending(self, sender: Hashable, recipients: Iterable[Hashable], sequence: int) -> None:
        """Say that a message goes to these recipients; to one that stands twice, twice."""
        with self._lock:
            for recipient in recipients:
                self._pair(sender, recipient).sent.append(sequence)

    def not_sent(self, sender: Hashable, recipients: Iterable[Hashable], sequence: int) -> None:
        """Take `sending` back: the send was refused, and nothing was handed to anyone."""
        with self._lock:
            for recipient in recipients:
                sent = self._pair(sender, recipient).sent
                assert sent[-1] == sequence, "only the latest send can be taken back"
                sent.pop()

    def ending(self, sender: Hashable, recipient: Hashable, sequence: int | None = None) -> None:
        """Say that this sender ends the recipient now, with the message `sequence` or in another way (None).

        All it sent until then, and the first copy of that message, has to arrive; what comes after does not.
        """
        with self._lock:
            pair = self._pair(sender, recipient)
            if pair.required is None:
                pair.required = len(pair.sent) if sequence is None else pair.sent.index(sequence) + 1

    def arrived(self, recipient: Hashable, sender: Hashable, sequence: int) -> None:
        """Say that a message is being handled."""
        with self._lock:
            pair = self._pair(sender, recipient)
            pair.arrived.append(sequence)
            self._copies[sender, sequence] += 1
            if recipient in self._ended:
                pair.late.append(sequence)

    def ended(self, recipient: Hashable) -> None:
        """Say that a recipient has handled its last message."""
        with self._lock:
            self._ended.add(recipient)

    def has_ended(self, recipient: Hashable) -> bool:
        """Tell whether a recipient has said so."""
        with self._lock:
            return recipient in self._ended

    @property
    def total(self) -> int:
        """How many messages have arrived, at all recipients."""
        with self._lock:
            return self._copies.total()

    def copies(self, sender: Hashable, sequence: int) -> int:
        """Give how many times this message has arrived, at all recipients."""
        with self._lock:
            return self._copies[sender, sequence]

    def faults(self) -> list[Fault]:
        """Give all that is wrong, if no message is under way any more."""
        with self._lock:
            return [fault for key, pair in self._pairs.items() for fault in self._faults_of(*key, pair)]

    def check(self, note: str = "") -> None:
        """Raise `Faulty` if anything is wrong; `note` (the seed, say) goes into its text."""
        if faults := self.faults():
            raise Faulty(faults, note)

    def _pair(self, sender: Hashable, recipient: Hashable) -> _Pair:
        try:
            return self._pairs[sender, recipient]
        except KeyError:
            pair = self._pairs[sender, recipient] = _Pair()
            return pair

    def _faults_of(self, sender: Hashable, recipient: Hashable, pair: _Pair) -> Iterator[Fault]:
        if pair.arrived == pair.sent and not pair.late:
            return
        in_order, surplus = _first_copies(pair)
        known = set(pair.sent)
        kinds: list[tuple[FaultKind, Iterable[int]]] = [
            ("lost", self._lost(recipient, pair)),
            ("duplicated", (number for number in surplus if number in known)),
            ("reordered", _overtaken(pair.sent, in_order)),
            ("stray", (number for number in surplus if number not in known)),
            ("after end", pair.late),
        ]
        for kind, numbers in kinds:
            for number in numbers:
                sent, arrived = _near(pair.sent, number), _near(pair.arrived, number)
                yield Fault(kind, sender, recipient, number, sent, arrived, recipient in self._ended)

    def _lost(self, recipient: Hashable, pair: _Pair) -> list[int]:
        """Give what should have arrived: all, or of a recipient that has ended all before the last that did."""
        missing = Counter(pair.sent)
        missing.subtract(pair.arrived)
        due = len(pair.sent)
        if recipient in self._ended:
            arrived = set(pair.arrived)
            reached = (place for place, number in enumerate(pair.sent, 1) if number in arrived)
            due = max(pair.required or 0, max(reached, default=0))
        lost = []
        for number in pair.sent[:due]:
            if missing[number] > 0:
                missing[number] -= 1
                lost.append(number)
        return lost if recipient not in self._ended else _but_last_copies(lost, pair, due)


def _first_copies(pair: _Pair) -> tuple[list[int], list[int]]:
    """Split what arrived into as many copies of each message as were sent, and the surplus."""
    wanted = Counter(pair.sent)
    first, surplus = [], []
    for number in pair.arrived:
        if wanted[number]:
            wanted[number] -= 1
            first.append(number)
        else:
            surplus.append(number)
    return first, surplus


def _but_last_copies(lost: list[int], pair: _Pair, due: int) -> list[int]:
    """A recipient may have ended between two copies of one message: those behind the first are no loss."""
    last = pair.sent[due - 1] if due else None
    return [number for number in lost if number != last or number not in pair.arrived]


def _overtaken(sent: list[int], arrived: list[int]) -> list[int]:
    """Give those that arrived after one that was sent later."""
    place = {number: index for index, number in enumerate(sent)}
    overtaken, latest = [], -1
    for number in arrived:
        if place[number] < latest:
            overtaken.append(number)
        latest = max(latest, place[number])
    return overtaken


def _near(numbers: list[int], number: int) -> tuple[int, ...]:
    """Give what stands around the last place of a number; the end, if it is not there."""
    at = len(numbers) - 1 - numbers[::-1].index(number) if number in numbers else len(numbers)
    if number not in numbers and numbers:
        at = sum(other < number for other in numbers)
    return tuple(numbers[max(0, at - _AROUND) : at + _AROUND + 1])


def _row(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers)) or "nothing"
