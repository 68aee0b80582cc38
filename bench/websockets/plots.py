"""The plots of `bench websockets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.axes import STYLES, distribution, durations
from bench.websockets.sides import CHANNELS, LAYER, MANIFOLD, SOCKETIO

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bench.report import Record

__all__ = ["PLOTS"]

_STYLES: dict[str, dict[str, Any]] = {
    MANIFOLD: STYLES["manifold"],
    CHANNELS: {"color": "#2ca02c"},
    LAYER: {"color": "#2ca02c", "linestyle": ":"},
    SOCKETIO: {"color": "#1f77b4"},
}


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


PLOTS = (
    ("rates", "messages", "Deliveries per second to real WebSockets", _rates),
    ("latency", "messages", "Latency at a load that all can carry", _latency),
)
