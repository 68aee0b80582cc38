"""`check`: every kind of fault is found, and nothing is called a fault that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.guild_presence.logs.check import NOTHING, Check, Tally, added


def tally_of(arrived: list[int], last: int, first: int = 1) -> Tally:
    check = Check()
    for seq in arrived:
        check.see(seq)
    return check.close(first, last)


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
        ([2, 1, 3, 4], 4, 0, 0, 1),
        ([3, 4, 1], 3, 1, 0, 1),
        ([1, 4, 2, 4], 4, 1, 1, 1),
        ([1, 2, 3, 4, 5], 5, 0, 1, 0),
        ([1, 2, 3, 6], 4, 1, 1, 0),
        ([5, 6], 2, 4, 2, 0),
    ],
)
def test_faults(arrived: list[int], received: int, lost: int, duplicated: int, reordered: int) -> None:
    assert tally_of(arrived, last=4) == (4, received, lost, duplicated, reordered)


def test_a_session_that_came_late_owes_only_its_own_events() -> None:
    assert tally_of([7, 8], first=7, last=8) == (2, 2, 0, 0, 0)
    assert tally_of([], first=7, last=6) == NOTHING


def test_what_came_before_its_time_makes_up_for_nothing() -> None:
    assert tally_of([6, 7], first=7, last=8) == (2, 2, 1, 1, 0)
    assert tally_of([6, 8], first=7, last=8) == (2, 2, 1, 1, 0)
    assert tally_of([3, 4], first=7, last=8) == (2, 2, 2, 2, 0)


def test_tallies_add_up() -> None:
    assert added((1, 2, 3, 4, 5), (10, 20, 30, 40, 50)) == (11, 22, 33, 44, 55)


@given(st.integers(1, 9), st.integers(0, 9), st.data())
def test_whatever_arrives_the_sum_is_right(first: int, due: int, data: st.DataObject) -> None:
    last = first + due - 1
    arrived = data.draw(st.lists(st.integers(first, last), max_size=20) if due else st.just([]))
    told, received, lost, duplicated, reordered = tally_of(arrived, first=first, last=last)
    assert told == due
    assert received == len(arrived)
    assert lost == due - len(set(arrived))
    assert duplicated == len(arrived) - len(set(arrived))
    assert (reordered == 0) == (list(dict.fromkeys(arrived)) == sorted(set(arrived)))


@given(st.integers(1, 9), st.integers(0, 9), st.lists(st.integers(1, 25), max_size=20))
def test_what_was_not_due_is_no_delivery(first: int, due: int, arrived: list[int]) -> None:
    came = set(arrived) & set(range(first, first + due))
    _, received, lost, duplicated, _ = tally_of(arrived, first=first, last=first + due - 1)
    assert lost == due - len(came)
    assert received - duplicated == len(came)
