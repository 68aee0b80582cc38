"""Checks of what arrived against what was sent: nothing lost, doubled, reordered, made up, or handled after the end.

    checker = Checker()

    class Member(manifold.Actor):
        def __init__(self, name):
            self.name = name

        def on_receive(self, message):
            sender, number = message
            checker.arrived(self.name, sender, number)  # first thing in the handler

    members = {name: Member.start(name).pid for name in ("ann", "bob")}
    for number in range(100):
        checker.sending("here", members, number)  # right before the send
        manifold.send(members.values(), ("here", number))
    manifold.stop()
    checker.check("seed 7")

`check` looks at what is known when it is called: call it when nothing is under way any more, that is when the node has
stopped, or `in_flight` is 0 in the stats of all nodes that sent.
"""

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

    __slots__ = ("arrived", "excused", "late", "required", "sent", "severed")

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.arrived: list[int] = []
        self.late: list[int] = []
        self.excused: set[int] = set()
        # How many of `sent` have to arrive though the recipient has ended; None while its sender has not ended it.
        self.required: int | None = None
        self.severed = False


class Checker:
    """Holds every sender's messages to every recipient against what the recipients say has arrived.

    Senders call `sending` right before each send, with a sequence number that they use once. Recipients call
    `arrived` first thing in their handlers, and `ended` last thing in their lives. Both are named by anything
    hashable. All methods may be called from any thread; those of one sender in the order in which it sends.

    Everything has to arrive, once, in the order sent, with these exceptions. Of a recipient that has ended, and
    between those who are `severed`, only the tail of what each sender sent may be missing, so that there is no gap;
    what a sender sent before it ended the recipient itself, which it tells with `ending`, may not be. What is
    `excused`, because its send or its receipt said that it was shed, say, may be missing wherever it stands. Nothing
    excuses what is doubled, out of order, or was never sent.

    It keeps two numbers for each delivery: some 20 million deliveries in a gigabyte.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pairs: dict[tuple[Hashable, Hashable], _Pair] = {}
        self._ended: set[Hashable] = set()
        self._copies: Counter[tuple[Hashable, int]] = Counter()
        self._from: Counter[Hashable] = Counter()

    # What senders say.

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

    def excused(self, sender: Hashable, recipients: Iterable[Hashable], sequence: int) -> None:
        """Say that a message may be missing at these recipients: it was shed, or unreachable, and the sender told."""
        with self._lock:
            for recipient in recipients:
                self._pair(sender, recipient).excused.add(sequence)

    def ending(self, sender: Hashable, recipient: Hashable, sequence: int | None = None) -> None:
        """Say that this sender ends the recipient now, with the message `sequence` or in another way (None).

        All it sent until then, and the first copy of that message, has to arrive; what comes after does not.
        """
        with self._lock:
            pair = self._pair(sender, recipient)
            if pair.required is None:
                pair.required = len(pair.sent) if sequence is None else pair.sent.index(sequence) + 1

    # What recipients say.

    def arrived(self, recipient: Hashable, sender: Hashable, sequence: int) -> None:
        """Say that a message is being handled."""
        with self._lock:
            pair = self._pair(sender, recipient)
            pair.arrived.append(sequence)
            self._copies[sender, sequence] += 1
            self._from[sender] += 1
            if recipient in self._ended:
                pair.late.append(sequence)

    def ended(self, recipient: Hashable) -> None:
        """Say that a recipient has handled its last message."""
        with self._lock:
            self._ended.add(recipient)

    # What the test says.

    def severed(self, senders: Iterable[Hashable], recipients: Iterable[Hashable]) -> None:
        """Say that nothing comes from any of these to any of those any more: their nodes have lost each other.

        Of what was, and still is, sent the tail may be missing. Unlike `ended` it may be said while something is
        under way.
        """
        recipients = list(recipients)
        with self._lock:
            for sender in senders:
                for recipient in recipients:
                    self._pair(sender, recipient).severed = True

    # What it knows.

    def has_ended(self, recipient: Hashable) -> bool:
        """Tell whether a recipient has said so."""
        with self._lock:
            return recipient in self._ended

    @property
    def total(self) -> int:
        """How many messages have arrived, at all recipients."""
        with self._lock:
            return self._from.total()

    def total_from(self, senders: Iterable[Hashable]) -> int:
        """Give how many messages of these senders have arrived, at all recipients."""
        with self._lock:
            return sum(self._from[sender] for sender in senders)

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
        has_ended = recipient in self._ended
        kinds: list[tuple[FaultKind, Iterable[int]]] = [
            ("lost", _lost(pair, may_lack_tail=has_ended or pair.severed)),
            ("duplicated", (number for number in surplus if number in known)),
            ("reordered", _overtaken(pair.sent, in_order)),
            ("stray", (number for number in surplus if number not in known)),
            ("after end", pair.late),
        ]
        for kind, numbers in kinds:
            for number in numbers:
                sent, arrived = _near(pair.sent, number), _near(pair.arrived, number)
                yield Fault(kind, sender, recipient, number, sent, arrived, has_ended)


def _lost(pair: _Pair, *, may_lack_tail: bool) -> list[int]:
    """Give what should have arrived: all, or all before the last that did."""
    missing = Counter(pair.sent)
    missing.subtract(pair.arrived)
    due = _due(pair) if may_lack_tail else len(pair.sent)
    lost = []
    for number in pair.sent[:due]:
        if missing[number] > 0:
            missing[number] -= 1
            if number not in pair.excused:
                lost.append(number)
    return _but_last_copies(lost, pair, due) if may_lack_tail else lost


def _due(pair: _Pair) -> int:
    """Give how many of those sent had to arrive where the tail may be missing."""
    arrived = set(pair.arrived)
    reached = (place for place, number in enumerate(pair.sent, 1) if number in arrived)
    return max(pair.required or 0, max(reached, default=0))


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
