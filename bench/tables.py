"""The tables of `bench local`: each section of a result as rows of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report import Record, Table

__all__ = ["CONTENDER_HEAD", "TABLES", "contender_rows", "us"]


def us(value: float) -> str:
    """Give microseconds as one reads them."""
    if value >= 10_000:
        return f"{value / 1e3:,.1f} ms"
    return f"{value:,.0f} us" if value >= 10 else f"{value:.1f} us"


CONTENDER_HEAD = ("recipients", "contender", "deliveries/s", "ns each", "of floor", "call median", "call p99")


def contender_rows(rows: Sequence[Record]) -> list[tuple[str, ...]]:
    """Give what each contender reached, under `CONTENDER_HEAD`."""
    return [
        (
            f"{row['recipients']:,}",
            row["contender"],
            f"{row['deliveries_per_s']:,.0f}",
            f"{row['cost_ns']:,.0f}",
            f"{row['ratio']:.1%}",
            us(row["call_median_us"]),
            us(row["call_p99_us"]),
        )
        for row in rows
    ]


def _throughput(data: Record) -> list[Table]:
    rows = contender_rows(data["rows"])
    return [("Throughput, in turn", CONTENDER_HEAD, rows), _growth_table(data), _sender_table(data)]


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
        (how, way, *(us(row[key]) for key in ("median_us", "p99_us", "quiet_us")))
        for how in ("idle", "back to back")
        for way, row in data["sender"][how].items()
    ]
    title = f"The sender's time of one call, {data['sender']['recipients']:,} recipients"
    return title, ("node", "manifold.send", "median", "p99", "quietest round"), rows


def _actors(data: Record) -> list[Table]:
    start, stop = data["start"], data["stop"]
    small, large = (f"{size:,}" for size in stop["populations"])
    starts = [
        ("manifold.Actor, the call", us(start["call_us"])),
        ("manifold.Actor, until ready", us(start["ready_us"])),
        ("pykka.ThreadingActor", us(start["thread_us"])),
        ("a plain object with the same __init__", us(start["object_us"])),
    ]
    stops = [
        ("one, blocking", *map(us, stop["one_us"]), f"{stop['one_ratio']:.2f} x"),
        ("all, per actor", *map(us, stop["each_us"]), f"{stop['each_ratio']:.2f} x"),
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
        (node, way, *(us(found[percent]) for percent in ("50", "99", "99.9", "100")))
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
