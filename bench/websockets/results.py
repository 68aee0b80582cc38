"""What `bench websockets` says of a result: its tables, its plots, and the figures to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.axes import STYLES, distribution, durations
from bench.figures import Figure, find
from bench.stats import median
from bench.tables import us
from bench.websockets.sides import CHANNELS, LAYER, MANIFOLD, SOCKETIO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report import Record, Table

__all__ = ["PLOTS", "TABLES", "figures"]

# What one writes without the library, as the documentation of each shows it. A layer without consumers is shown beside.
_RIVALS = (CHANNELS, SOCKETIO)
_STYLES: dict[str, dict[str, Any]] = {
    MANIFOLD: STYLES["manifold"],
    CHANNELS: {"color": "#2ca02c"},
    LAYER: {"color": "#2ca02c", "linestyle": ":"},
    SOCKETIO: {"color": "#1f77b4"},
}


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


def _rates(axes: Axes, data: Record) -> None:
    for place, row in enumerate(data["flood"]):
        style = {"color": _STYLES[row["contender"]]["color"], "hatch": "//" if row["contender"] == LAYER else None}
        axes.barh(place, row["deliveries_per_s"], **style, label=row["contender"])
        axes.plot(row["rates"], [place] * len(row["rates"]), "k.", markersize=4)
        axes.text(max(row["rates"]), place, f"  {row['deliveries_per_s']:,.0f}", ha="left", va="center")
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("deliveries per second; the dots are rounds")


def _latency(axes: Axes, data: Record) -> None:
    for row in data["pace"]:
        tenfold = {} if row["contender"] in _STYLES else {**_STYLES[MANIFOLD], "linestyle": "--"}
        distribution(axes, row["us"], row["contender"], _STYLES.get(row["contender"], tenfold))
    axes.set_yscale("log")
    durations(axes)
    axes.set_xlabel("percentile of the deliveries")
    axes.set_ylabel(f"from client to client, at {data['load_per_s']:,.0f} deliveries/s")


TABLES = {"messages": _tables}
PLOTS = (
    ("rates", "messages", "Deliveries per second to real WebSockets", _rates),
    ("latency", "messages", "Latency at a load that all can carry", _latency),
)
