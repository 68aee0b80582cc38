"""What plots are made of: contenders over recipients, distributions, and the ticks and colours of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report import Record

__all__ = ["STYLES", "call", "cost", "distribution", "durations", "rate", "ticks"]

STYLES: dict[str, dict[str, Any]] = {
    "bare loop (floor)": {"color": "#888888", "linestyle": "--", "marker": "s"},
    "bare loop over there (floor)": {"color": "#888888", "linestyle": "--", "marker": "s"},
    "bare pyzmq (floor)": {"color": "#888888", "linestyle": "--"},
    "bare thread (floor)": {"color": "#888888"},
    "bare asyncio": {"color": "#888888", "linestyle": "--", "marker": "s"},
    "manifold, audience": {"color": "#d62728", "marker": "o", "linewidth": 2.2},
    "manifold, list": {"color": "#ff7f0e", "marker": "o", "linewidth": 2.2},
    "manifold, list of received PIDs": {"color": "#ffbb78", "marker": "o"},
    "manifold, actor to actor": {"color": "#d62728", "linewidth": 2.2},
    "manifold, ask and get": {"color": "#ff7f0e", "linewidth": 2.2},
    "manifold": {"color": "#d62728", "linewidth": 2.2},
    "manifold, a send each": {"color": "#8c564b", "marker": "o"},
    "manifold over NATS, audience": {"color": "#d62728", "marker": "x", "linestyle": ":"},
    "manifold over NATS, list": {"color": "#ff7f0e", "marker": "x", "linestyle": ":"},
    "manifold over NATS, a send each": {"color": "#8c564b", "marker": "x", "linestyle": ":"},
    "nats-py, a publish each": {"color": "#1f77b4", "marker": "^"},
    "Channels over Redis pub/sub, group_send": {"color": "#2ca02c", "marker": "v"},
    "Channels over Redis pub/sub, a send each": {"color": "#2ca02c", "marker": "v", "linestyle": ":"},
    "asyncio, queue and task each": {"color": "#1f77b4", "marker": "^"},
    "Pykka threads, tell loop": {"color": "#2ca02c", "marker": "v"},
    "Pykka thread": {"color": "#2ca02c"},
}


def rate(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "deliveries_per_s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("deliveries per second")


def cost(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "cost_ns")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value / 1e3)))
    axes.set_ylabel("time per recipient")


def call(axes: Axes, data: Record) -> None:
    _by_contender(axes, data, "call_median_us")
    durations(axes)
    axes.set_ylabel("the sender's time of one call (median)")


def _by_contender(axes: Axes, data: Record, key: str) -> None:
    names = list(dict.fromkeys(row["contender"] for row in data["rows"]))
    for name in names:
        rows = [row for row in data["rows"] if row["contender"] == name]
        sizes, values = [row["recipients"] for row in rows], [row[key] for row in rows]
        axes.plot(sizes, values, label=name, **STYLES.get(name, {}))
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks(axes, sorted({row["recipients"] for row in data["rows"]}))
    axes.set_xlabel("recipients of one send")


def ticks(axes: Axes, sizes: list[int]) -> None:
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())


def distribution(axes: Axes, found: dict[str, float], label: str, style: dict[str, Any]) -> None:
    """Plot over 1 / (1 - share): each nine of the percentile takes the same room."""
    percents = [percent for percent in found if float(percent) < 100]
    places = [100 / (100 - float(percent)) for percent in percents]
    axes.plot(places, [found[percent] for percent in percents], label=label, **style)
    axes.set_xscale("log")
    marks = [0, 50, 90, 99, 99.9]
    axes.set_xticks([100 / (100 - mark) for mark in marks], [f"{mark:g}" for mark in marks])
    axes.xaxis.set_minor_locator(NullLocator())


def durations(axes: Axes) -> None:
    """Write microseconds on the upright axis as one reads them."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))


def _duration(us: float) -> str:
    for limit, factor, unit in ((1, 1e3, "ns"), (1e3, 1, "µs"), (1e6, 1e-3, "ms")):
        if us < limit:
            return f"{us * factor:g} {unit}"
    return f"{us / 1e6:g} s"
