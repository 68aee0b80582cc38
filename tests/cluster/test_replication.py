"""What the owner of an audience and the node of some of its members say to each other, with a session that ends between
any two frames.

What the owner does, by what stands between it and the other node, and what it says there:

| | ADD | ADD AGAIN | DISCARD | SEND | ENDED | CLOSE | LOST |
|---|---|---|---|---|---|---|---|
| APART | APART | APART | APART | APART | APART | APART | APART |
| NONE | SOME joins | NONE | NONE | NONE | NONE | NONE | APART |
| SOME | SOME joins | SOME | EMPTY leaves | SOME send | EMPTY | NONE forget | APART |
| EMPTY | SOME joins | EMPTY | EMPTY | EMPTY | EMPTY | NONE forget | APART |

APART: no session. NONE: the other node knows nothing of the audience. SOME: it has a replica, with members. EMPTY: with
none. A session that begins leads from APART to NONE. ADD AGAIN: of one who is in, if there is one. ENDED: the member
ends, and its node says so.
"""

from __future__ import annotations

import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

import manifold
from manifold.cluster.cluster import Cluster
from manifold.core.bodies import AudienceChange, Kind
from manifold.core.codec import encode
from manifold.ports import DEAD, SHED
from tests.cluster.hand import Hand
from tests.cluster.support import audience, outcome, quiet, record
from tests.support import PATIENCE_S, pids, spawn

ROWS = [line.strip("| \n").split(" | ") for line in __doc__.splitlines() if line.startswith("| ")]
INPUTS = [name.strip() for name in ROWS[0]]
TABLE = {row[0]: dict(zip(INPUTS, row[1:], strict=True)) for row in ROWS[1:]}


@pytest.fixture
def hand():
    made = Hand()
    yield made
    made.close()


class Said:
    """What a says to b of audiences."""

    def __init__(self, hand):
        self.words = []
        hand.on_frame = self.note

    def note(self, node, kind, body):
        if kind == Kind.AUDIENCE_SEND:
            self.words.append("send")
        elif kind == Kind.AUDIENCE_CHANGE:
            change = AudienceChange.unpack(body)
            self.words.append("joins" if change.join else "leaves" if change.ids else "forget")


def in_state(hand, state):
    """Give an audience of a's in this state, with its member on b, and another actor there."""
    hand.meet()
    member, another = record(hand.b), record(hand.b)
    group = audience(hand.a, [member.pid] if state != "NONE" else [])
    if state == "EMPTY":
        group.discard(member.pid)
    hand.settle()
    if state == "APART":
        hand.lose(hand.a)
    return group, member, another


def do(hand, what, group, member, another):
    match what:
        case "ADD":
            group.add(another.pid)
        case "ADD AGAIN":
            group.update([pid for pid in [member.pid] if pid in group])
        case "DISCARD":
            group.discard(member.pid)
        case "SEND":
            hand.a.send(group, what)
        case "ENDED":
            member.actor_ref.stop()
        case "CLOSE":
            group.close()
        case "LOST":
            hand.lose(hand.a)


def state_of(hand, group):
    """Give the state as both sides have it: they agree, for all has been carried."""
    if hand.a not in hand.peers:
        assert not len(group)
        return "APART"
    kept = hand.replicas()
    ids = {pid.id for pid in group}
    assert kept in ([], {}, {group._away.number: ids}), kept
    return "NONE" if not kept else "SOME" if ids else "EMPTY"


@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("what", INPUTS)
def test_every_transition(hand, state, what):
    group, member, another = in_state(hand, state)
    said = Said(hand)
    do(hand, what, group, member, another)
    hand.settle()
    now, *words = TABLE[state][what].split()
    assert (state_of(hand, group), said.words) == (now, words)
    assert member.got == (["SEND"] if words == ["send"] else [])
    assert not another.got


@pytest.mark.parametrize("state", TABLE)
def test_a_session_that_begins_finds_nobody_in_and_who_is_added_gets_what_is_sent_then(hand, state):
    group, member, another = in_state(hand, state)
    hand.meet()
    hand.settle()
    assert (state_of(hand, group), len(group), hand.replicas()) == ("NONE", 0, {})
    assert outcome(hand.a.send(group, "nobody", receipt=True)) == {}
    group.update([member.pid, another.pid])
    receipt = hand.a.send(group, "both", receipt=True)
    hand.settle()
    assert outcome(receipt) == {"b": {"delivered": 2}}
    assert (member.got, another.got) == (["both"], ["both"])


def test_many_members_join_and_leave_with_one_frame_each_way(hand):
    hand.meet()
    said = Said(hand)
    actors = [record(hand.b) for _ in range(50)]
    group = audience(hand.a, [actor.pid for actor in actors])
    hand.a.send(group, 1)
    hand.settle()
    assert said.words == ["joins", "send"]
    group.close()
    hand.settle()
    assert said.words == ["joins", "send", "forget"]
    assert hand.replicas() == {}
    assert all(actor.got == [1] for actor in actors)


@pytest.mark.parametrize("carried", range(5))
def test_what_is_on_the_way_when_the_session_ends_is_unreachable_and_never_comes(hand, carried):
    hand.meet()
    member = record(hand.b)
    group = audience(hand.a, [member.pid])
    receipts = [hand.a.send(group, number, receipt=True) for number in range(4)]
    hand.carry(carried, hand.a)
    hand.lose(hand.a)
    assert [outcome(receipt) for receipt in receipts] == [{"b": {"unreachable": 1}}] * 4
    hand.meet()
    group.add(member.pid)
    hand.a.send(group, "new")
    hand.settle()
    assert member.got == [*range(carried - 1), "new"] if carried else ["new"]


@pytest.mark.parametrize("first", ["a", "b"])
def test_one_side_hears_of_the_end_later_than_the_other(hand, first):
    hand.meet()
    member = record(hand.b)
    group = audience(hand.a, [member.pid])
    hand.a.send(group, 1)
    hand.settle()
    hand.lose(getattr(hand, first))
    in_vain = hand.a.send([member.pid], 2, receipt=True), hand.a.send(group, 3, receipt=True)
    hand.lose(hand.a)
    assert outcome(in_vain[0]) == {"b": {"unreachable": 1}}
    assert outcome(in_vain[1]) == ({} if first == "a" else {"b": {"unreachable": 1}})
    hand.meet()
    assert len(group) == 0
    group.add(member.pid)
    hand.a.send(group, 4)
    hand.settle()
    assert member.got == [1, 4]
    assert quiet(hand.a).sent == 3 + (first == "b") + _asked(hand)


def _asked(hand):
    """What `settle` asks a's own witness counts as well."""
    return hand.a.stats().delivered - 2


class Late:
    """An offloaded send to an audience, counted now, by a thread of its own, and handed out when the block ends."""

    def __init__(self, hand, group):
        self.offload = hand.a.local.offload
        self.held = manifold.Future()
        self.thread = ThreadPoolExecutor(1)
        self.thread.submit(self.offload.put, lambda: self.held.get(timeout=PATIENCE_S), 1).result()
        options = {"send_mode": "offload", "receipt": True}
        self.receipt = self.thread.submit(hand.a.send, group, "late", **options).result()

    def __enter__(self):
        return self.receipt

    def __exit__(self, *_):
        self.held.set(None)
        self.thread.submit(self.offload.catch_up).result()
        self.thread.shutdown()


@pytest.mark.parametrize("is_back", [False, True])
def test_an_offloaded_send_that_was_counted_before_the_node_went_is_unreachable(hand, is_back):
    """Also when the node is back: those it was meant for left the audience, and must be added anew."""
    hand.meet()
    member = record(hand.b)
    group = audience(hand.a, [member.pid])
    hand.settle()
    with Late(hand, group) as receipt:
        hand.meet() if is_back else hand.lose(hand.a)
    hand.settle()
    assert outcome(receipt) == {"b": {"unreachable": 1}}
    assert member.got == []
    if is_back:
        assert hand.replicas() == {}


def test_an_offloaded_send_that_was_counted_before_the_last_member_ended_counts_as_dead(hand):
    hand.meet()
    member = record(hand.b)
    group = audience(hand.a, [member.pid])
    hand.settle()
    with Late(hand, group) as receipt:
        member.actor_ref.stop()
        hand.settle()
        assert len(group) == 0
    hand.settle()
    assert outcome(receipt) == {"b": {"dead": 1}}


def test_a_change_that_does_not_fit_changes_nothing():
    hand = Hand(outbox_max_bytes=2_000)
    try:
        hand.meet()
        actors = [record(hand.b) for _ in range(3)]
        group = audience(hand.a, [actors[0].pid])
        with pytest.raises(manifold.Overloaded):
            for _ in range(100):
                hand.a.send(group, b"x" * 100)
        with pytest.raises(manifold.Overloaded):
            group.update([actor.pid for actor in actors])
        with pytest.raises(manifold.Overloaded):
            group.discard(actors[0].pid)
        assert list(group) == [actors[0].pid]
        hand.settle()
        assert hand.replicas() == {group._away.number: {actors[0].pid.id}}
        group.update([actor.pid for actor in actors])
        hand.settle()
        assert hand.replicas() == {group._away.number: {actor.pid.id for actor in actors}}
    finally:
        hand.close()


def test_of_a_definition_in_several_frames_those_are_in_who_were_taken():
    hand = Hand(frame_max_bytes=2_000, outbox_max_bytes=3_000)
    try:
        hand.meet()
        actors = spawn(hand.b, 600)
        group = audience(hand.a)
        with pytest.raises(manifold.Overloaded) as raised:
            group.update(pids(actors))
        assert 0 < len(group) < 600
        assert raised.value.shed == 600 - len(group)
        hand.settle()
        assert hand.replicas() == {group._away.number: {pid.id for pid in group}}
        group.update(pids(actors[-10:]))
        receipt = hand.a.send(group, "those who are in", receipt=True)
        hand.settle()
        assert outcome(receipt) == {"b": {"delivered": len(group)}}
        assert all(actor.got == (["those who are in"] if actor.pid in group else []) for actor in actors)
    finally:
        hand.close()


def hand_off(hand, group, members, message):
    """Send to an audience of a's, counting so many members on b; what became of them."""
    made = manifold.Future()

    class Told:
        own = False

        def settle(self, node, cause, number):
            made.set((cause, number))

    hand.a.local.count_sent(members)
    hand.a.cluster.send_audience(hand.b.id, group._away.number, members, encode(message), Told())
    hand.settle()
    return made.get(timeout=PATIENCE_S)


@pytest.mark.parametrize("members", [1, 2])
def test_a_message_that_counts_fewer_members_than_there_are_is_shed_and_counted_so(hand, members):
    hand.meet()
    actors = [record(hand.b) for _ in range(3)]
    group = audience(hand.a, [actor.pid for actor in actors])
    before = quiet(hand.a).shed
    assert hand_off(hand, group, members, "x") == (SHED, members)
    assert quiet(hand.a).shed == before + members
    assert not any(actor.got for actor in actors)


def test_a_message_to_an_audience_whose_definition_was_refused_is_dead_and_counted_so(hand):
    hand.meet()
    group = audience(hand.a)
    before = quiet(hand.a).dead
    assert hand_off(hand, group, 3, "x") == (DEAD, 3)
    assert quiet(hand.a).dead == before + 3


@pytest.fixture
def switching():
    """Let threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_node_may_go_while_audiences_are_made(switching):
    cluster = Cluster(manifold.Limits())
    kept = deque(maxlen=1_000)
    with ThreadPoolExecutor(1) as others:
        making = others.submit(lambda: [kept.append(cluster.audience()) for _ in range(20_000)])
        while not making.done():
            cluster.vacate("b")
    assert set(cluster.audiences.values()) == set(kept)
