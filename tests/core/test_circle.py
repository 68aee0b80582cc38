"""Points on a circle: whoever has the first point at or after a hash owns it, in whatever way the circle came about."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.core.circle import SPACE, Circle, moves

# Few values, near each other and at both ends, so that points coincide and lie side by side.
FEW = st.sampled_from([0, 1, 2, 3, 2**32, 2**63 - 1, 2**63, 2**63 + 1, SPACE - 2, SPACE - 1])
NUMBERS = FEW | st.integers(0, SPACE - 1)
HASHES = st.dictionaries(st.sampled_from("abcde"), st.lists(NUMBERS, min_size=1, max_size=12), max_size=5)
SOME_HASHES = HASHES.filter(bool)


def pairs(hashes):
    return sorted((number, owner) for owner, numbers in hashes.items() for number in numbers)


def owner_by_definition(hashes, number):
    points = pairs(hashes)
    return next((owner for point, owner in points if point >= number), points[0][1])


def near(hashes, numbers=()):
    """Every point, its neighbours, both ends, and `numbers`."""
    points = [point for point, _ in pairs(hashes)]
    around = {(point + step) % SPACE for point in points for step in (-1, 0, 1)}
    return sorted({0, SPACE - 1, *around, *numbers})


def same(one, two):
    return (one._points, one._owners, one._starts, one._shift) == (two._points, two._owners, two._starts, two._shift)


@given(SOME_HASHES, st.lists(NUMBERS))
def test_the_owner_is_that_of_the_first_point_at_or_after_the_hash(hashes, numbers):
    circle = Circle.of(hashes)
    asked = near(hashes, numbers)
    expected = [owner_by_definition(hashes, number) for number in asked]
    assert [circle.owner(number) for number in asked] == expected
    assert circle.owners(asked) == expected
    assert circle.owners(iter(asked)) == expected


@pytest.mark.parametrize(
    ("number", "owner"), [(0, "a"), (10, "a"), (11, "b"), (20, "b"), (21, "a"), (2**40, "a"), (SPACE - 1, "a")]
)
def test_a_point_owns_what_lies_before_it_and_the_first_one_what_lies_after_the_last(number, owner):
    assert Circle.of({"a": [10], "b": [20]}).owner(number) == owner


def test_of_points_that_coincide_that_of_the_owner_that_sorts_first_counts_until_it_leaves():
    hashes = {"c": [7], "a": [7, 20], "b": [7]}
    circle = Circle.of(hashes)
    assert circle.owner(5) == "a"
    assert circle.removed("a").owner(5) == "b"
    assert circle.removed("a").removed("b").owner(5) == "c"
    assert circle.removed("a").added("a", [7]).owner(5) == "a"


@pytest.mark.parametrize("last", [SPACE - 2, SPACE - 1])
def test_a_point_at_the_very_end_owns_what_lies_before_it(last):
    circle = Circle.of({"b": [5], "a": [last]})
    assert [circle.owner(number) for number in (0, 5, 6, last)] == ["b", "b", "a", "a"]
    assert circle.owner(SPACE - 1) == ("a" if last == SPACE - 1 else "b")


@given(SOME_HASHES, NUMBERS)
def test_clockwise_gives_the_owner_of_every_point_once_from_the_hash_on(hashes, number):
    points = pairs(hashes)
    after = [owner for point, owner in points if point >= number]
    expected = after + [owner for point, owner in points if point < number]
    assert list(Circle.of(hashes).clockwise(number)) == expected


@given(HASHES)
def test_adding_owners_one_by_one_gives_the_same_circle_as_all_at_once(hashes):
    circle = Circle.of({})
    for owner, numbers in hashes.items():
        circle = circle.added(owner, numbers)
    assert same(circle, Circle.of(hashes))


@given(SOME_HASHES, st.data())
def test_removing_an_owner_gives_the_same_circle_as_never_having_had_it(hashes, data):
    owner = data.draw(st.sampled_from(sorted(hashes)))
    rest = {other: numbers for other, numbers in hashes.items() if other != owner}
    assert same(Circle.of(hashes).removed(owner), Circle.of(rest))


@given(SOME_HASHES)
def test_adding_and_removing_leave_the_circle_as_it_was(hashes):
    circle, before = Circle.of(hashes), Circle.of(hashes)
    circle.added("z", [3, 2**63])
    circle.removed(min(hashes))
    assert same(circle, before)


def moves_by_definition(before, after):
    """Between two neighbouring points of either circle nothing changes, so one hash tells of all."""
    points = sorted({point for point, _ in [*pairs(before), *pairs(after)]})
    moved = Counter()
    for point, last in zip(points, [points[-1] - SPACE, *points[:-1]]) if points else ():
        old = owner_by_definition(before, point) if before else None
        new = owner_by_definition(after, point) if after else None
        if old != new:
            moved[old, new] += point - last
    return moved


@given(HASHES, HASHES)
def test_moves_counts_every_hash_that_changes_hands(before, after):
    found = moves(Circle.of(before), Circle.of(after))
    assert found == moves_by_definition(before, after)
    assert found == {(old, new): count for (new, old), count in moves(Circle.of(after), Circle.of(before)).items()}


@given(SOME_HASHES)
def test_from_nobody_to_somebody_every_hash_moves(hashes):
    assert moves(Circle.of({}), Circle.of(hashes)).total() == SPACE
    assert moves(Circle.of(hashes), Circle.of({})).total() == SPACE
    assert not moves(Circle.of(hashes), Circle.of(hashes))
    assert not moves(Circle.of({}), Circle.of({}))


def test_moves_are_arcs():
    before, after = Circle.of({"a": [10], "b": [20]}), Circle.of({"a": [10], "b": [20], "c": [14]})
    assert moves(before, after) == {("b", "c"): 4}
    assert moves(after, before.removed("b")) == {("b", "a"): 6, ("c", "a"): 4}


def test_nobody_owns_anything_on_a_circle_without_points():
    circle = Circle.of({})
    assert not circle.points
    assert not list(circle.clockwise(5))
    assert circle.owners([]) == []
    with pytest.raises(IndexError):
        circle.owner(5)
