"""`traffic`: the same seed gives the same logs, of the sizes asked for, with every kind of event in them."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from examples.guild_presence.logs.log import JOIN, LEAVE, MESSAGE, NICK, parse
from examples.guild_presence.logs.traffic import guild_sizes, make_up


def test_the_seed_decides() -> None:
    assert make_up(5, 50, 500, seed=7) == make_up(5, 50, 500, seed=7)
    assert make_up(5, 50, 500, seed=7) != make_up(5, 50, 500, seed=8)


def test_the_traffic_of_a_seed_stays_what_it_was() -> None:
    made = make_up(3, 30, 30, seed=1)
    assert [len(lines) for lines in made.values()] == [40, 10, 10]
    assert made["guild-1"][-1] == "[00:01] <user4> try"


@given(st.integers(1, 30), st.integers(1, 300), st.integers(0, 2**64))
@settings(max_examples=30)
def test_sizes(guilds: int, users: int, seed: int) -> None:
    sizes = guild_sizes(guilds, users, Random(seed))
    assert len(sizes) == guilds
    assert min(sizes) >= 1
    assert users <= sum(sizes) <= users + guilds


def test_sizes_follow_zipf() -> None:
    sizes = guild_sizes(100, 100_000, Random(1))
    for rank in (2, 4, 8, 16):
        assert 0.9 < sizes[0] / sizes[rank - 1] / rank < 1.1


def test_every_kind_of_line_occurs() -> None:
    lines = [line for lines in make_up(3, 60, 3000, seed=3).values() for line in lines]
    events = [parse(line) for line in lines]
    kinds = Counter(event.kind if event else None for event in events)
    assert set(kinds) == {MESSAGE, JOIN, LEAVE, NICK, None}
    assert abs(len(lines) - 3060) <= 3
    assert kinds[MESSAGE] > len(lines) / 2
