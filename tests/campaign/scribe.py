"""A book that is written down line by line, so that what a process did is known when it was killed; and read again.

A line is what one method of `Book` was called with, and when: all processes of a machine have the same monotonic clock.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import manifold
from manifold.testing import Change
from tests.campaign import judge
from tests.campaign.book import Answer, Asked, Book, Received

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["Scribe", "read"]


class Scribe:
    """Takes what a `Book` takes, of one node, and writes it to a file; says who has `ended`."""

    def __init__(self, path: Path, ended: Callable[[str], object] = lambda _: None) -> None:
        self._ended = ended
        self.history: list[Change] = []
        self.heard = 0
        """Of how many changes the node told."""
        self.noted = 0
        """How much was written: as much as before where nothing has happened."""
        self.ended: set[str] = set()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._refs: dict[Any, str] = {}
        self._numbers = itertools.count()
        self._receipts: list[Received] = []
        self._asked: list[Asked] = []
        self._is_over = False

    def _write(self, what: str, *args: Any) -> None:
        if not self._is_over:
            self.noted += 1
            os.write(self._file, f"{json.dumps([time.monotonic(), what, *args])}\n".encode())

    def close(self) -> None:
        os.close(self._file)

    # As in `Book`.

    def fail(self, what: str) -> None:
        self._write("fail", what)

    def fault(self, kind: str) -> None:
        self._write("fault", kind)

    def born(self, pid: str, *, awaits: bool) -> None:
        self._write("born", pid, awaits)

    def sending(self, node: str, sender: str, sequence: int, pids: list[manifold.PID]) -> None:
        self._write("sending", node, sender, sequence, [str(pid) for pid in pids])

    def not_sent(self, node: str, sender: str, sequence: int, pids: list[manifold.PID]) -> None:
        self._write("not_sent", node, sender, sequence, [str(pid) for pid in pids])

    def left_meanwhile(self, node: str, sender: str, sequence: int, number: int) -> None:
        self._write("left_meanwhile", node, sender, sequence, number)

    def overloaded(self) -> None:
        self._write("overloaded")

    def receipt(self, received: Received) -> None:
        self._receipts.append(received)

    def question(self, asked: Asked) -> None:
        self._asked.append(asked)

    def arrived(self, pid: str, sender: str, sequence: int) -> None:
        self._write("arrived", pid, sender, sequence)

    def end(self, pid: str) -> None:
        self._write("end", pid)
        self.ended.add(pid)
        self._ended(pid)

    def lacks(self, node: str, audience: str, pid: manifold.PID, since: float) -> None:
        self._write("lacks", node, audience, str(pid), since)

    def monitored(self, ref: Any, watcher: str, pid: manifold.PID) -> None:
        self._refs[ref] = f"{watcher} {next(self._numbers)}"
        self._write("monitored", self._refs[ref], watcher, str(pid))

    def demonitored(self, ref: Any) -> None:
        self._write("demonitored", self._refs[ref])

    def down(self, watcher: str, down: manifold.Down) -> None:
        self._write("down", watcher, self._refs.get(down.ref), str(down.pid), down.reason)

    def told(self, node: str, other: str, reason: str) -> None:
        self._write("told", node, other, reason)
        self.heard += 1

    def kill(self, node: str) -> None:
        self._write("kill", node)

    # Beyond it.

    def change(self, node: str, other: str, reason: str) -> None:
        """Write that a node sees another come up, or go down, in the moment in which it does."""
        if self._is_over:
            return
        self.history.append(Change(time.monotonic(), node, other, reason))
        self._write("change", node, other, reason)

    def audience(self, name: str, there: Iterable[manifold.PID], due: Iterable[manifold.PID]) -> None:
        """Write who is in an audience in the end, and who was taken in."""
        self._write("audience", name, [str(pid) for pid in there], [str(pid) for pid in due])

    def sum_up(self) -> None:
        """Write what came of receipts and questions."""
        for received in self._receipts:
            outcomes = received.outcomes()
            told = None if outcomes is None else {node: list(counts.values()) for node, counts in outcomes.items()}
            self._write("receipt", *received[:-1], told)
        for node, pid, message, at, answer in self._asked:
            crash = message[3] if message[2] == "crash" else None
            self._write("question", node, str(pid), [*message[:3], crash], at, answer())
        self._is_over = True  # that all nodes stop now is not part of the schedule


class _Written(Book):
    """What threads have written, which may stand still between what they do and a line about it."""

    def __init__(self, now: Callable[[], float], history: Sequence[Change]) -> None:
        super().__init__(now, history)
        self._arrived_at: dict[tuple[str, str, int], float] = {}

    def arrived(self, pid: str, sender: str, sequence: int) -> None:
        super().arrived(pid, sender, sequence)
        self._arrived_at.setdefault((pid, sender, sequence), self.now())

    def sent_by(self, pid: str, sender: str, sequence: int) -> float:
        return self._arrived_at[pid, sender, sequence]


class _Reader:
    """Tells a book what lines say."""

    def __init__(self) -> None:
        self.at = 0.0
        self.history: list[Change] = []
        self.audiences: list[tuple[str, list[str], list[str]]] = []
        self.book = _Written(lambda: self.at, self.history)

    def read(self, at: float, what: str, *args: Any) -> None:
        self.at = at
        (getattr(self, what, None) or getattr(self.book, what))(*args)

    def lacks(self, node: str, audience: str, pid: str, since: float) -> None:
        self.book.lacks(node, audience, manifold.PID.parse(pid), since)

    def monitored(self, ref: str, watcher: str, pid: str) -> None:
        self.book.monitored(ref, watcher, manifold.PID.parse(pid))

    def down(self, watcher: str, ref: str, pid: str, reason: str) -> None:
        self.book.down(watcher, manifold.Down(ref, manifold.PID.parse(pid), reason))  # type: ignore[arg-type]

    def change(self, node: str, other: str, reason: str) -> None:
        self.history.append(Change(self.at, node, other, reason))

    def born(self, pid: str, awaits: bool) -> None:
        self.book.born(pid, awaits=awaits)

    def audience(self, name: str, there: list[str], due: list[str]) -> None:
        self.audiences.append((name, there, due))

    def receipt(
        self, node: str, sender: str, sequence: int, recipients: int, told: dict[str, list[int]] | None
    ) -> None:
        outcomes = None if told is None else {place: manifold.Outcome(*counts) for place, counts in told.items()}
        self.book.receipt(Received(node, sender, sequence, recipients, lambda: outcomes))

    def question(self, node: str, pid: str, message: list[Any], at: float, told: list[Any] | None) -> None:
        answer = None if told is None else Answer(*told)
        sender, number, what, arg = message
        asked = Asked(node, manifold.PID.parse(pid), (sender, number, what, arg), at, lambda: answer)
        self.book.question(asked)


def read(paths: Iterable[Path]) -> Book:
    """Give the book that several processes have written; a last line that a kill cut short is as good as none."""
    lines = []
    for path in paths:
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    reader = _Reader()
    for line in sorted(lines, key=lambda line: line[0]):
        reader.read(*line)
    for name, there, due in reader.audiences:
        judge.audience(reader.book, name, map(manifold.PID.parse, there), map(manifold.PID.parse, due))
    return reader.book
