"""What the cluster is doing: each node's `Pulse` tells the one `Overview` once a second, and that tells who looks."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

import manifold
from examples.guild_presence.app.tally import guilds_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OVERVIEW", "PULSE", "Overview", "Pulse", "start_pulse"]

OVERVIEW = "overview"
"""The name of the actor that knows all."""
PULSE = "pulse/{}"
"""The name of a node's pulse, by the name of the node."""
PULSE_S = 1.0
FORGET_S = 10.0
"""How long a node that died is still shown."""
GUILDS_MAX = 50
DEGREES = 360
_ROLES = ("gateway", "guild")


class Pulse(manifold.Actor):
    """Tells how a node is, once a second, and its counts to whoever asks."""

    def __init__(self, role: str, url: str | None = None, sessions: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self._about = {"role": role, "url": url, "pid": os.getpid()}
        self._sessions = sessions
        self._sent = 0

    def on_start(self) -> None:
        """Begin."""
        self._beat()

    def on_stop(self) -> None:
        """Leave no timer behind."""
        self._next.cancel()

    def on_receive(self, message: dict[str, Any]) -> Any:
        """Beat; or answer {"op": "counts"} with the node's counts."""
        if message["op"] == "counts":
            return dict(self.node.stats())
        return self._beat()

    def _beat(self) -> None:
        stats, guilds = self.node.stats(), guilds_here.read()
        figures = {
            "delivered": stats.delivered,
            "events": guilds.events,
            "event_handoffs": stats.handoffs - guilds.others - self._sent,
        }
        shown = {"sessions": self._sessions(), "guilds": guilds.guilds[:GUILDS_MAX], "guild_count": len(guilds.guilds)}
        beat = {"name": self.node.name, "id": self.node.id, **self._about, **shown, "figures": figures}
        with suppress(manifold.Overloaded):
            manifold.send(OVERVIEW, {"op": "beat", "beat": beat})
            self._sent += 1
        self._next = manifold.send_after(PULSE_S, self.pid, {"op": "tick"})


async def start_pulse(node: manifold.Node, *about: Any) -> None:
    """Start a node's pulse."""
    await manifold.register(PULSE.format(node.name), node.spawn(Pulse, *about))


@dataclass
class _Seen:
    """A node, as its last two beats show it."""

    beat: dict[str, Any]
    at: float
    before: dict[str, Any]
    before_at: float
    is_stopping: bool = False

    def rates(self, up: set[str]) -> dict[str, float]:
        """Give how much of each figure came in a second; of a node that is not up nothing comes."""
        figures, before, passed = self.beat["figures"], self.before["figures"], self.at - self.before_at
        moves = passed > 0 and self.beat["id"] in up
        return {name: (figures[name] - before[name]) / passed if moves else 0.0 for name in figures}


class Overview(manifold.Actor):
    """Collects the beats; sends what they come to to the sessions that look, as an event like any other."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, _Seen] = {}

    def on_start(self) -> None:
        """Begin."""
        self._looking = manifold.Audience()
        self._tick()

    def on_stop(self) -> None:
        """Give the audience back, and leave no timer behind."""
        self._looking.close()
        self._next.cancel()

    def on_receive(self, message: dict[str, Any]) -> None:
        """Take a beat, or a session that looks or looks away, or word that a node is being stopped; or tell all."""
        op = message["op"]
        if op == "beat":
            self._take(message["beat"])
        elif op == "overview":
            (self._looking.add if message["on"] else self._looking.discard)(message["session"])
        elif op == "stopping":
            if message["name"] in self._seen:
                self._seen[message["name"]].is_stopping = True
        else:
            self._tick()

    def _take(self, beat: dict[str, Any]) -> None:
        now = time.monotonic()
        last = self._seen.get(beat["name"])
        if last is None or last.beat["id"] != beat["id"]:
            self._seen[beat["name"]] = _Seen(beat, now, beat, now)
        else:
            last.before, last.before_at, last.beat, last.at = last.beat, last.at, beat, now

    def _tick(self) -> None:
        now = time.monotonic()
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen.at < FORGET_S}
        if self._looking:
            with suppress(manifold.Overloaded):
                manifold.send(self._looking, self._overview())
        self._next = manifold.send_after(PULSE_S, self.pid, {"op": "tick"})

    def _overview(self) -> dict[str, Any]:
        up = set(self.node.nodes())
        seen = [(each, each.rates(up)) for each in self._seen.values()]
        nodes = [_shown(each, rates, is_up=each.beat["id"] in up) for each, rates in seen]
        rings = {role: _Drawn(self.node.ring(role)) for role in _ROLES}
        deliveries, events, handoffs = (
            sum(rates[figure] for each, rates in seen if each.beat["role"] == role)
            for figure, role in (("delivered", "gateway"), ("events", "guild"), ("event_handoffs", "guild"))
        )
        return {
            "t": "OVERVIEW",
            "nodes": sorted(nodes, key=lambda node: (node["role"], len(node["name"]), node["name"])),
            "deliveries_per_s": deliveries,
            "events_per_s": events,
            "handoffs_per_event": _ratio(handoffs, events),
            "rings": {role: ring.shares for role, ring in rings.items()},
            "arcs": {role: ring.arcs for role, ring in rings.items()},
        }


def _shown(seen: _Seen, rates: dict[str, float], *, is_up: bool) -> dict[str, Any]:
    state = ("stopping" if seen.is_stopping else "up") if is_up else "down"
    return {
        **{name: seen.beat[name] for name in ("name", "role", "url", "pid")},
        "state": state,
        **{
            name: seen.beat[name] if is_up else type(seen.beat[name])()
            for name in ("sessions", "guilds", "guild_count")
        },
        "deliveries_per_s": rates["delivered"],
        "events_per_s": rates["events"],
        "handoffs_per_event": _ratio(rates["event_handoffs"], rates["events"]),
    }


def _ratio(handoffs: float, events: float) -> float | None:
    return handoffs / events if events else None


# The ring, as a circle.


def _samples() -> list[str]:
    """Give a key for each degree of the ring: a key's place is its hash."""
    keys: dict[int, str] = {}
    for key in map(str, count()):
        keys.setdefault(xxh3_64_intdigest(key.encode()) * DEGREES >> 64, key)
        if len(keys) == DEGREES:
            return [keys[degree] for degree in range(DEGREES)]
    raise AssertionError


_SAMPLES = _samples()
_KEYS = [f"key-{number}" for number in range(4096)]


class _Drawn:
    """A ring: who has which share of the keys, and who owns each degree."""

    def __init__(self, ring: manifold.Ring) -> None:
        names = sorted(ring.nodes)
        owners = ring.find_all(_KEYS) if names else []
        self.shares = [[name, owners.count(name) / len(_KEYS)] for name in names]
        self.arcs = [names.index(owner) for owner in ring.find_all(_SAMPLES)] if names else []
