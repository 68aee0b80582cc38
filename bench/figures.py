"""The figures to reach, each beside what was measured: met, or not met. A bench reports; it never asserts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["AS_CHEAP", "Figure", "figures", "find"]

Record = dict[str, Any]
# What was measured, and in the quietest round.
Values = tuple[float | None, float | None]

# What "as cheap" allows for noise and for a working set that no longer fits the processor's cache.
AS_CHEAP = 1.5


@dataclass(frozen=True)
class Figure:
    """One figure to reach: `at` is "<=" or ">=", `measured` None where this run did not measure it.

    `quiet` is, of an absolute time, what the quietest round gave: other programs only ever add to it.
    """

    name: str
    at: str
    limit: float
    unit: str
    measured: float | None
    quiet: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the figure was reached, in words."""
        if self.measured is None:
            return "not measured"
        if self._reached(self.measured):
            return "met"
        return "NOT met" if self.quiet is None or not self._reached(self.quiet) else "met when quiet"

    def _reached(self, value: float) -> bool:
        return value <= self.limit if self.at == "<=" else value >= self.limit


def figures(record: Record) -> list[Figure]:
    """Give every figure to reach, with what `record` (a result as in `local.json`) holds for it."""
    return [*_throughput(record), *_actors(record), *_tasks(record), *_latency(record)]


def _throughput(record: Record) -> list[Figure]:
    of_floor = "% of the floor"
    return [
        Figure("10,000 recipients, list sends", ">=", 35, of_floor, _share(record, "manifold, list")),
        Figure("10,000 recipients, audience", ">=", 75, of_floor, _share(record, "manifold, audience")),
        Figure("growth 1,000 to 100,000, list", "<=", 2, "x", _growth(record, "manifold, list")),
        Figure("growth 1,000 to 100,000, audience", "<=", 2, "x", _growth(record, "manifold, audience")),
        *(_sender(record, how, "audience", 50) for how in ("back to back", "idle")),
        *(_sender(record, how, "list, offload", 300) for how in ("back to back", "idle")),
    ]


def _actors(record: Record) -> list[Figure]:
    ratio = find(record, "actors", "stop", "one_ratio") if _large_population(record) else None
    start = find(record, "actors", "start") or {}
    bytes_each = find(record, "memory", "bytes") if find(record, "memory", "actors") == 100_000 else None
    return [
        Figure("start an actor, until ready", "<=", 5, "us", start.get("ready_us"), start.get("quiet_ready_us")),
        Figure("stop one of 100,000 against one of 1,000", "<=", AS_CHEAP, "x", ratio),
        Figure("an idle actor", "<=", 1_200, "bytes", bytes_each),
    ]


def _tasks(record: Record) -> list[Figure]:
    return [
        Figure("20,480 tasks of 2.5 s", "<=", 2.7, "s", *_task(record, 20_480)),
        Figure("1,000,000 tasks of 2.5 s", "<=", 20, "s", *_task(record, 1_000_000)),
    ]


def _latency(record: Record) -> list[Figure]:
    idle = find(record, "latency", "idle", "manifold", "99")
    busy = find(record, "latency", "busy", "manifold", "99")
    return [
        Figure("latency p99, idle node", "<=", 500, "us", idle),
        Figure("latency p99, busy node", "<=", 20, "ms", None if busy is None else busy / 1e3),
    ]


def find(record: Record, *path: str) -> Any:
    """Give what stands in a record under these keys, one in the other; None where one is missing."""
    found: Any = record
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _share(record: Record, contender: str, recipients: int = 10_000) -> float | None:
    for row in find(record, "throughput", "rows") or []:
        if (row["contender"], row["recipients"]) == (contender, recipients):
            return 100 * float(row["ratio"])
    return None


def _growth(record: Record, contender: str) -> float | None:
    found = find(record, "throughput", "growth", contender) or {}
    return found.get("100000") if "1000" in found else None


def _sender(record: Record, how: str, way: str, limit_us: float) -> Figure:
    at_size = find(record, "throughput", "sender", "recipients") == 10_000
    row = (find(record, "throughput", "sender", how, way) if at_size else None) or {}
    name = f"sender's time, {way}, {how}"
    return Figure(name, "<=", limit_us, "us (median)", row.get("median_us"), row.get("quiet_us"))


def _large_population(record: Record) -> bool:
    populations: list[int] | None = find(record, "actors", "stop", "populations")
    return populations == [1_000, 100_000]


def _task(record: Record, number: int) -> Values:
    for row in find(record, "tasks", "rows") or []:
        if row["tasks"] == number and find(record, "tasks", "task_s") == 2.5:
            return row["manifold_s"], row.get("quiet_manifold_s")
    return None, None
