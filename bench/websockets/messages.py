"""Measures messages to all sockets of a guild: as many as go, and at a load that all contenders can carry."""

from __future__ import annotations

from contextlib import ExitStack
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bench.plan import Unmeasurable
from bench.stats import median, percentile, quantiles
from bench.websockets.sides import MANIFOLD, make_sides, why_no_sockets

if TYPE_CHECKING:
    from bench.plan import SocketsPlan
    from bench.websockets.sides import Side

__all__ = ["measure"]

_ERRORS = ("lost", "doubled", "disordered", "wrong")
_PERCENTS = (50, 99)
# Whose version explains a figure, by their name where packages are kept.
_PACKAGES = {
    "uvicorn": "uvicorn",
    "websockets": "websockets",
    "channels": "channels",
    "channels_redis": "channels_redis",
    "python-socketio": "socketio",
    "redis": "redis",
}

Found = dict[str, list[dict[str, Any]]]


def measure(plan: SocketsPlan) -> dict[str, Any]:
    """Measure all that can be started here, in turn; say of the rest why it cannot. Raises Unmeasurable."""
    if reason := why_no_sockets(plan.sockets):
        raise Unmeasurable(reason)
    with ExitStack() as stack:
        sides, skipped = make_sides(plan, stack)
        floods = _floods(plan, sides)
        slowest = min(median([each["deliveries_per_s"] for each in found]) for found in floods.values())
        load = plan.share * slowest
        paces = _paces(plan, sides, load)
    return {
        **{name: getattr(plan, name) for name in ("sockets", "guilds", "gateways", "guild_nodes", "window", "seconds")},
        "versions": {name: metadata.version(name) for name, module in _PACKAGES.items() if find_spec(module)},
        "skipped": skipped,
        "flood": [_flood_row(name, found) for name, found in floods.items()],
        "load_per_s": load,
        "pace": [_pace_row(name, found) for name, found in paces.items()],
    }


def _floods(plan: SocketsPlan, sides: list[Side]) -> Found:
    found: Found = {side.name: [] for side in sides}
    for turn in range(plan.rounds):
        for side in _from(sides, turn):
            flood = side.measure("flood", warm_s=plan.warm_s, seconds=plan.seconds, window=plan.window)
            found[side.name].append(flood)
    return found


def _paces(plan: SocketsPlan, sides: list[Side], deliveries_per_s: float) -> Found:
    per_s = deliveries_per_s / (plan.sockets / plan.guilds)
    turns = [(side.name, side, per_s) for side in sides]
    turns.append((f"{MANIFOLD}, {plan.times} x that", sides[0], plan.times * per_s))
    found: Found = {name: [] for name, _, _ in turns}
    for turn in range(plan.rounds):
        for name, side, rate in _from(turns, turn):
            found[name].append(side.measure("pace", per_s=rate, seconds=plan.seconds))
    return found


def _from(whole: list[Any], turn: int) -> list[Any]:
    first = turn % len(whole)
    return [*whole[first:], *whole[:first]]


def _flood_row(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = [each["deliveries_per_s"] for each in found]
    return {"contender": name, "deliveries_per_s": median(rates), "rates": rates, **_common(found)}


def _pace_row(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [[1e6 * second for second in each["seconds"]] for each in found]
    rounds = {str(percent): [percentile(us, percent) for us in seconds if us] for percent in _PERCENTS}
    return {
        "contender": name,
        "us": quantiles([us for each in seconds for us in each]),
        "us_rounds": rounds,
        **_common(found),
    }


def _common(found: list[dict[str, Any]]) -> dict[str, Any]:
    cpu_us = {name: median([each["cpu_us"][name] for each in found]) for name in found[0]["cpu_us"]}
    errors = {name: sum(each[name] for each in found) for name in _ERRORS}
    return {"sent": sum(each["sent"] for each in found), **errors, "cpu_us": cpu_us}
