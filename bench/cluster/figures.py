"""The figures that a cluster is to reach, and those of Discord's Manifold between two Erlang nodes, for reference.

The latter were taken on the same kind of machine: deliveries/s and the sender's time with 10,000 recipients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.figures import AS_CHEAP, Figure, find

if TYPE_CHECKING:
    from bench.report import Record

__all__ = ["DISCORD", "figures", "limit_bytes"]

DISCORD: dict[str, Any] = {
    "name": "Discord's (Erlang)",
    "recipients": 10_000,
    "deliveries_per_s": 600_000,
    "call_us": (1_200, 2_000),
    "bytes_per_recipient": 15,
    "roundtrip_us": {"50": 58, "99": 96},
}

# What neither outbox nor inbox counts: ZeroMQ's buffers, the allocator's, and objects that are just being worked on.
_ALLOWANCE_BYTES = 16 << 20


def limit_bytes(flood: Record) -> int:
    """Give what both processes of an overload may hold more than before it: their limits, and an allowance."""
    limit: int = flood["limit_bytes"]
    return limit + _ALLOWANCE_BYTES


def figures(record: Record) -> list[Figure]:
    """Give every figure to reach, with what `record` (a result as in `cluster.json`) holds for it."""
    return [
        *_fanout(record),
        *_wire(record),
        *_singles(record),
        *(_trip(record, *figure) for figure in _TRIPS),
        *_nodes(record),
        *_overload(record, "list"),
        *_overload(record, "single"),
    ]


def _fanout(record: Record) -> list[Figure]:
    of_floor = "% of the floor"
    return [
        Figure("10,000 recipients, list sends", ">=", 20, of_floor, _share(record, "manifold, list")),
        Figure("10,000 recipients, audience", ">=", 55, of_floor, _share(record, "manifold, audience")),
        *(_sender(record, how, "list", 120, "ns a recipient (median)", 1e3 / 10_000) for how in _HOWS),
        *(_sender(record, how, "audience", 60, "us (median)", 1) for how in _HOWS),
    ]


_HOWS = ("back to back", "idle")


def _share(record: Record, contender: str) -> float | None:
    row = _row(record, "fanout", contender=contender, recipients=10_000)
    return None if row is None else 100 * float(row["ratio"])


def _row(record: Record, section: str, **values: Any) -> Record | None:
    """Give the row of a section with these values."""
    for row in find(record, section, "rows") or []:
        if all(row[key] == value for key, value in values.items()):
            found: Record = row
            return found
    return None


def _sender(record: Record, how: str, way: str, limit: float, unit: str, factor: float) -> Figure:
    at_size = find(record, "fanout", "sender", "recipients") == 10_000
    row = (find(record, "fanout", "sender", how, way) if at_size else None) or {}
    measured, quiet = (None if key not in row else row[key] * factor for key in ("median_us", "quiet_us"))
    return Figure(f"sender's time, {way}, {how}", "<=", limit, unit, measured, quiet)


def _wire(record: Record) -> list[Figure]:
    message = find(record, "wire", "message_bytes") or 0
    listed, audience = _most_bytes(record, "list"), _most_bytes(record, "audience")
    return [
        Figure("on the wire, list", "<=", 9, "bytes a recipient", None if listed is None else listed / 10_000),
        Figure(
            "on the wire, audience", "<=", 64, "bytes and the message", None if audience is None else audience - message
        ),
    ]


def _most_bytes(record: Record, to: str) -> float | None:
    rows = [_row(record, "wire", to=to, recipients=10_000, how=how) for how in ("one by one", "in a row")]
    sent = [row["sent_bytes"] for row in rows if row is not None and row["sent_bytes"] is not None]
    return max(sent, default=None)


def _singles(record: Record) -> list[Figure]:
    row = _row(record, "singles", contender="manifold, a send each") or {}
    quiet = find(record, "singles", "quiet_per_s")
    return [Figure("single sends to one node", ">=", 60_000, "a second", row.get("deliveries_per_s"), quiet)]


_TRIPS = (
    ("manifold, ask and get", "50", 250),
    ("manifold, ask and get", "99", 1_000),
    ("manifold, actor to actor", "50", 250),
    ("manifold, actor to actor", "99", 1_000),
)


def _trip(record: Record, way: str, percent: str, limit: float) -> Figure:
    measured, quiet = (find(record, "roundtrip", key, way, percent) for key in ("ways", "quiet"))
    return Figure(f"round trip, {way.partition(', ')[2]}, p{percent}", "<=", limit, "us", measured, quiet)


def _nodes(record: Record) -> list[Figure]:
    """More recipients on as many nodes."""
    small, large = (
        _row(record, "nodes", nodes=4, recipients=size, to="audience", how="back to back") for size in (10_000, 40_000)
    )
    ratio = large["median_us"] / small["median_us"] if small and large else None
    return [Figure("sender's time, audience on 4 nodes, 40,000 / 10,000", "<=", AS_CHEAP, "x", ratio)]


def _overload(record: Record, kind: str) -> list[Figure]:
    flood = next((flood for flood in find(record, "overload", "floods") or [] if flood["kind"] == kind), None)
    name = f"overload, {kind} sends"
    times = overloaded = grown = None
    limit = 0.0
    if flood is not None:
        times, overloaded = flood["offered_per_s"] / flood["handled_per_s"], flood["overloaded"]
        limit = limit_bytes(flood) / 1e6
        if flood["receiver_growth_bytes"] is not None:
            grown = (flood["sender_growth_bytes"] + flood["receiver_growth_bytes"]) / 1e6
    return [
        Figure(f"{name}: offered", ">=", 10, "x what is handled", times),
        Figure(f"{name}: Overloaded raised", ">=", 1, "times", overloaded),
        Figure(f"{name}: memory of both grew by", "<=", round(limit, 1), "MB", grown),
    ]
