"""The tables of `bench cluster`: each section of a result as rows of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cluster.figures import DISCORD, limit_bytes
from bench.tables import CONTENDER_HEAD, contender_rows, us

if TYPE_CHECKING:
    from bench.report import Record, Table

__all__ = ["TABLES"]


def _fanout(data: Record) -> list[Table]:
    size, rate = DISCORD["recipients"], DISCORD["deliveries_per_s"]
    reference = (f"{size:,}", DISCORD["name"], f"{rate:,}", f"{1e9 / rate:,.0f}", "", _discord_call(), "")
    rows = [*contender_rows(data["rows"]), reference]
    return [("Fan-outs to another node, in turn", CONTENDER_HEAD, rows), _sender(data["sender"])]


def _discord_call() -> str:
    least, most = DISCORD["call_us"]
    return f"{least / 1e3:g} to {most / 1e3:g} ms"


_CALL_COLUMNS = ("median_us", "p99_us", "quiet_us", "thread_us", "process_us")


def _sender(data: Record) -> Table:
    rows = [
        (how, way, *(us(row[key]) for key in _CALL_COLUMNS))
        for how in ("idle", "back to back")
        for way, row in data[how].items()
    ]
    rows.append(("", DISCORD["name"], _discord_call(), "", "", "", ""))
    title = f"The sender's time of one call, {data['recipients']:,} recipients; and of the processor"
    return title, ("nodes", "manifold.send", "median", "p99", "quietest round", "its thread", "its process"), rows


def _wire(data: Record) -> list[Table]:
    rows = [
        (row["to"], f"{row['recipients']:,}", row["how"], *_carried(row, data["message_bytes"]))
        for row in data["rows"]
        if row["sent_bytes"] is not None
    ]
    per_recipient = f"{DISCORD['bytes_per_recipient']}"
    rows.append(("list", f"{DISCORD['recipients']:,}", DISCORD["name"], "", "", per_recipient, "", ""))
    title = f"On the wire, for one send of a message of {data['message_bytes']} bytes"
    head = ("to", "recipients", "sends", "bytes", "overhead", "a recipient", "bytes back", "segments")
    return [(title, head, rows)]


def _carried(row: Record, message: int) -> tuple[str, ...]:
    sent = row["sent_bytes"]
    figures = (f"{sent:,.1f}", f"{sent - message:,.1f}", f"{sent / row['recipients']:,.3g}")
    return (*figures, f"{row['received_bytes']:,.1f}", f"{row['segments']:,.2f}")


def _singles(data: Record) -> list[Table]:
    rows = [row[1:] for row in contender_rows(data["rows"])]
    cpu = (("the sender's", us(data["sender_cpu_us"])), ("the receiver's", us(data["receiver_cpu_us"])))
    return [
        ("Single messages to one node, in turn", ("contender", "messages/s", *CONTENDER_HEAD[3:]), rows),
        ("The processor's time of one message, all threads", ("process", "each"), cpu),
    ]


def _roundtrip(data: Record) -> list[Table]:
    rows = [
        (way, *(us(found[percent]) for percent in ("50", "99", "99.9", "100"))) for way, found in data["ways"].items()
    ]
    rows.append((DISCORD["name"], *(us(DISCORD["roundtrip_us"][percent]) for percent in ("50", "99")), "", ""))
    return [("Round trips, one at a time", ("way", "median", "p99", "p99.9", "max"), rows)]


def _brokers(data: Record) -> list[Table]:
    rows = [
        (*row, f"{each['to_audience']:.1%}")
        for row, each in zip(contender_rows(data["rows"]), data["rows"], strict=True)
    ]
    tables = [
        ("Over ZeroMQ, over NATS, and without the library", (*CONTENDER_HEAD, "of an audience"), rows),
        *_roundtrip(data),
        ("Not measured", ("what", "why"), list(data["skipped"].items())),
    ]
    return [table for table in tables if table[2]]


def _nodes(data: Record) -> list[Table]:
    counts = sorted({row["nodes"] for row in data["rows"]})
    found = {(row["recipients"], row["to"], row["how"], row["nodes"]): row for row in data["rows"]}
    kinds = dict.fromkeys(key[:3] for key in found)
    rows = [
        (f"{size:,}", to, how, *(_call_and_thread(found[size, to, how, nodes]) for nodes in counts))
        for size, to, how in kinds
    ]
    title = "The sender's time of one call by receiving nodes: median / of the processor in its thread"
    return [(title, ("recipients", "to", "nodes are", *(f"{nodes} nodes" for nodes in counts)), rows)]


def _call_and_thread(row: Record) -> str:
    return f"{us(row['median_us'])} / {us(row['thread_us'])}"


def _overload(data: Record) -> list[Table]:
    columns = [_flood(flood) for flood in data["floods"]]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    kinds = (f"{flood['kind']} sends" for flood in data["floods"])
    return [(f"A sender {data['times']} times faster than the receiver", ("", *kinds), rows)]


def _flood(flood: Record) -> dict[str, str]:
    counts, calls = flood["counts"], flood["call_us"]
    return {
        "for": f"{flood['seconds']:.0f} s",
        "offered": f"{flood['offered_per_s']:,.0f}/s",
        "handled": f"{flood['handled_per_s']:,.0f}/s",
        "sent": f"{counts['sent']:,}",
        "delivered": f"{counts['delivered']:,}",
        "shed": f"{counts['shed']:,}",
        "Overloaded raised": f"{flood['overloaded']:,} times",
        "a call, median and p99": f"{us(calls['50'])}, {us(calls['99'])}",
        "the sender's memory grew by": _mb(flood["sender_growth_bytes"]),
        "the receiver's": _mb(flood["receiver_growth_bytes"]),
        "both may by": _mb(limit_bytes(flood)),
    }


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f} MB"


TABLES = {
    "fanout": _fanout,
    "wire": _wire,
    "singles": _singles,
    "roundtrip": _roundtrip,
    "nodes": _nodes,
    "brokers": _brokers,
    "overload": _overload,
}
