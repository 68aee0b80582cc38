"""Audiences of another node whose changes the main process passes on to the worker where the members live.

The main process knows no more of the members than their worker has told it; word of one that has ended is on its way
to the main process, and from there to the owner, while changes and sends come the other way.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifold
from manifold.core.bodies import Ask, AudienceChange, AudienceSend, Kind, Send
from manifold.core.codec import encode
from manifold.processes.talk import OTHERS
from tests.cluster.hand import Hand
from tests.cluster.support import audience, outcome, quiet
from tests.processes.actors import Recorder
from tests.processes.support import Keeper, at, got, until

ALL = 1_000_000
UNREADABLE = b"\xd4\x63\x00"
"""A value of a type that is registered nowhere."""


@pytest.fixture(scope="module")
def made():
    hand = Hand(worker_kind="process")
    yield hand
    hand.close()


@pytest.fixture
def hand(made):
    made.meet()
    return made


@contextmanager
def standing_still(node):
    """Let the worker process of a node neither hear nor say anything."""
    (process,) = node._crew.pids()
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def end(hand, group, pid):
    """End a member; the main process knows it then, and has not told the owner yet."""
    relayed = hand.peers[hand.b].arrivals._replicas[group._away.number]._away
    assert pid in relayed
    manifold.ActorRef(pid, Recorder).stop()
    assert until(lambda: pid not in list(relayed))  # and the owner is told by then


def back(group, pid):
    group.discard(pid)
    group.add(pid)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_word_of_an_end_that_crosses_the_return_of_the_member_says_nothing_of_the_return(hand, times):
    steady, mortal = hand.b.spawn(Recorder), hand.b.spawn(Recorder)
    group = audience(hand.a, [steady, mortal])
    hand.settle()
    end(hand, group, mortal)
    with standing_still(hand.b):
        for _ in range(times):
            back(group, mortal)
        hand.carry(ALL, hand.b)
        assert mortal in group
        receipt = hand.a.send(group, "sent", receipt=True)
        hand.carry(ALL, hand.a)
    hand.settle()
    assert outcome(receipt) == {"b": {"delivered": 1, "dead": 1}}
    assert list(group) == [steady]
    assert got(hand.b, steady) == ["sent"]
    assert quiet(hand.a).shed == 0


# What a worker sends by way of the main process, which counts it as sent.


@pytest.fixture
def says(hand):
    """Gives what has the main process hear of the worker; it answers with what the node's counts have risen by."""
    (member,) = hand.b._crew._members.values()

    def say(kind, body):
        before = quiet(hand.b)
        member.peers[OTHERS].handle(kind, memoryview(b"".join(body.pack())))
        after = quiet(hand.b)
        causes = ("sent", "delivered", "dead", "shed")
        return {cause: after[cause] - before[cause] for cause in causes if after[cause] != before[cause]}

    return say


def test_a_message_to_fewer_members_than_there_are_counts_as_shed(hand, says):
    ids = [hand.b.spawn(Recorder).id for _ in range(3)]
    assert says(Kind.AUDIENCE_CHANGE, AudienceChange(1, 1, ids)) == {}
    assert says(Kind.AUDIENCE_SEND, AudienceSend(1, 0, 2, encode("x"))) == {"sent": 2, "shed": 2}
    assert says(Kind.AUDIENCE_SEND, AudienceSend(1, 0, 4, encode("x"))) == {"sent": 4, "delivered": 3, "dead": 1}


def test_a_message_to_an_audience_that_is_not_known_counts_as_dead(says):
    assert says(Kind.AUDIENCE_SEND, AudienceSend(99, 0, 3, encode("x"))) == {"sent": 3, "dead": 3}


def test_messages_that_cannot_be_read_here_count_as_shed(hand, says):
    """To an actor that lives in the main process, of a type that is registered in the worker alone."""
    with at(hand.b):
        keeper = Keeper.start()
        number = manifold.pid_of(keeper).id
    assert says(Kind.SEND, Send(0, [number, number], UNREADABLE)) == {"sent": 2, "shed": 2}
    assert says(Kind.ASK, Ask(1, 0, number, UNREADABLE)) == {"sent": 1, "shed": 1}
    assert says(Kind.AUDIENCE_CHANGE, AudienceChange(2, 1, [number])) == {}
    assert says(Kind.AUDIENCE_SEND, AudienceSend(2, 0, 1, UNREADABLE)) == {"sent": 1, "shed": 1}
    keeper.stop()


# Any schedule.

ACTORS = 4
actors = st.integers(0, ACTORS - 1)
nodes = st.sampled_from("ab")
steps = st.one_of(
    st.tuples(st.just("add"), st.lists(actors, min_size=1, max_size=3)),
    st.tuples(st.just("discard"), actors),
    st.tuples(st.just("back"), actors),
    st.tuples(st.just("back"), actors),
    st.tuples(st.just("send")),
    st.tuples(st.just("send")),
    st.tuples(st.just("end") | st.just("cross"), actors),
    st.tuples(st.just("carry"), nodes, st.integers(1, 4)),
    st.tuples(st.just("carry"), nodes, st.just(ALL)),
)


class World:
    """An audience of a's with members in b's worker, and what each of them is due."""

    def __init__(self, hand):
        hand.meet()
        self.hand = hand
        self.pids = [hand.b.spawn(Recorder) for _ in range(ACTORS)]
        self.group = audience(hand.a)
        self.sent = 0
        self.due = {pid: [] for pid in self.pids}
        self.ended = set()

    def add(self, which):
        self.group.update([self.pids[at] for at in which])

    def discard(self, which):
        self.group.discard(self.pids[which])

    def back(self, which):
        back(self.group, self.pids[which])

    def send(self):
        self.sent += 1
        for pid in self.group:
            self.due[pid].append(self.sent)
        self.hand.a.send(self.group, self.sent)

    def end(self, which):
        manifold.ActorRef(self.pids[which], Recorder).stop(block=False)
        self.ended.add(self.pids[which])

    def cross(self, which):
        """Have word of an end and the return of the member cross, and send meanwhile."""
        pid = self.pids[which]
        self.add([which])
        self.carry("a", ALL)
        if pid not in self.ended:
            self.ended.add(pid)
            end(self.hand, self.group, pid)
        with standing_still(self.hand.b):
            self.back(which)
            self.carry("b", ALL)
            self.send()
            self.carry("a", ALL)

    def carry(self, node, packets):
        self.hand.carry(packets, getattr(self.hand, node))

    def check(self):
        self.hand.settle()
        alive = [pid for pid in self.pids if pid not in self.ended]
        assert [got(self.hand.b, pid) for pid in alive] == [self.due[pid] for pid in alive]
        assert not self.ended & set(self.group)
        kept = self.hand.peers[self.hand.b].arrivals._replicas.get(self.group._away.number)
        assert kept is None or set(kept._away) == set(self.group)
        assert quiet(self.hand.a).shed == 0
        self.group.close()
        self.hand.settle()
        assert not self.hand.peers[self.hand.b].arrivals._replicas


@settings(max_examples=settings().max_examples // 2)
@given(schedule=st.lists(steps, min_size=10, max_size=50))
def test_any_schedule(made, schedule):
    world = World(made)
    for what, *how in schedule:
        getattr(world, what)(*how)
    world.check()
