"""What `bench websockets` says of a result: its tables, and the figures to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.figures import Figure, find
from bench.stats import median
from bench.tables import us
from bench.websockets.sides import CHANNELS, MANIFOLD, SOCKETIO

if TYPE_CHECKING:
    from bench.report import Record, Table

__all__ = ["TABLES", "figures"]

# What one writes without the library, as the documentation of each shows it. A layer without consumers is shown beside.
_RIVALS = (CHANNELS, SOCKETIO)


def _rows(data: Record, what: str) -> dict[str, Record]:
    return {row["contender"]: row for row in data.get(what, ())}


def _fastest(data: Record) -> str | None:
    rows = _rows(data, "flood")
    return max(
        (name for name in _RIVALS if name in rows), key=lambda name: rows[name]["deliveries_per_s"], default=None
    )


def _ratios(data: Record, name: str) -> list[float]:
    """Give how many times as fast the application was as another, round by round."""
    rows = _rows(data, "flood")
    return [ours / theirs for ours, theirs in zip(rows[MANIFOLD]["rates"], rows[name]["rates"], strict=True)]


def _cpu_us(row: Record) -> float:
    """Give the processor's time of all that serves, for a delivery."""
    taken: dict[str, float] = row["cpu_us"]
    return sum(us for name, us in taken.items() if name != "clients")


def figures(record: Record) -> list[Figure]:
    """Give every figure to reach, with what `record` (a result as in `websockets.json`) holds for it."""
    data = find(record, "messages") or {}
    rival = _fastest(data) if data.get("sockets") == 2_000 else None
    ratios = [] if rival is None else _ratios(data, rival)
    tails = [] if rival is None else _tails(data, rival)
    return [
        Figure("deliveries/s against the faster rival", ">=", 5, "x", *_median_and(max, ratios)),
        Figure("the same, by the servers' processor time", ">=", 5, "x", _cpu_ratio(data, rival)),
        Figure("latency p99 at equal load against its", "<=", 1, "x", *_median_and(min, tails)),
        Figure("ours lost, doubled, out of order, or wrong", "<=", 0, "", _errors(data)),
    ]


def _median_and(best: Any, values: list[float]) -> tuple[float | None, float | None]:
    return (median(values), best(values)) if values else (None, None)


def _tails(data: Record, rival: str) -> list[float]:
    rows = _rows(data, "pace")
    pairs = zip(*(rows[name]["us_rounds"]["99"] for name in (MANIFOLD, rival)), strict=True)
    return [ours / theirs for ours, theirs in pairs]


def _cpu_ratio(data: Record, rival: str | None) -> float | None:
    rows = _rows(data, "flood")
    return _cpu_us(rows[rival]) / _cpu_us(rows[MANIFOLD]) if rival else None


def _errors(data: Record) -> float | None:
    rows = [row for what in ("flood", "pace") for name, row in _rows(data, what).items() if name.startswith(MANIFOLD)]
    return sum(row[error] for row in rows for error in ("lost", "doubled", "disordered", "wrong")) if rows else None


def _tables(data: Record) -> list[Table]:
    size = f"{data['sockets']:,} WebSockets in {data['guilds']} guilds, {data['gateways']} server processes"
    flood = [
        (
            row["contender"],
            f"{row['deliveries_per_s']:,.0f}",
            "" if row["contender"] == MANIFOLD else f"{median(_ratios(data, row['contender'])):.1f} x",
            *_processors(row),
            *_said(row),
        )
        for row in data["flood"]
    ]
    pace = [
        (
            row["contender"],
            us(row["us"]["50"]),
            us(row["us"]["99"]),
            us(row["us"]["100"]),
            *_processors(row),
            *_said(row),
        )
        for row in data["pace"]
    ]
    each = ("servers, us each", "clients", "lost", "doubled", "disordered")
    tables: list[Table] = [
        (
            f"As much as goes: {size}, {data['window']} messages outstanding in each guild",
            ("contender", "deliveries/s", "ours to it", *each),
            flood,
        ),
        (f"{data['load_per_s']:,.0f} deliveries/s: {size}", ("contender", "p50", "p99", "most", *each), pace),
        ("Processor time of each process for a delivery, as much as goes", ("contender", "us"), _processes(data)),
    ]
    if data["skipped"]:
        tables.append(("Not measured here", ("contender", "why"), list(data["skipped"].items())))
    return tables


def _processors(row: Record) -> tuple[str, str]:
    return f"{_cpu_us(row):.1f}", f"{row['cpu_us']['clients']:.1f}"


def _said(row: Record) -> tuple[str, ...]:
    return tuple(f"{row[error]:,}" for error in ("lost", "doubled", "disordered"))


def _processes(data: Record) -> list[tuple[str, str]]:
    return [
        (row["contender"], ", ".join(f"{name} {taken:.1f}" for name, taken in sorted(row["cpu_us"].items())))
        for row in data["flood"]
    ]


TABLES = {"messages": _tables}
