"""Draws a result (as in `local.json`) into PNGs; needs matplotlib, and measures nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

__all__ = ["draw"]

Record = dict[str, Any]

_STYLES: dict[str, dict[str, Any]] = {
    "bare loop (floor)": {"color": "#888888", "linestyle": "--", "marker": "s"},
    "bare thread (floor)": {"color": "#888888"},
    "bare asyncio": {"color": "#888888", "linestyle": "--", "marker": "s"},
    "manifold, audience": {"color": "#d62728", "marker": "o", "linewidth": 2.2},
    "manifold, list": {"color": "#ff7f0e", "marker": "o", "linewidth": 2.2},
    "manifold, list of received PIDs": {"color": "#ffbb78", "marker": "o"},
    "manifold": {"color": "#d62728", "linewidth": 2.2},
    "asyncio, queue and task each": {"color": "#1f77b4", "marker": "^"},
    "Pykka threads, tell loop": {"color": "#2ca02c", "marker": "v"},
    "Pykka thread": {"color": "#2ca02c"},
}


def draw(record: Record, folder: Path, prefix: str) -> list[Path]:
    """Draw every plot that `record` has data for, as `<folder>/<prefix>-<plot>.png`, and give the paths."""
    machine = record.get("machine", {})
    caption = "{cpus} CPUs, {implementation} {python}, {platform}, {date}".format_map(_Facts(machine))
    paths = []
    for name, (section, title, plot) in _PLOTS.items():
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


def _by_contender(axes: Axes, data: Record, key: str) -> None:
    names = list(dict.fromkeys(row["contender"] for row in data["rows"]))
    for name in names:
        rows = [row for row in data["rows"] if row["contender"] == name]
        sizes, values = [row["recipients"] for row in rows], [row[key] for row in rows]
        axes.plot(sizes, values, label=name, **_STYLES.get(name, {}))
    axes.set_xscale("log")
    axes.set_yscale("log")
    _ticks(axes, sorted({row["recipients"] for row in data["rows"]}))
    axes.set_xlabel("recipients of one send")


def _ticks(axes: Axes, sizes: list[int]) -> None:
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def _rate(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "deliveries_per_s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("deliveries per second")


def _cost(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "cost_ns")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value / 1e3)))
    axes.set_ylabel("time per recipient")


def _call(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "call_median_us")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))
    axes.set_ylabel("the sender's time of one call (median)")


def _tasks(axes: Axes, data: Record) -> None:
    _task_line(axes, data, "manifold_s", "manifold, an actor each", {**_STYLES["manifold"], "marker": "o"})
    _task_line(axes, data, "asyncio_s", "bare asyncio", _STYLES["bare asyncio"])
    without = {"linestyle": ":", "marker": "."}
    _task_line(axes, data, "uncollected_manifold_s", "manifold, collector off", {**_STYLES["manifold"], **without})
    _task_line(axes, data, "uncollected_asyncio_s", "bare asyncio, collector off", {"color": "#888888", **without})
    axes.axhline(data["task_s"], color="black", linewidth=0.8, label=f"the task itself: {data['task_s']:g} s")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _ticks(axes, [row["tasks"] for row in data["rows"]])
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
                _distribution(axes, found, f"{way}, {node}", {**_STYLES.get(way, {}), "linestyle": line})
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))
    axes.set_xlabel("percentile of the messages")
    axes.set_ylabel("from send to handler")


def _distribution(axes: Axes, found: dict[str, float], label: str, style: dict[str, Any]) -> None:
    """Plot over 1 / (1 - share): each nine of the percentile takes the same room."""
    percents = [percent for percent in found if float(percent) < 100]
    places = [100 / (100 - float(percent)) for percent in percents]
    axes.plot(places, [found[percent] for percent in percents], label=label, **style)
    axes.set_xscale("log")
    marks = [0, 50, 90, 99, 99.9]
    axes.set_xticks([100 / (100 - mark) for mark in marks], [f"{mark:g}" for mark in marks])
    axes.xaxis.set_minor_locator(NullLocator())


def _duration(us: float) -> str:
    for limit, factor, unit in ((1, 1e3, "ns"), (1e3, 1, "µs"), (1e6, 1e-3, "ms")):
        if us < limit:
            return f"{us * factor:g} {unit}"
    return f"{us / 1e6:g} s"


_PLOTS = {
    "throughput": ("throughput", "Deliveries per second", _rate),
    "cost": ("throughput", "Cost per recipient", _cost),
    "sender": ("throughput", "The sender's time per call, sends back to back", _call),
    "tasks": ("tasks", "Concurrent tasks", _tasks),
    "latency": ("latency", "Latency of one message, the node idle or busy with fan-outs", _latency),
}
