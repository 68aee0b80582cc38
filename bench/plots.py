"""Draws a result (as in `local.json` or `cluster.json`) into PNGs; needs matplotlib, and measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from bench.axes import STYLES, call, cost, distribution, durations, rate, ticks
from bench.cluster.plots import PLOTS as CLUSTER_PLOTS
from bench.ring import PLOTS as RING_PLOTS
from bench.websockets.plots import PLOTS as SOCKETS_PLOTS

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.report import Record

__all__ = ["draw"]


def draw(record: Record, folder: Path, prefix: str) -> list[Path]:
    """Draw every plot that `record` has data for, as `<folder>/<prefix>-<plot>.png`, and give the paths."""
    machine = record.get("machine", {})
    caption = "{cpus} CPUs, {implementation} {python}, {platform}, {date}".format_map(_Facts(machine))
    paths = []
    for name, section, title, plot in (*_PLOTS, *CLUSTER_PLOTS, *RING_PLOTS, *SOCKETS_PLOTS):
        if section in record:
            path = folder / f"{prefix}-{name}.png"
            _one(path, title, f"{caption}, load {record[section].get('load')}", plot, record[section])
            paths.append(path)
    return paths


class _Facts(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"({key} unknown)"


def _one(path: Path, title: str, caption: str, plot: Any, data: Record) -> None:
    # The caption has the lowest strip to itself.
    figure, axes = plt.subplots(figsize=(10, 5), layout=ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97)))
    axes.set_title(title, loc="left", fontweight="bold")
    plot(axes, data)
    figure.legend(loc="outside right upper", frameon=False)
    axes.grid(visible=True, which="major", alpha=0.35)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.text(0.995, 0.005, caption, ha="right", va="bottom", fontsize=7, color="#888888")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _tasks(axes: Axes, data: Record) -> None:
    _task_line(axes, data, "manifold_s", "manifold, an actor each", {**STYLES["manifold"], "marker": "o"})
    _task_line(axes, data, "asyncio_s", "bare asyncio", STYLES["bare asyncio"])
    without = {"linestyle": ":", "marker": "."}
    _task_line(axes, data, "uncollected_manifold_s", "manifold, collector off", {**STYLES["manifold"], **without})
    _task_line(axes, data, "uncollected_asyncio_s", "bare asyncio, collector off", {"color": "#888888", **without})
    axes.axhline(data["task_s"], color="black", linewidth=0.8, label=f"the task itself: {data['task_s']:g} s")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks(axes, [row["tasks"] for row in data["rows"]])
    doubled = [data["task_s"] * 2**power for power in range(6)]
    axes.set_yticks(doubled, [f"{seconds:g}" for seconds in doubled])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(top=max(4 * data["task_s"], axes.get_ylim()[1]))
    axes.set_xlabel("concurrent tasks")
    axes.set_ylabel("seconds until the last has ended")


def _task_line(axes: Axes, data: Record, key: str, label: str, style: dict[str, Any]) -> None:
    rows = [row for row in data["rows"] if row[key] is not None]
    if rows:
        axes.plot([row["tasks"] for row in rows], [row[key] for row in rows], label=label, **style)


def _latency(axes: Axes, data: Record) -> None:
    for node, line in (("idle", "-"), ("busy", ":")):
        for way, found in data[node].items():
            if isinstance(found, dict):
                distribution(axes, found, f"{way}, {node}", {**STYLES.get(way, {}), "linestyle": line})
    axes.set_yscale("log")
    durations(axes)
    axes.set_xlabel("percentile of the messages")
    axes.set_ylabel("from send to handler")


_PLOTS = (
    ("throughput", "throughput", "Deliveries per second", rate),
    ("cost", "throughput", "Cost per recipient", cost),
    ("sender", "throughput", "The sender's time per call, sends back to back", call),
    ("tasks", "tasks", "Concurrent tasks", _tasks),
    ("latency", "latency", "Latency of one message, the node idle or busy with fan-outs", _latency),
)
