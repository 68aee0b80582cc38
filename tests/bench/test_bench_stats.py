"""The bench's arithmetic, against values worked out by hand."""

from __future__ import annotations

import random

import pytest

from bench.stats import QUANTILES, beside, growth, percentile, quantiles, sends_for
from bench.turns import Burst, Lane, take_turns, warmed


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.1, 100), (100, 100)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    values = list(range(1, 101))
    random.Random(1).shuffle(values)
    assert percentile(values, percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], percent) for percent in (0, 50, 100)] == [7.0] * 3


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("percent", [-1, 101])
def test_percentile_out_of_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], percent)


def test_quantiles_rise_and_end_at_the_maximum() -> None:
    found = quantiles([random.Random(2).expovariate(1) for _ in range(1)] + [0.1, 5.0, 3.0])
    assert list(found) == [f"{percent:g}" for percent in QUANTILES]
    assert list(found.values()) == sorted(found.values())
    assert found["100"] == 5.0


def test_a_machine_that_slows_down_steadily_does_not_change_the_ratio() -> None:
    assert beside(120.0, 50.0, 80.0) == pytest.approx(0.5)


def test_growth_takes_the_floors_own_growth_out() -> None:
    floor_small, floor_large = 100.0, 50.0
    assert growth(80.0 / floor_small, 40.0 / floor_large) == pytest.approx(1.0)
    assert growth(80.0 / floor_small, 20.0 / floor_large) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("rate", "recipients", "expected"),
    [
        (1_000_000, 1_000, 100),  # 0.1 s at that rate
        (1_000, 100_000, 1),  # never none
        (1e9, 1_000, 500),  # bounded by what may be queued
        (1e9, 1_000_000, 1),
    ],
)
def test_a_burst_is_as_long_as_wanted_and_bounded(rate: float, recipients: int, expected: int) -> None:
    assert sends_for(rate, recipients, burst_s=0.1, deliveries_max=500_000) == expected


class Steady:
    """A contender of a known rate, which notes its turns."""

    recipients = 100

    def __init__(self, name: str, rate: float, turns: list[str]) -> None:
        self.name, self.rate, self.turns = name, rate, turns

    def burst(self, sends: int) -> Burst:
        self.turns.append(self.name)
        return Burst(self.rate, [self.recipients / self.rate] * sends)

    def close(self) -> None:
        self.turns.append(f"{self.name} closed")


def test_contenders_take_turns_each_between_two_of_the_floor() -> None:
    turns: list[str] = []
    floor, a, b = (Lane(Steady(*each, turns), sends=2) for each in (("floor", 100.0), ("a", 50.0), ("b", 20.0)))
    take_turns(floor, [a, b], rounds=3)
    assert " ".join(turns) == "floor a floor b floor floor b floor a floor floor a floor b floor"
    assert [lane.row()["ratio"] for lane in (floor, a, b)] == [1.0, pytest.approx(0.5), pytest.approx(0.2)]
    assert a.row()["calls"] == 6
    assert b.row()["cost_ns"] == pytest.approx(5e7)


def test_a_warmed_contender_knows_how_often_it_sends() -> None:
    assert warmed(Steady("a", 10_000.0, []), burst_s=0.5, burst_max=1_000_000).sends == 50
    assert warmed(Steady("a", 10_000.0, []), burst_s=0.5, burst_max=1_000).sends == 10
