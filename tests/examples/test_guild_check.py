"""`check`: every kind of fault is found, and nothing is called a fault that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.guild_presence.check import Check


def tally_of(arrived: list[int], last: int, first: int = 1) -> tuple[int, int, int, int]:
    check = Check(first)
    for seq in arrived:
        check.see(seq)
    return check.close(last)


@pytest.mark.parametrize(
    ("arrived", "received", "lost", "duplicated", "reordered"),
    [
        ([1, 2, 3, 4], 4, 0, 0, 0),
        ([1, 2, 4], 3, 1, 0, 0),
        ([2, 3, 4], 3, 1, 0, 0),
        ([1, 2], 2, 2, 0, 0),
        ([], 0, 4, 0, 0),
        ([4], 1, 3, 0, 0),
        ([1, 2, 2, 3, 4], 5, 0, 1, 0),
        ([1, 2, 3, 4, 4, 4], 6, 0, 2, 0),
        ([1, 3, 2, 4], 4, 0, 0, 1),
        ([4, 3, 2, 1], 4, 0, 0, 3),
        ([1, 3, 2, 2, 4], 5, 0, 1, 1),
        ([0, 1, 2, 3, 4], 5, 0, 1, 0),
        ([1, 4, 2, 4], 4, 1, 1, 1),
    ],
)
def test_faults(arrived: list[int], received: int, lost: int, duplicated: int, reordered: int) -> None:
    assert tally_of(arrived, last=4) == (received, lost, duplicated, reordered)


def test_a_session_that_came_late_owes_only_its_own_events() -> None:
    assert tally_of([7, 8], first=7, last=8) == (2, 0, 0, 0)
    assert tally_of([], first=7, last=6) == (0, 0, 0, 0)


@given(st.integers(1, 9), st.integers(0, 9), st.data())
def test_whatever_arrives_the_sum_is_right(first: int, due: int, data: st.DataObject) -> None:
    last = first + due - 1
    arrived = data.draw(st.lists(st.integers(first, last), max_size=20) if due else st.just([]))
    received, lost, duplicated, reordered = tally_of(arrived, first=first, last=last)
    assert received == len(arrived)
    assert lost == due - len(set(arrived))
    assert duplicated == len(arrived) - len(set(arrived))
    assert (reordered == 0) == (list(dict.fromkeys(arrived)) == sorted(set(arrived)))
