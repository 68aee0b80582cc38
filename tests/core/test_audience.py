"""An owner, one who passes its audience on, and replicas, with words on their way between them in any order that links
allow: each message is meant for those who were in, and who is in is agreed upon when nothing is under way.
"""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manifold.core import audience
from manifold.core.audience import Replica, Roll

ROWS = [line.strip("| \n").split(" | ") for line in audience.__doc__.splitlines() if line.startswith("| ")]
INPUTS = [name.strip() for name in ROWS[0]]
TABLE = {row[0]: dict(zip(INPUTS, row[1:], strict=True)) for row in ROWS[1:]}

PLACE, NUMBER = "p", 7
LATEST = 3
"""The join with which a member has come in."""


def on_roll(state, what):
    """Have it happen to a member; give where it is then."""
    roll = Roll()
    if state == "IN":
        roll.join(PLACE, [NUMBER, 8], LATEST)
    match what:
        case "JOIN":
            roll.join(PLACE, [NUMBER], LATEST + 1)
        case "LEAVE" if roll.has(PLACE, NUMBER):
            roll.leave(PLACE, NUMBER)
        case "LEFT":
            assert roll.left(PLACE, [NUMBER], LATEST) == ([NUMBER] if state == "IN" else [])
        case "LEFT BEFORE":
            assert roll.left(PLACE, [NUMBER], LATEST - 1) == []
        case "LOST":
            assert roll.lost(PLACE) == (([NUMBER, 8], LATEST) if state == "IN" else ([], 0))
    return "IN" if roll.has(PLACE, NUMBER) else "OUT"


def on_replica(state, what):
    """Have it happen to a member; give where it is then, and what is said."""
    replica, said = Replica(), ""
    if state == "IN":
        replica.join({NUMBER: "actor", 8: "another"}, LATEST)
    match what:
        case "JOIN":
            said = replica.join({NUMBER: "actor"}, LATEST + 1)
        case "JOIN OF ONE ENDED":
            said = replica.join({NUMBER: None}, LATEST + 1)
        case "LEAVE":
            replica.leave(NUMBER)
        case "ENDED":
            said = replica.leave(NUMBER) is not None
    return f"{'IN' if NUMBER in replica.members else 'OUT'}{' left' if said else ''}"


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("what", INPUTS)
def test_every_transition(state, what):
    due = TABLE[state][what]
    if what not in ("LEFT", "LEFT BEFORE", "LOST"):
        assert on_replica(state, what) == due
    if what not in ("JOIN OF ONE ENDED", "ENDED"):
        assert on_roll(state, what) == due


def test_a_replica_knows_how_many_of_those_that_are_counted_have_ended():
    replica = Replica()
    replica.join({1: "a", 2: "b", 3: None}, 1)
    assert [replica.ended(counted) for counted in (4, 3, 2, 1)] == [2, 1, 0, -1]


def test_a_place_whose_last_member_has_left_keeps_a_replica_until_it_is_lost():
    roll = Roll()
    assert not roll.keeps(PLACE)
    roll.join(PLACE, [1, 2], 1)
    roll.leave(PLACE, 1)
    assert roll.left(PLACE, [2], 1) == [2]
    assert (roll.keeps(PLACE), roll.places(), roll.counts(), len(roll)) == (True, [PLACE], {}, 0)
    assert roll.lost(PLACE) == ([], 0)
    assert not roll.keeps(PLACE)


def test_only_those_not_in_are_fresh_each_once():
    roll = Roll()
    roll.join(PLACE, [1], 1)
    assert roll.fresh(PLACE, [1, 2, 2, 3]) == [2, 3]
    assert roll.fresh("another", [1, 2, 2]) == [1, 2]


# Whole systems.

ACTORS = 4
PLACES = 2
WAYS = 2 + 2 * PLACES


def place_of(number):
    return number % PLACES


class Way:
    """What is on its way from one to another, in order."""

    def __init__(self):
        self.words = deque()

    def say(self, *word):
        self.words.append(word)


class Worker:
    """Where members live, with a replica."""

    def __init__(self, world, back, places):
        self.world = world
        self.replica = Replica()
        self.back = back
        self.places = places

    def join(self, ids, join):
        fresh = [number for number in ids if number not in self.replica.members]
        found = {number: number if number in self.world.alive else None for number in fresh}
        if ended := self.replica.join(found, join):
            self.back.say("left", ended, join)

    def leave(self, number):
        self.replica.leave(number)

    def send(self, message, counted):
        assert self.replica.ended(counted) >= 0, "there are more members than the message is meant for"
        self.world.got(message, self.places, set(self.replica.members))

    def end(self, number):
        if self.replica.leave(number) is not None:
            self.back.say("left", [number], self.replica.last_join)


class Main:
    """One who passes on what is said to it to workers, and what these say."""

    def __init__(self, world, back):
        self.world = world
        self.back = back
        self.roll = Roll()

    def join(self, ids, join):
        for place in range(PLACES):
            if there := [number for number in ids if place_of(number) == place]:
                self.roll.join(place, there, join)
                self.world.down[place].say("join", there, join)

    def leave(self, number):
        if self.roll.has(place_of(number), number):
            self.roll.leave(place_of(number), number)
            self.world.down[place_of(number)].say("leave", number)

    def send(self, message, counted):
        counts = self.roll.counts()
        assert sum(counts.values()) <= counted, "there are more members than the message is meant for"
        for place in range(PLACES):
            if place in counts:
                self.world.down[place].say("send", message, counts[place])
            else:
                self.world.got(message, {place}, set())

    def left(self, place, ids, join):
        if gone := self.roll.left(place, ids, join):
            self.back.say("left", gone, join)

    def lost(self, place):
        gone, join = self.roll.lost(place)
        if gone:
            self.back.say("left", gone, join)


class World:
    """An owner, and what may happen. `is_passed_on`: its members live in workers behind a main process."""

    def __init__(self, *, is_passed_on):
        self.is_passed_on = is_passed_on
        self.alive = set(range(ACTORS))
        self.roll = Roll()
        self.joins = 0
        self.meant_for = []
        self.begin()

    def begin(self):
        """Begin a session: nothing is known to the other side, and nothing is under way."""
        self.there, self.back = Way(), Way()
        self.down, self.up = [[Way() for _ in range(PLACES)] for _ in range(2)]
        self.main = Main(self, self.back)
        self.workers = [Worker(self, self.back, set(range(PLACES)))]
        if self.is_passed_on:
            self.workers = [Worker(self, back, {place}) for place, back in enumerate(self.up)]

    # What may happen.

    def add(self, numbers):
        if fresh := self.roll.fresh(PLACE, numbers):
            self.joins += 1
            self.roll.join(PLACE, fresh, self.joins)
            self.there.say("join", fresh, self.joins)

    def discard(self, number):
        if self.roll.has(PLACE, number):
            self.roll.leave(PLACE, number)
            self.there.say("leave", number)

    def back_again(self, number):
        self.discard(number)
        self.add([number])

    def send(self):
        self.meant_for.append({number for _, number in self.roll})
        self.there.say("send", len(self.meant_for) - 1, len(self.roll))

    def end(self, number):
        self.alive.discard(number)
        for worker in self.workers:
            worker.end(number)

    def end_and_come_back(self, number, held_up, held_up_then):
        """An actor that has ended is let go and taken in again, while some hear of the end and some do not."""
        self.end(number)
        self.carry_but(held_up)
        self.back_again(number)
        self.carry_but(held_up_then)
        self.send()

    def lose_session(self):
        self.roll.lost(PLACE)
        self.begin()

    def lose_worker(self, place):
        """All who live in a worker end with it; another comes in its place."""
        if self.is_passed_on:
            self.alive -= {number for number in self.alive if place_of(number) == place}
            self.down[place], self.up[place] = Way(), Way()
            self.workers[place] = Worker(self, self.up[place], {place})
            self.main.lost(place)

    def carry(self, way, words):
        """Have so many words arrive of those on one of the ways."""
        ways = [(self.there, self.main if self.is_passed_on else self.workers[0]), (self.back, self)]
        if self.is_passed_on:
            ways += zip(self.down, self.workers)
            ways += [(way, _From(self.main, place)) for place, way in enumerate(self.up)]
        way, to = ways[way % len(ways)]
        for _ in range(min(words, len(way.words))):
            what, *how = way.words.popleft()
            getattr(to, what)(*how)

    def carry_but(self, held_up):
        """Have all arrive that can, while some of the ways are held up."""
        for _ in range(4):  # there, down, up and back
            for way in range(WAYS):
                if way not in held_up:
                    self.carry(way, 1_000_000)

    def left(self, ids, join):
        self.roll.left(PLACE, ids, join)

    # What must hold.

    def got(self, message, places, members):
        """A message comes to these places, and reaches these."""
        assert members == {number for number in self.meant_for[message] & self.alive if place_of(number) in places}

    def check(self):
        self.carry_but(())
        members = {number for _, number in self.roll}
        assert members <= self.alive
        assert {number for worker in self.workers for number in worker.replica.members} == members
        if self.is_passed_on:
            assert {number for _, number in self.main.roll} == members


class _From:
    def __init__(self, main, place):
        self.main, self.place = main, place

    def left(self, ids, join):
        self.main.left(self.place, ids, join)


actors = st.integers(0, ACTORS - 1)
adds = st.tuples(st.just("add"), st.lists(actors, min_size=1, max_size=4))
discards = st.tuples(st.just("discard"), actors)
returns = st.tuples(st.just("back_again"), actors)
sends = st.tuples(st.just("send"))
ways = st.integers(0, WAYS - 1)
some = st.sets(ways)
ends = st.tuples(st.just("end"), actors) | st.tuples(st.just("end_and_come_back"), actors, some, some)
carries = st.tuples(st.just("carry"), ways, st.integers(1, 3)) | st.tuples(st.just("carry_but"), some)
losses = st.tuples(st.just("lose_worker"), st.integers(0, PLACES - 1)) | st.tuples(st.just("lose_session"))
steps = st.one_of(adds, adds, discards, returns, returns, sends, sends, ends, carries, carries, carries, losses)


@pytest.mark.parametrize("is_passed_on", [False, True])
@example(schedule=[("add", [0, 1]), ("carry_but", {}), ("end_and_come_back", 1, {0, 1}, {0})])
@example(schedule=[("add", [0]), ("add", [2]), ("carry_but", {}), ("lose_worker", 0)])
@settings(max_examples=3 * settings().max_examples)
@given(schedule=st.lists(steps, min_size=5, max_size=60))
def test_any_schedule(is_passed_on, schedule):
    world = World(is_passed_on=is_passed_on)
    for what, *how in schedule:
        getattr(world, what)(*how)
    world.check()
