"""The contract's "Ring and placement": few keys move when nodes come and go, a plan tells which; loads are even."""

from __future__ import annotations

from collections import Counter
from statistics import pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold import Ring
from manifold.core.circle import SPACE, Circle, moves

NAMES = st.text(max_size=8)
WEIGHTS = st.integers(1, 5) | st.floats(0.01, 5)
NODES = st.dictionaries(NAMES, WEIGHTS, max_size=6)
KEYS = [f"room:{number}" for number in range(2_000)]


def shares(ring):
    """Exactly how much of all keys each node has."""
    return {node: hashes / SPACE for (_, node), hashes in moves(Circle.of({}), ring._circle).items()}


@given(st.lists(NAMES, min_size=2, max_size=12, unique=True))
def test_a_node_that_is_added_takes_its_share_and_nothing_else_moves(names):
    *before, new = names
    ring = Ring(before)
    plan = ring.plan(add=new)
    moved = {(old, now) for old, now in zip(ring.find_all(KEYS), plan.ring.find_all(KEYS)) if old != now}
    assert {now for _, now in moved} <= {new}
    assert {now for _, now in plan.moves} == {new}
    # More than six standard deviations: one is 4.4 % at 512 replicas.
    assert plan.share == pytest.approx(1 / len(names), rel=0.3)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 63])
def test_about_one_key_in_n_plus_1_moves_to_a_new_node(n):
    ring = Ring(f"node-{number}" for number in range(n))
    keys = [f"room:{number}" for number in range(50_000)]
    found = zip(ring.find_all(keys), ring.add("new").find_all(keys))
    moved = sum(old != now for old, now in found) / len(keys)
    assert moved == pytest.approx(1 / (n + 1), rel=0.2)
    assert moved == pytest.approx(ring.plan(add="new").share, abs=0.01)


@given(NODES.filter(bool), st.data())
def test_when_a_node_leaves_its_keys_alone_move(nodes, data):
    ring = Ring(nodes, replicas=64)
    gone = data.draw(st.sampled_from(sorted(nodes)))
    rest = ring.remove(gone)
    if rest.nodes:
        assert all(old in (now, gone) for old, now in zip(ring.find_all(KEYS), rest.find_all(KEYS)))
    assert {old for old, _ in ring.plan(remove=gone).moves} == {gone}
    assert ring.plan(remove=gone).share == shares(ring)[gone]


def test_a_node_that_gets_a_larger_weight_only_gains_and_one_of_a_smaller_only_loses():
    ring = Ring({"a": 1, "b": 2, "c": 1})
    assert {now for _, now in ring.plan(remove="a", add={"a": 3}).moves} == {"a"}
    assert {old for old, _ in ring.plan(remove="b", add={"b": 0.5}).moves} == {"b"}


# Even loads.


def test_loads_differ_by_less_than_5_percent_standard_deviation():
    loads = []
    for crowd in range(30):
        nodes = [f"node-{crowd}-{number}" for number in range(40)]
        loads += [share * len(nodes) for share in shares(Ring(nodes)).values()]
    assert sum(loads) == pytest.approx(30 * 40)
    assert 0.04 < pstdev(loads) <= 0.05
    assert max(abs(load - 1) for load in loads) < 0.25


def test_keys_that_resemble_each_other_are_spread_as_evenly():
    nodes = [f"10.0.0.{number}:4000" for number in range(50)]
    found = Counter(Ring(nodes).find_all(str(number) for number in range(200_000)))
    # 4.4 % as the ring's own, and 1.6 % because each node has but 4,000 keys.
    assert pstdev(found[node] / 4_000 for node in nodes) <= 0.055


def test_the_load_of_a_node_is_as_its_weight():
    weights = {"half": 0.5, "one": 1, "two": 2, "four": 4}
    found = shares(Ring(weights, replicas=4096))
    assert {node: share * 7.5 for node, share in found.items()} == pytest.approx(weights, rel=0.1)


# Plans.


@given(NODES, NODES)
def test_a_plan_tells_what_the_changes_do(before, after):
    ring = Ring(before, replicas=32, overrides={"key": "node"})
    plan = ring.plan(remove=before, add=after)
    assert plan.ring == Ring(after, replicas=32, overrides={"key": "node"})
    assert plan.share == pytest.approx(sum(plan.moves.values()))
    assert all(old != new and share > 0 for (old, new), share in plan.moves.items())
    back = plan.ring.plan(remove=after, add=before)
    assert {(new, old): share for (old, new), share in back.moves.items()} == plan.moves


def test_shares_are_those_that_many_keys_show():
    ring = Ring(["a", "b", "c"])
    plan = ring.plan(add=["d", "e"], remove="a")
    keys = [str(number) for number in range(200_000)]
    pairs = list(zip(ring.find_all(keys), plan.ring.find_all(keys)))
    assert {pair for pair in pairs if pair[0] != pair[1]} == set(plan.moves)
    for pair, share in plan.moves.items():
        assert pairs.count(pair) / len(keys) == pytest.approx(share, abs=0.004)


def test_the_first_nodes_take_all_from_nobody_and_the_last_leave_it_to_nobody():
    assert Ring().plan(add="a").moves == {(None, "a"): 1.0}
    assert Ring("a").plan(remove="a").moves == {("a", None): 1.0}
    assert (Ring().plan().share, Ring().plan().moves) == (0, {})


def test_plans_are_the_golden_ones():
    plan = Ring(["north", "south", "east", "größe"]).plan(add={"west": 2})
    assert plan.share == 0.3421268506530434
    assert plan.moves == {
        ("north", "west"): 0.08457971439444598,
        ("größe", "west"): 0.08218354166970901,
        ("south", "west"): 0.0972746998730869,
        ("east", "west"): 0.07808889471580152,
    }
