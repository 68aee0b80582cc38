"""`pace`: when the lines of a log are due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.guild_presence.logs.pace import batches, due_minutes
from tests.examples.sample_logs import logs


def stamped(*times: str) -> list[str]:
    return [f"[{time}] <ann> hi" if time else "=== ann has joined #x" for time in times]


@pytest.mark.parametrize(
    ("times", "due"),
    [
        (["09:00", "09:00", "09:02"], [0, 0, 2]),
        (["", "09:00", "", "09:05", ""], [0, 0, 0, 5, 5]),
        (["", ""], [0, 0]),
        (["23:58", "00:03", "00:04"], [0, 5, 6]),
        (["22:00", "06:00"], [0, 480]),
        (["11:58", "00:03"], [0, 5]),
        (["12:59", "01:00"], [0, 1]),
        (["09:00", "08:59", "09:00"], [0, 0, 1]),
        (["14:30", "13:31", "13:35"], [0, 0, 4]),
    ],
)
def test_minutes_from_the_start(times: list[str], due: list[int]) -> None:
    assert list(due_minutes(stamped(*times))) == due


def test_actions_keep_the_time_too() -> None:
    assert list(due_minutes(["[09:00] <ann> hi", "[09:07]  * ann waves", ""])) == [0, 7, 7]


def test_paced_batches() -> None:
    lines = stamped("09:00", "09:00", "09:00", "", "09:01")
    paced = [(due, len(batch)) for due, batch in batches(lines, 3, speed=120)]
    assert paced == [(0, 3), (0, 1), (0.5, 1)]


def test_without_a_clock_all_is_due_at_once() -> None:
    assert list(batches(["a", "b", "c"], 2, speed=None)) == [(0, ["a", "b"]), (0, ["c"])]


@given(logs, st.integers(1, 9), st.sampled_from([None, 0.5, 1e9]))
def test_batches_are_the_whole_log_in_order(lines: list[str], size: int, speed: float | None) -> None:
    cut = list(batches(lines, size, speed))
    assert [line for _, batch in cut for line in batch] == lines
    assert all(1 <= len(batch) <= size for _, batch in cut)
    assert [due for due, _ in cut] == sorted(due for due, _ in cut)
