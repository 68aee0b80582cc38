"""Recipients are grouped by node in order; slots are dealt evenly to workers, and few of them move at a resize."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold import PID
from manifold.core.hashing import SLOT_ORDER, SLOTS
from manifold.core.routing import assign, group, reassign

WORKERS = st.integers(1, 1024)
PIDS = st.lists(st.builds(PID, st.sampled_from(["north", "south", "west"]), st.integers(0, 9)))


def loads(table, workers):
    counts = Counter(table)
    assert set(counts) <= set(range(workers))
    return [counts[worker] for worker in range(workers)]


def assert_even(table, workers):
    assert len(table) == SLOTS
    counts = loads(table, workers)
    assert max(counts) - min(counts) <= 1


def moved(before, after):
    return [(old, new) for old, new in zip(before, after, strict=True) if old != new]


def after_resizes(sizes):
    table = assign(sizes[0])
    for size in sizes[1:]:
        table = reassign(table, size)
    return table


@given(PIDS)
def test_grouping_keeps_order_and_doubles(pids):
    groups = group(pids)
    assert groups == {
        node: [pid for pid in pids if pid.node == node] for node in dict.fromkeys(pid.node for pid in pids)
    }


def test_grouping_nobody_gives_no_groups():
    assert group([]) == {}


@given(WORKERS)
def test_slots_are_dealt_evenly(workers):
    assert_even(assign(workers), workers)


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 64])
def test_actors_started_one_after_the_other_fall_to_different_workers(workers):
    table = assign(workers)
    turns = [table[slot] for slot in SLOT_ORDER[: SLOTS - SLOTS % workers]]
    for start in range(0, len(turns), workers):
        assert sorted(turns[start : start + workers]) == list(range(workers))


@given(WORKERS)
def test_the_same_number_of_workers_moves_nothing(workers):
    assert reassign(assign(workers), workers) == assign(workers)


@given(st.lists(WORKERS, min_size=1, max_size=4))
@settings(max_examples=50)
def test_chains_of_resizes_stay_even(sizes):
    assert_even(after_resizes(sizes), sizes[-1])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_one_more_worker_takes_its_share_and_nothing_else_moves(sizes):
    before = after_resizes(sizes)
    workers = sizes[-1]
    moves = moved(before, reassign(before, workers + 1))
    assert {new for _, new in moves} == {workers}
    assert SLOTS // (workers + 1) <= len(moves) <= SLOTS // (workers + 1) + 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_one_worker_less_moves_only_what_the_last_one_had(sizes):
    before = after_resizes([*sizes, sizes[-1] + 1])
    workers = sizes[-1]
    moves = moved(before, reassign(before, workers))
    assert {old for old, _ in moves} == {workers}
    assert len(moves) == before.count(workers)


@given(st.lists(WORKERS, min_size=1, max_size=3), WORKERS)
@settings(max_examples=50)
def test_any_resize_moves_no_slot_between_workers_that_stay_and_need_nothing(sizes, workers):
    before = after_resizes(sizes)
    moves = moved(before, reassign(before, workers))
    if workers >= sizes[-1]:
        assert all(new >= sizes[-1] for _, new in moves)
    else:
        assert all(old >= workers for old, _ in moves)


@pytest.mark.parametrize("workers", [2, 3, 4, 7, 8, 15])
def test_after_a_resize_actors_started_one_after_the_other_still_fall_to_different_workers(workers):
    table = reassign(assign(workers), workers + 1)
    runs = [len(list(run)) for _, run in itertools.groupby(table[slot] for slot in SLOT_ORDER)]
    assert max(runs) <= 2


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 8, 15])
def test_a_resize_gives_a_new_table_and_leaves_the_old_one(workers):
    before = assign(workers)
    kept = tuple(before)
    after = reassign(before, workers + 1)
    assert before == kept
    assert after != before
    hash(after)
