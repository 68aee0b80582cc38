"""The contract's "Ring and placement": a ring is a value, the same everywhere; errors, never hangs."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from manifold import Ring
from manifold.core.ring import POINTS_MAX
from tests.support import shown

ROOT = Path(__file__).parents[2]
NAMES = st.text(max_size=8)
KEYS = st.text(max_size=12) | st.binary(max_size=12)
WEIGHTS = st.integers(1, 5) | st.floats(0.01, 5)
NODES = st.dictionaries(NAMES, WEIGHTS, max_size=6)
SOME_NODES = st.dictionaries(NAMES, WEIGHTS, min_size=1, max_size=6)
OVERRIDES = st.dictionaries(KEYS, NAMES, max_size=3)
SOME_KEYS = [f"room:{number}" for number in range(2_000)]


def rings(nodes=SOME_NODES, overrides=None):
    overrides = st.just({}) if overrides is None else overrides
    return st.builds(Ring, nodes, replicas=st.integers(1, 40), overrides=overrides)


def node_by_definition(ring, key):
    """What the docstring of Ring promises to other languages, word by word."""
    points = []
    for name, weight in ring.nodes.items():
        for i in range(max(int(ring.replicas * weight), 1)):
            points.append((xxh3_64_intdigest(name.encode() + b"\0" + str(i).encode("ascii")), name))
    points.sort()
    at = bisect_left(points, (xxh3_64_intdigest(key.encode() if isinstance(key, str) else key), ""))
    return points[at % len(points)][1]


# The same everywhere.

GOLDEN_HASHES = {
    b"": 0x2D06800538D394C2,
    b"north\x000": 0x5D67BF740C814919,
    b"north\x00511": 0x239604D3546680E6,
    b"gr\xc3\xb6\xc3\x9fe\x007": 0x79FD9C7F311DA94,
    b"guild:41771983423143937": 0x4AC2EE738738ECE2,
    b"\xff\x00": 0xB06685630F819E7,
}
GOLDEN = {
    "": ["north", "south", "größe", "east"],
    "guild:41771983423143937": ["größe", "south", "north", "east"],
    "guild:41771983423143938": ["north", "größe", "south", "east"],
    "room/größe": ["south", "größe", "north", "east"],
    "日本": ["east", "south", "north", "größe"],
    b"\xff\x00": ["east", "größe", "south", "north"],
    "a" * 300: ["north", "größe", "east", "south"],
}
HUNDRED_NODES = "487b5d53070ee23dcc8af79c9e31d36c58155eca7db5e9361f50aecc34ad1e49"


DIGEST = """
import hashlib, manifold
ring = manifold.Ring(f"node-{number}" for number in range(100))
found = ring.find_all(f"room:{number}" for number in range(10_000))
print(hashlib.sha256("\\n".join(found).encode()).hexdigest())
"""


@pytest.mark.parametrize(("data", "number"), GOLDEN_HASHES.items())
def test_hashes_are_the_golden_ones(data, number):
    assert xxh3_64_intdigest(data) == number


@pytest.mark.parametrize("key", GOLDEN, ids=lambda key: ascii(key)[:30])
def test_nodes_are_the_golden_ones(key):
    ring = Ring(["north", "south", "east", "größe"])
    assert ring.find_many(key, 4) == GOLDEN[key]
    assert ring.find(key) == GOLDEN[key][0]


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_ten_thousand_keys_on_a_hundred_nodes_are_the_golden_ones_in_every_process(seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-W", "error", "-c", DIGEST]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, HUNDRED_NODES, "")


@given(rings(), st.lists(KEYS))
def test_a_key_belongs_to_the_node_that_the_rule_names(ring, keys):
    expected = [node_by_definition(ring, key) for key in keys]
    assert [ring.find(key) for key in keys] == expected
    assert ring.find_all(keys) == expected
    assert ring.find_all(iter(keys)) == expected


@pytest.mark.parametrize(
    ("weight", "replicas", "points"),
    [(1, 512, 512), (2, 512, 1024), (2.5, 5, 12), (0.99, 10, 9), (0.5, 1, 1), (1e-300, 512, 1), (True, 7, 7)],
)
def test_a_node_has_replicas_times_weight_points_rounded_down_but_at_least_one(weight, replicas, points):
    for ring in (Ring({"a": weight}, replicas=replicas), Ring(replicas=replicas).add("a", weight)):
        assert len(ring._circle.points) == points


@given(rings(), st.text())
def test_a_str_stands_for_its_utf_8(ring, text):
    assert ring.find(text) == ring.find(text.encode())
    assert ring.find_many(text, 3) == ring.find_many(text.encode(), 3)


@given(NODES, OVERRIDES, st.randoms(use_true_random=False))
def test_the_order_of_nodes_and_overrides_does_not_matter(nodes, overrides, random):
    def shuffled(mapping):
        return dict(random.sample(sorted(mapping.items(), key=repr), len(mapping)))

    pins = {key.encode() if isinstance(key, str) else key: node for key, node in overrides.items()}
    ring, again = Ring(nodes, overrides=pins), Ring(shuffled(nodes), overrides=shuffled(pins))
    assert ring == again
    assert hash(ring) == hash(again)
    assert repr(ring.nodes) == repr(again.nodes)
    if nodes:
        assert ring.find_all(SOME_KEYS) == again.find_all(SOME_KEYS)


@given(NODES, NODES, OVERRIDES)
def test_the_way_to_a_ring_does_not_matter(nodes, others, overrides):
    ring = Ring(others, replicas=16)
    for node, weight in {node: weight for node, weight in nodes.items() if node not in others}.items():
        ring = ring.add(node, weight)
    ring = ring.with_overrides(overrides)
    for node in others:
        ring = ring.remove(node)
    for node in nodes.keys() & others.keys():
        ring = ring.add(node, nodes[node])
    expected = Ring(nodes, replicas=16, overrides=overrides)
    assert ring == expected
    assert hash(ring) == hash(expected)
    if nodes:
        assert ring.find_all([*SOME_KEYS, *overrides]) == expected.find_all([*SOME_KEYS, *overrides])


# Several nodes for a key.


@given(rings(NODES, OVERRIDES), KEYS, st.integers(0, 9))
def test_find_many_gives_different_nodes_as_many_as_there_are(ring, key, n):
    found = ring.find_many(key, n)
    assert len(found) == min(n, len(ring.nodes))
    assert len(set(found)) == len(found)
    assert set(found) <= set(ring.nodes)


@given(rings(overrides=OVERRIDES), KEYS)
def test_each_node_is_followed_by_who_gets_the_key_when_it_leaves(ring, key):
    expected, rest = [], ring
    while rest.nodes:
        expected.append(rest.find(key))
        rest = rest.remove(expected[-1])
    if ring.overrides.get(key if isinstance(key, bytes) else key.encode()) not in ring.nodes:
        assert ring.find_many(key, 100) == expected
    assert ring.find_many(key, 2) == expected[:2]


@pytest.mark.parametrize("replicas", [1, 512])
def test_asking_more_nodes_than_there_are_gives_all(replicas):
    assert sorted(Ring("abc", replicas=replicas).find_many("key", 10**9)) == ["abc"]
    assert sorted(Ring(["a", "b", "c"], replicas=replicas).find_many("key", 10**9)) == ["a", "b", "c"]
    assert Ring().find_many("key", 3) == []


def test_a_negative_number_of_nodes_is_refused():
    with pytest.raises(ValueError, match="-1"):
        Ring("a").find_many("key", -1)


# Overrides.


@given(rings(), st.dictionaries(KEYS, NAMES), st.data())
def test_an_override_counts_for_its_key_and_for_no_other(ring, overrides, data):
    node = data.draw(st.sampled_from(sorted(ring.nodes)))
    pinned = ring.with_overrides({"pinned": node})
    assert [pinned.find(key) for key in ("pinned", b"pinned")] == [node, node]
    assert pinned.find_all(["pinned", b"pinned"]) == [node, node]
    assert pinned.find_many("pinned", 1) == [node]
    keys = [key for key in overrides if key not in ("pinned", b"pinned")]
    assert pinned.find_all(keys) == ring.find_all(keys)


def test_an_override_waits_for_its_node():
    ring = Ring(["a", "b"], overrides={"key": "c"})
    by_hash = Ring(["a", "b"]).find("key")
    assert (ring.find("key"), ring.find_all(["key"]), ring.find_many("key", 1)) == (by_hash, [by_hash], [by_hash])
    assert ring.add("c").find("key") == "c"
    assert ring.add("c").remove("c").find("key") == by_hash
    assert ring.add("c").remove("c") == ring


def test_overrides_are_replaced_and_a_later_one_for_the_same_key_counts():
    ring = Ring(["a", "b"], overrides={"one": "a", "two": "b"})
    assert ring.overrides == {b"one": "a", b"two": "b"}
    assert ring.with_overrides({**ring.overrides, "one": "b"}).overrides == {b"one": "b", b"two": "b"}
    assert ring.with_overrides({}) == Ring(["a", "b"])


def test_overrides_are_no_part_of_a_plan():
    ring = Ring(["a", "b"])
    assert ring.with_overrides({"key": "c"}).plan(add="c").moves == ring.plan(add="c").moves


# A value.


@given(rings(NODES, OVERRIDES), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_pickles_copies_and_the_repr_give_an_equal_ring(ring, protocol):
    for again in (pickle.loads(pickle.dumps(ring, protocol)), copy.copy(ring), copy.deepcopy(ring), eval(repr(ring))):
        assert type(again) is Ring
        assert again == ring
        assert hash(again) == hash(ring)
        if ring.nodes:
            assert again.find_all(SOME_KEYS[:50]) == ring.find_all(SOME_KEYS[:50])


def test_rings_that_differ_in_anything_are_not_equal():
    different = [
        Ring(),
        Ring("a"),
        Ring("b"),
        Ring(["a", "b"]),
        Ring({"a": 2}),
        Ring("a", replicas=511),
        Ring("a", overrides={"key": "a"}),
        Ring("a", overrides={"key": "b"}),
        {"a": 1},
    ]
    assert all(one != two for one, two in itertools.combinations(different, 2))


def test_a_change_leaves_the_ring_as_it_was():
    ring, same = (Ring(["a", "b"], overrides={"key": "a"}) for _ in range(2))
    found = ring.find_all(SOME_KEYS)
    ring.add("c", 3).remove("a").with_overrides({})
    ring.plan(add="d", remove="b")
    assert ring == same
    assert ring.find_all(SOME_KEYS) == found


def test_what_a_ring_was_made_of_may_change_afterwards():
    nodes, overrides = {"a": 1}, {"key": "a"}
    ring = Ring(nodes, overrides=overrides)
    nodes["b"] = overrides["other"] = 1
    assert ring == Ring("a", overrides={"key": "a"})


@pytest.mark.parametrize("name", ["nodes", "replicas", "overrides", "_circle", "other"])
def test_a_ring_cannot_be_changed(name):
    ring = Ring("a")
    with pytest.raises(AttributeError, match=name):
        setattr(ring, name, {})
    with pytest.raises(AttributeError, match=name):
        delattr(ring, name)
    for mapping in (ring.nodes, ring.overrides):
        with pytest.raises(TypeError):
            mapping["b"] = 1
    assert ring == Ring("a")


# Errors, not hangs.


@pytest.mark.parametrize("nodes", [["a", "b", "a"], ["a", "a"], iter(["", ""])])
def test_a_node_that_stands_twice_is_refused(nodes):
    with pytest.raises(ValueError, match="twice"):
        Ring(nodes)


def test_adding_a_node_that_is_there_and_removing_one_that_is_not_are_refused():
    ring = Ring(["a", "b"])
    for change in (lambda: ring.add("a"), lambda: ring.add("a", 2), lambda: ring.plan(add="a")):
        with pytest.raises(ValueError, match="'a' is in the ring already"):
            change()
    for change in (lambda: ring.remove("c"), lambda: ring.plan(remove="c"), lambda: ring.plan(remove=["a", "a"])):
        with pytest.raises(ValueError, match="is not in the ring"):
            change()


@pytest.mark.parametrize("replicas", [0, -1])
def test_fewer_replicas_than_one_are_refused(replicas):
    with pytest.raises(ValueError, match=f"not {replicas}"):
        Ring(replicas=replicas)


@pytest.mark.parametrize("weight", [0, -1, -0.5, float("nan"), float("inf"), POINTS_MAX, 1e300, 10**400])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    for make in (lambda: Ring({"a": weight}), lambda: Ring().add("a", weight), lambda: Ring().plan(add={"a": weight})):
        with pytest.raises(ValueError, match="weight of node 'a'"):
            make()


def test_the_points_of_a_node_are_bounded(monkeypatch):
    with pytest.raises(ValueError, match=str(POINTS_MAX)):
        Ring("a", replicas=POINTS_MAX + 1)
    monkeypatch.setattr("manifold.core.ring.POINTS_MAX", 100)
    assert Ring({"a": 5, "b": 1}, replicas=20).find("key") in "ab"
    with pytest.raises(ValueError, match="100"):
        Ring({"a": 5.05}, replicas=20)


def test_a_node_of_next_to_no_weight_has_a_point_all_the_same():
    ring = Ring({"a": 1, "b": 1e-300})
    assert sorted(ring.find_many("key", 2)) == ["a", "b"]


def test_an_empty_ring_says_so():
    for find in (lambda: Ring().find("key"), lambda: Ring().find_all(["key"])):
        with pytest.raises(LookupError, match="no nodes"):
            find()
    assert Ring().find_all([]) == []


@pytest.mark.parametrize("key", [7, None, 1.5, bytearray(b"key"), memoryview(b"key"), ("key",)], ids=shown)
def test_a_key_of_another_type_is_refused(key):
    ring = Ring(["a", "b"])
    finds = [ring.find, lambda key: ring.find_all(["key", key]), lambda key: ring.find_many(key, 1)]
    for find in [*finds, lambda key: Ring(overrides=dict.fromkeys([key], "a"))]:
        with pytest.raises(TypeError):
            find(key)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ring(7),
        lambda: Ring([7]),
        lambda: Ring([None]),
        lambda: Ring(b"ab"),
        lambda: Ring({b"a": 1}),
        lambda: Ring({"a": "1"}),
        lambda: Ring({"a": None}),
        lambda: Ring().add(7),
        lambda: Ring("a", replicas=2.0),
        lambda: Ring("a", replicas="2"),
        lambda: Ring("a", overrides={"key": 7}),
        lambda: Ring("a").with_overrides({"key": None}),
    ],
)
def test_what_is_no_name_weight_or_number_is_refused(make):
    with pytest.raises(TypeError):
        make()
