"""The plots of `bench cluster`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bench.axes import STYLES, call, cost, distribution, durations, rate, ticks
from bench.cluster.figures import DISCORD, limit_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report import Record

__all__ = ["PLOTS"]

_DISCORD: dict[str, Any] = {"color": "#5865f2", "marker": "D", "linestyle": "none", "label": DISCORD["name"]}


def _rate(axes: Axes, data: Record) -> None:
    rate(axes, data)
    axes.plot(DISCORD["recipients"], DISCORD["deliveries_per_s"], **_DISCORD)


def _cost(axes: Axes, data: Record) -> None:
    cost(axes, data)
    axes.plot(DISCORD["recipients"], 1e9 / DISCORD["deliveries_per_s"], **_DISCORD)


def _call(axes: Axes, data: Record) -> None:
    """The floor has no sender."""
    rows = [row for row in data["rows"] if not row["contender"].endswith("(floor)")]
    call(axes, {"rows": rows})
    axes.plot([DISCORD["recipients"]] * 2, DISCORD["call_us"], **{**_DISCORD, "linestyle": "-"})


def _roundtrip(axes: Axes, data: Record) -> None:
    for way, found in data["ways"].items():
        distribution(axes, found, way, STYLES.get(way, {}))
    percents = DISCORD["roundtrip_us"]
    axes.plot([100 / (100 - float(percent)) for percent in percents], list(percents.values()), **_DISCORD)
    axes.set_yscale("log")
    durations(axes)
    axes.set_xlabel("percentile of the round trips")
    axes.set_ylabel("from send to answer")


def _nodes(axes: Axes, data: Record) -> None:
    for to, how, size in sorted({(row["to"], row["how"], row["recipients"]) for row in data["rows"]}):
        rows = [row for row in data["rows"] if (row["to"], row["how"], row["recipients"]) == (to, how, size)]
        style = {**STYLES[f"manifold, {to}"], "linestyle": "-" if how == "back to back" else ":"}
        style["marker"] = "o" if size == data["rows"][0]["recipients"] else "s"
        label = f"{to}, {size:,} recipients, {how}"
        axes.plot([row["nodes"] for row in rows], [row["median_us"] for row in rows], label=label, **style)
    axes.set_yscale("log")
    ticks(axes, sorted({row["nodes"] for row in data["rows"]}))
    durations(axes)
    axes.set_xlabel("receiving nodes")
    axes.set_ylabel("the sender's time of one call (median)")


def _overload(axes: Axes, data: Record, kind: str) -> None:
    flood = next(flood for flood in data["floods"] if flood["kind"] == kind)
    samples = flood["samples"]
    if any(row["receiver_bytes"] is None for row in samples):
        return
    seconds = [row["at_s"] for row in samples]
    grown = {
        name: [(row[f"{name}_bytes"] - samples[0][f"{name}_bytes"]) / 1e6 for row in samples]
        for name in ("sender", "receiver")
    }
    axes.plot(seconds, grown["sender"], color="#1f77b4", label="the sender's memory")
    axes.plot(seconds, grown["receiver"], color="#d62728", label="the receiver's")
    both = [sum(pair) for pair in zip(*grown.values(), strict=True)]
    axes.plot(seconds, both, color="black", linewidth=2.2, label="both")
    axes.axhline(flood["limit_bytes"] / 1e6, color="#888888", label="outbox and inbox")
    axes.axhline(limit_bytes(flood) / 1e6, color="#888888", linestyle="--", label="the same with the allowance")
    axes.axvline(flood["seconds"], color="black", linewidth=0.8, linestyle=":", label="the last send")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("MB more than before")


PLOTS = (
    ("throughput", "fanout", "Deliveries per second to another node", _rate),
    ("cost", "fanout", "Cost per recipient on another node", _cost),
    ("sender", "fanout", "The sender's time per call, to another node, back to back", _call),
    ("roundtrip", "roundtrip", "Round trips between two nodes", _roundtrip),
    ("nodes", "nodes", "The sender's time by receiving nodes", _nodes),
    ("brokers", "brokers", "Deliveries per second over ZeroMQ, over NATS, and without the library", rate),
    ("overload-list", "overload", "Memory while 10 times too much is sent, in lists", partial(_overload, kind="list")),
    (
        "overload-single",
        "overload",
        "Memory while 10 times too much is sent, one by one",
        partial(_overload, kind="single"),
    ),
)
