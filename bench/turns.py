"""Contenders in turn: each burst stands between two of the floor, so that both see the same speed of the machine."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.stats import beside, median, percentile, sends_for

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Burst", "Bursts", "Lane", "take_turns", "warmed"]


@dataclass(frozen=True)
class Burst:
    """One measurement: deliveries per second until all were handled, and the seconds of each sending call."""

    rate: float
    calls: list[float] = field(repr=False)


class Bursts(Protocol):
    """What can be measured in turn with others."""

    name: str
    recipients: int

    def burst(self, sends: int) -> Burst:
        """Measure `sends` sends in a row to all recipients."""

    def close(self) -> None:
        """Let go of the recipients."""


@dataclass
class Lane:
    """A contender at one size, how often it sends in a burst, and what was measured so far."""

    contender: Bursts
    sends: int
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    def burst(self) -> float:
        """Measure one burst and give its rate; what the collector has to do is done before."""
        gc.collect()
        burst = self.contender.burst(self.sends)
        self.rates.append(burst.rate)
        self.calls.extend(burst.calls)
        return burst.rate

    def row(self) -> dict[str, Any]:
        """Give the figures of all bursts."""
        rate = median(self.rates)
        return {
            "contender": self.contender.name,
            "recipients": self.contender.recipients,
            "deliveries_per_s": rate,
            "cost_ns": 1e9 / rate,
            "ratio": median(self.ratios) if self.ratios else 1.0,
            "ratios": self.ratios,
            "call_median_us": median(self.calls) * 1e6,
            "call_p99_us": percentile(self.calls, 99) * 1e6,
            "calls": len(self.calls),
        }


def warmed(contender: Bursts, burst_s: float, burst_max: int) -> Lane:
    """Warm a contender up, and find how many sends last `burst_s`; at most `burst_max` deliveries."""
    contender.burst(1)
    rate = contender.burst(2).rate
    for _ in range(2):
        rate = contender.burst(sends_for(rate, contender.recipients, burst_s, burst_max)).rate
    return Lane(contender, sends_for(rate, contender.recipients, burst_s, burst_max))


def take_turns(floor: Lane, lanes: Sequence[Lane], rounds: int) -> None:
    """Measure so many rounds, each begun by another contender."""
    for turn in range(rounds):
        first = turn % len(lanes)
        _round(floor, [*lanes[first:], *lanes[:first]])


def _round(floor: Lane, lanes: Sequence[Lane]) -> None:
    before = floor.burst()
    for lane in lanes:
        rate = lane.burst()
        after = floor.burst()
        lane.ratios.append(beside(before, rate, after))
        before = after
