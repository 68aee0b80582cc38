"""Figures out of samples: medians, percentiles, and ratios that survive a machine whose speed drifts."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["QUANTILES", "beside", "growth", "median", "percentile", "quantiles", "sends_for"]

QUANTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 100)


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the smallest value that at least `percent` per cent of `values` do not exceed (nearest rank)."""
    if not values:
        msg = "a percentile of no values"
        raise ValueError(msg)
    if not 0 <= percent <= 100:
        msg = f"a percentile lies between 0 and 100, not at {percent}"
        raise ValueError(msg)
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Give the distribution of `values` in few numbers: the percentile at each of `QUANTILES`."""
    ordered = sorted(values)
    return {f"{percent:g}": percentile(ordered, percent) for percent in QUANTILES}


def beside(before: float, value: float, after: float) -> float:
    """Give the ratio of `value` to a floor that was measured directly before and directly after it."""
    return 2 * value / (before + after)


def growth(ratio_small: float, ratio_large: float) -> float:
    """Give how the cost per recipient grows from a small set to a large one, the floor's own taken out.

    Both arguments are rates as a share of the floor's rate at the same size.
    """
    return ratio_small / ratio_large


def sends_for(rate: float, recipients: int, burst_s: float, deliveries_max: int) -> int:
    """Give how many sends to `recipients` last `burst_s` at `rate` deliveries/s: at least one."""
    most = max(deliveries_max // recipients, 1)
    return min(max(round(rate * burst_s / recipients), 1), most)
