"""What `bench ring` says of a result, and that what it measures is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import ring
from bench.__main__ import main
from bench.plan import RING_SECTIONS
from manifold import Ring

RECORD = {
    "lookups": {
        "nodes": 100,
        "replicas": 512,
        "keys": 10,
        "rows": [
            {"contender": "hash % n (floor)", "ns": 100.0, "quiet_ns": 90.0, "times": 1.0},
            {"contender": "manifold, find", "ns": 1_200.0, "quiet_ns": 400.0, "times": 4.0},
        ],
        "bulk": {"keys": 5_000_000, "s": 2.5, "quiet_s": 1.0},
    },
    "building": {"nodes": 100, "replicas": 512, "works": {"manifold, Ring(nodes)": {"s": 0.06, "quiet_s": 0.055}}},
    "balance": {
        "nodes": 100,
        "crowds": 3,
        "exact": {"256": [6.0, 6.2, 6.4], "512": [4.0, 4.5, 5.5]},
        "keys": 10,
        "counted": {"hash % n (floor)": 1.0},
    },
    "moved": {
        "keys": 10,
        "sizes": [2, 3],
        "moved": {"hash % n": [0.7, 0.8], "manifold.Ring": [0.4, 0.25]},
    },
}


def found(record):
    return {figure.name: figure for figure in ring.figures(record)}


def test_an_empty_result_measures_nothing():
    assert {figure.measured for figure in ring.figures({})} == {None}


def test_each_figure_is_read_where_it_stands():
    measured = {name: (figure.measured, figure.verdict) for name, figure in found(RECORD).items()}
    assert measured == {
        "a look-up, 100 nodes x 512": (1_200, "met when quiet"),
        "5,000,000 look-ups in one call": (2.5, "met"),
        "building 100 nodes x 512": (pytest.approx(60), "NOT met"),
        "loads, 512 replicas: standard deviation": (4.5, "met"),
        "keys moved against 1/(n+1), mean": (pytest.approx(1.1), "met"),
    }


def test_a_smaller_run_judges_no_figure_of_the_large_one():
    small = {name: {**data, "nodes": 10} for name, data in RECORD.items() if name != "moved"}
    assert {figure.verdict for figure in ring.figures(small)} == {"not measured"}


@pytest.mark.parametrize("section", RING_SECTIONS)
def test_a_smoke_run_writes_what_the_tables_and_plots_show(section, tmp_path, capsys):
    assert main(["ring", "--quick", "--only", section, "--rounds", "1", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "Figures to reach" in said.out
    record = json.loads((tmp_path / "ring.json").read_text())
    assert set(record) == {"machine", "versions", section}
    drawn = {name for name, of, _, _ in ring.PLOTS if of == section}
    assert {path.name for path in Path(tmp_path).glob("*.png")} == {f"ring-{name}.png" for name in drawn}


def test_every_way_gives_each_key_one_of_the_nodes_and_both_of_the_ring_the_same():
    nodes, keys = ring._nodes(5), ring._keys(1_000)
    answers = {name: way(keys) for name, way in ring._ways(nodes).items()}
    assert all(set(found) == set(nodes) and len(found) == len(keys) for found in answers.values())
    assert answers["manifold, find"] == answers["manifold, find_all"] == Ring(nodes).find_all(keys)


def test_moved_keys_are_those_whose_node_differs():
    data = ring.measure_moved(SimpleNamespace(moved_keys=500, nodes_max=3))
    keys, nodes = ring._keys(500), ring._nodes(4)
    three, four = Ring(nodes[:3]), Ring(nodes)
    moved = [key for key in keys if three.find(key) != four.find(key)]
    assert data["sizes"] == [2, 3]
    assert data["moved"]["manifold.Ring"][1] == len(moved) / 500
    assert data["moved"]["hash % n"][1] > 0.6


def test_the_deviation_is_that_of_the_loads():
    deviation = ring._deviation(Ring(["a", "b"]))
    share = Ring("a").plan(add="b").share
    assert deviation == pytest.approx(100 * abs(2 * share - 1))
    assert ring._counted(["a"] * 3 + ["b"], 2) == pytest.approx(50)
