"""What the bench says about a result: met, not met, or not measured, and which old sections it keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.figures import Figure, figures
from bench.report import merged, write

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {"cpus": 2, "python": "3.11.7", "date": "2025-01-01"}


@pytest.mark.parametrize(
    ("at", "measured", "quiet", "verdict"),
    [
        ("<=", 5.0, None, "met"),
        ("<=", 5.1, None, "NOT met"),
        ("<=", 5.1, 5.0, "met when quiet"),
        ("<=", 5.2, 5.1, "NOT met"),
        (">=", 5.0, None, "met"),
        (">=", 4.9, None, "NOT met"),
        (">=", None, None, "not measured"),
    ],
)
def test_the_verdict_on_a_figure(at: str, measured: float | None, quiet: float | None, verdict: str) -> None:
    assert Figure("x", at, 5.0, "s", measured, quiet).verdict == verdict


def test_an_empty_result_measures_nothing() -> None:
    assert {figure.measured for figure in figures({})} == {None}


def test_figures_are_read_at_their_own_sizes_only() -> None:
    rows = [
        {"contender": "manifold, list", "recipients": 1_000, "ratio": 0.9},
        {"contender": "manifold, list", "recipients": 10_000, "ratio": 0.4},
    ]
    found = {figure.name: figure.measured for figure in figures({"throughput": {"rows": rows}})}
    assert found["10,000 recipients, list sends"] == pytest.approx(40)
    assert found["10,000 recipients, audience"] is None


def test_busy_latency_is_told_in_milliseconds() -> None:
    record = {"latency": {"busy": {"manifold": {"99": 2_500.0}}}}
    found = {figure.name: figure.measured for figure in figures(record)}
    assert found["latency p99, busy node"] == pytest.approx(2.5)


def test_sections_of_the_same_kind_of_machine_are_kept() -> None:
    old = {"machine": MACHINE, "tasks": "old", "memory": "old"}
    new = {"machine": {**MACHINE, "date": "2025-02-02"}, "memory": "new"}
    assert merged(old, new) == {**new, "tasks": "old"}


def test_sections_of_another_machine_are_dropped() -> None:
    old: dict[str, Any] = {"machine": {**MACHINE, "cpus": 64}, "tasks": "old"}
    new = {"machine": MACHINE, "memory": "new"}
    assert merged(old, new) == new


def test_write_makes_the_folder_and_merges(tmp_path: Path) -> None:
    path = tmp_path / "results" / "local.json"
    write({"machine": MACHINE, "tasks": 1}, path)
    whole = write({"machine": MACHINE, "memory": 2}, path)
    assert whole == json.loads(path.read_text()) == {"machine": MACHINE, "tasks": 1, "memory": 2}
