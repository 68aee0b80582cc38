"""Results as tables on the terminal and as one JSON file; sections that were not run keep their last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.figures import Figure

__all__ = ["TABLES", "Record", "Table", "merged", "read", "show", "write"]

Record = dict[str, Any]
# A title, the head of each column, the rows.
Table = tuple[str, tuple[str, ...], "Sequence[tuple[str, ...]]"]


def merged(old: Record, new: Record) -> Record:
    """Give `new` with those sections of `old` that it lacks, if the same kind of machine measured both."""
    if _comparable(old) != _comparable(new):
        return new
    return {**old, **new}


def _comparable(record: Record) -> Record:
    return {key: value for key, value in record.get("machine", {}).items() if key != "date"}


def read(path: Path) -> Record:
    """Give the result in `path`; OSError or ValueError if there is none."""
    record = json.loads(path.read_text())
    if not isinstance(record, dict):
        msg = "not a result of this bench"
        raise ValueError(msg)  # noqa: TRY004 - the file is wrong, not the caller
    return record


def write(record: Record, path: Path) -> Record:
    """Write `record` to `path`, merged with what stands there, and give what was written."""
    old = read(path) if path.exists() else {}
    whole = merged(old, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return whole


def show(record: Record, tables: Mapping[str, Callable[[Record], list[Table]]], reached: Sequence[Figure]) -> None:
    """Print a table for each section in `record`, and last the figures to reach."""
    for section, make in tables.items():
        if section in record:
            for title, head, rows in make(record[section]):
                _print_table(title, head, rows)
    _print_table("Figures to reach", ("figure", "to reach", "measured", "quietest round", ""), _figure_rows(reached))


def _throughput(data: Record) -> list[Table]:
    head = ("recipients", "contender", "deliveries/s", "ns each", "of floor", "call median", "call p99")
    rows = [
        (
            f"{row['recipients']:,}",
            row["contender"],
            f"{row['deliveries_per_s']:,.0f}",
            f"{row['cost_ns']:,.0f}",
            f"{row['ratio']:.1%}",
            _us(row["call_median_us"]),
            _us(row["call_p99_us"]),
        )
        for row in data["rows"]
    ]
    return [("Throughput, in turn", head, rows), _growth_table(data), _sender_table(data)]


def _growth_table(data: Record) -> Table:
    sizes = list(dict.fromkeys(str(row["recipients"]) for row in data["rows"]))
    head = ("contender", *(f"{int(size):,}" for size in sizes))
    rows = [
        (name, *(f"{found[size]:.2f} x" if size in found else "" for size in sizes))
        for name, found in data["growth"].items()
    ]
    return f"Cost per recipient against {int(sizes[0]):,}, the floor's own growth taken out", head, rows


def _sender_table(data: Record) -> Table:
    rows = [
        (how, way, *(_us(row[key]) for key in ("median_us", "p99_us", "quiet_us")))
        for how in ("idle", "back to back")
        for way, row in data["sender"][how].items()
    ]
    title = f"The sender's time of one call, {data['sender']['recipients']:,} recipients"
    return title, ("node", "manifold.send", "median", "p99", "quietest round"), rows


def _actors(data: Record) -> list[Table]:
    start, stop = data["start"], data["stop"]
    small, large = (f"{size:,}" for size in stop["populations"])
    starts = [
        ("manifold.Actor, the call", _us(start["call_us"])),
        ("manifold.Actor, until ready", _us(start["ready_us"])),
        ("pykka.ThreadingActor", _us(start["thread_us"])),
        ("a plain object with the same __init__", _us(start["object_us"])),
    ]
    stops = [
        ("one, blocking", *map(_us, stop["one_us"]), f"{stop['one_ratio']:.2f} x"),
        ("all, per actor", *map(_us, stop["each_us"]), f"{stop['each_ratio']:.2f} x"),
    ]
    return [
        ("Starting an actor", ("what", "each"), starts),
        ("Stopping actors", ("what", f"of {small}", f"of {large}", "ratio"), stops),
    ]


def _memory(data: Record) -> list[Table]:
    rows: list[tuple[str, ...]] = [
        ("manifold.Actor, idle", f"{data['actors']:,}", f"{data['bytes']:,.0f} bytes each"),
        ("pykka.ThreadingActor, idle", f"{data['threads']:,}", f"{data['thread_bytes']:,.0f} bytes each"),
    ]
    if "crowd" in data:
        rows += _crowd_rows(data["crowd"])
    return [("Resident memory", ("what", "actors", "measured"), rows)]


def _crowd_rows(crowd: Record) -> list[tuple[str, ...]]:
    number = f"{crowd['actors']:,}"
    return [
        ("a crowd that counts: start", number, f"{crowd['start_s']:.1f} s"),
        ("a crowd that counts: memory", number, f"{crowd['rss_mb']:,.0f} MB"),
        ("its audience: first send", number, f"{crowd['first_send_s']:.2f} s"),
        ("its audience: second send", number, f"{crowd['second_send_s']:.2f} s"),
    ]


def _tasks(data: Record) -> list[Table]:
    rows = [(f"{row['tasks']:,}", *(_seconds(row[key]) for key in _TASK_COLUMNS)) for row in data["rows"]]
    head = ("tasks", "manifold, an actor each", "bare asyncio", "collector off: manifold", "bare asyncio")
    return [(f"Concurrent tasks of {data['task_s']:g} s, until the last has ended", head, rows)]


_TASK_COLUMNS = ("manifold_s", "asyncio_s", "uncollected_manifold_s", "uncollected_asyncio_s")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _latency(data: Record) -> list[Table]:
    rows = [
        (node, way, *(_us(found[percent]) for percent in ("50", "99", "99.9", "100")))
        for node in ("idle", "busy")
        for way, found in data[node].items()
        if isinstance(found, dict)
    ]
    busy = data["busy"]
    title = f"Latency (busy: {busy['fanouts_per_s']:,.0f} fan-outs/s to {busy['recipients']:,})"
    return [(title, ("node", "to", "median", "p99", "p99.9", "max"), rows)]


TABLES = {
    "throughput": _throughput,
    "actors": _actors,
    "memory": _memory,
    "tasks": _tasks,
    "latency": _latency,
}


def _figure_rows(reached: Sequence[Figure]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for figure in reached:
        to_reach = f"{figure.at} {figure.limit:,g} {figure.unit}"
        rows.append((figure.name, to_reach, _value(figure.measured), _value(figure.quiet), figure.verdict))
    return rows


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _us(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1e3:,.1f} ms"
    return f"{value:,.0f} us" if value >= 10 else f"{value:.1f} us"


def _print_table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table as RichTable
    except ImportError:
        print("\n".join(["", title, *("\t".join(row) for row in (head, *rows))]))
        return
    table = RichTable(*head, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "left" if column.header == "contender" else "right"
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print()
    console.print(table)
