"""A node goes in the middle of all that is sent to it and from it, and another of its name comes: what it had got is
the first of what each sender sent, without gaps; the rest is counted; nothing for the old one reaches the new one.
"""

from __future__ import annotations

import logging

import pytest

import manifold
from manifold.testing import HUB
from tests.cluster.support import Nodes, meet, until
from tests.ordering.play import SEED, TIMES, Play

SENDS = 100 * TIMES
"""Of each sender, in each part of the play."""
DOWN_AFTER_S = 4.0 if TIMES == 1 else 15.0
"""Long enough for a machine that is busy with this and other things."""

pytestmark = pytest.mark.timeout(120 * TIMES)

STEADY = manifold.Limits(node_down_after_s=60.0, stop_grace_s=10.0)
"""Nobody goes down but who says goodbye."""


@pytest.fixture
def cut_off():
    """Cuts an address off from everybody, until the test and its nodes have ended."""
    cut = []

    def cut_off(address):
        cut.append(address)
        HUB.cut(address)

    yield cut_off
    for address in cut:
        HUB.heal(address)


@pytest.fixture
def make(place, cut_off, caplog):
    caplog.set_level(logging.CRITICAL, logger="pykka")
    caplog.set_level(logging.CRITICAL, logger="manifold")
    made = []

    def make_play(transport, **options):
        made.append(Play(Nodes(place(transport)), **{"limits": STEADY, **options}))
        made[-1].disturb = lambda source: unsettle(made[-1], source)
        return made[-1]

    yield make_play
    for play in made:
        play.close()


def unsettle(play, source):
    draw = source.random.random()
    cast = source.random.choice(play.present())
    if draw < 0.2:
        cast.resize(source.random)
    elif draw < 0.5:
        play.watching.say(cast)
    elif draw < 0.6:
        play.watching.part(cast)


def succeed(play, old, **options):
    """Start a node of the old one's name, and have all send to both."""
    new = play.enter("b", **options)
    assert new.node.id != old.node.id
    assert {pid.id for pid in new.members} == {pid.id for pid in old.members}, "only the node tells them apart"
    play.wait(play.go(SENDS))
    play.verify()
    assert any(play.checker.copies(source.name, source.number) for source in new.sources)


@pytest.mark.parametrize("transport", ["memory", "tcp", "nats"])
def test_a_node_that_stops_in_order_and_starts_again(make, transport):
    play = make(transport)
    old = play.cast("b")
    play.wait(play.go(SENDS))
    turns = play.go(SENDS)
    address = old.node.address
    play.lost.add(old.node.id)
    old.node.stop()
    play.wait(turns)
    assert old.node.stats().in_flight == 0
    succeed(play, old, listen=address)


def test_a_node_that_is_cut_off_for_good_and_another_in_its_place(make, cut_off):
    play = make("memory", limits=manifold.Limits(node_down_after_s=DOWN_AFTER_S, stop_grace_s=10.0))
    old = play.cast("b")
    play.wait(play.go(SENDS))
    turns = play.go(SENDS)
    play.lost.add(old.node.id)
    cut_off(old.node.address)
    play.wait(turns)
    play.wait(play.go(SENDS, *play.casts))
    for cast in play.present():
        assert until(lambda cast=cast: old.node.id not in cast.node.nodes(), 3 * DOWN_AFTER_S), play.note()
    succeed(play, old)
    assert all(cast.node.stats().unreachable for cast in play.casts if cast.label != "b2"), play.note()


def test_nodes_that_lose_each_other_for_long_and_meet_again(make):
    """All of them live on. What does not arrive is what receipts say was unreachable, and nothing else."""
    play = make("memory", limits=manifold.Limits(node_down_after_s=1.0, stop_grace_s=10.0))
    play.disturb = lambda source: source.cast.resize(source.random)
    play.gives_receipts = True
    a, b = play.cast("a").node, play.cast("b").node
    for _ in range(2 * TIMES):
        play.wait(play.go(SENDS // 2))
        turns = play.go(SENDS // 2)
        HUB.cut(a.address, b.address)
        try:
            assert until(lambda: b.id not in a.nodes() and a.id not in b.nodes()), play.note()
            play.wait([*turns, *play.go(SENDS // 10)])  # the others may all have been sent before the cut
        finally:
            HUB.heal(a.address, b.address)
        meet(*(cast.node for cast in play.casts))
        assert until(play.rejoin, 30), play.note()
    play.wait(play.go(SENDS // 2))
    play.verify()
    assert a.stats().unreachable, f"seed {SEED}: {a.stats()}"
    assert until(play.rejoin, 30), play.note()
