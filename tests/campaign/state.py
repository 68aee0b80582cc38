"""What a campaign has done so far, one line of JSON a schedule, so that it goes on where it was ended."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CAUSES = ("sent", "delivered", "dead", "shed", "unreachable", "in_flight")

__all__ = ["CAUSES", "Result", "Sums", "append", "load"]


@dataclass
class Result:
    """What came of one schedule."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    """What must not be; empty for a good one."""
    faults: dict[str, int] = field(default_factory=dict)
    """What happened, by kind."""
    counts: dict[str, int] = field(default_factory=dict)
    """Sums over all nodes, and what was lost, doubled, reordered."""
    digest: str = ""

    def count(self, stats: Iterable[Mapping[str, int]]) -> None:
        """Add what nodes counted."""
        for one in stats:
            for name in CAUSES:
                self.counts[name] = self.counts.get(name, 0) + one[name]


class Sums:
    """The sums of many results."""

    def __init__(self) -> None:
        self.seeds: set[int] = set()
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.failed: dict[int, list[str]] = {}

    def add(self, result: Result) -> None:
        self.seeds.add(result.seed)
        self.faults.update(result.faults)
        self.counts.update(result.counts)
        if result.wrong:
            self.failed[result.seed] = result.wrong


def load(path: Path) -> list[Result]:
    """Give what a file holds; a last line that was cut short is as good as none."""
    results = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            results.append(Result(**json.loads(line)))
        except ValueError:
            continue
    return results


def append(path: Path, result: Result) -> None:
    """Add a line."""
    with path.open("a") as file:
        file.write(json.dumps(asdict(result)) + "\n")
