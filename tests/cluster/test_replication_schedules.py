"""Two audiences of one node with members on another; any schedule of changes, sends, ends of members, frames carried
one by one, and sessions that end: each member gets just what reached its node while it was in, once and in order.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from manifold.core.bodies import AudienceSend, Kind, Send
from manifold.core.codec import decode
from tests.cluster.hand import Hand
from tests.cluster.support import audience, quiet, record

GROUPS = 2
ACTORS = 4

groups, actors = st.integers(0, GROUPS - 1), st.integers(0, ACTORS - 1)
nodes = st.sampled_from("ab")
joins = st.tuples(st.just("add"), groups, st.lists(actors, min_size=1, max_size=3))
leaves = st.tuples(st.just("discard"), groups, actors)
sends = st.tuples(st.just("send"), groups, st.booleans())
carries = st.tuples(st.just("carry"), nodes, st.integers(1, 4))
seldom = st.one_of(
    st.tuples(st.just("discard_all"), groups),
    st.tuples(st.just("send_to_one"), actors, st.booleans()),
    st.tuples(st.just("close"), groups),
    st.tuples(st.just("end"), actors),
    st.tuples(st.just("settle")),
    st.tuples(st.just("lose"), nodes),
    st.tuples(st.just("meet")),
    st.tuples(st.just("meet")),
)
steps = joins | joins | joins | leaves | leaves | sends | sends | sends | carries | carries | carries | seldom | seldom


class World:
    """The two sides, and what each actor on b is due, by the frames that reached it."""

    def __init__(self, hand):
        self.hand = hand
        hand.on_frame = self.on_frame
        self.actors = [record(hand.b) for _ in range(ACTORS)]
        self.groups = [audience(hand.a) for _ in range(GROUPS)]
        self.members = [set() for _ in range(GROUPS)]
        self.meant_for = []  # who was to get each message
        self.due = [[] for _ in range(ACTORS)]
        self.ended = set()
        hand.meet()

    def on_frame(self, node, kind, body):
        if kind in (Kind.SEND, Kind.AUDIENCE_SEND):
            number = decode((Send if kind == Kind.SEND else AudienceSend).unpack(body).message)
            for at in self.meant_for[number] - self.ended:
                self.due[at].append(number)

    def has_session(self):
        return self.hand.a in self.hand.peers

    # What may happen.

    def add(self, group, actors):
        self.groups[group].update([self.actors[at].pid for at in actors])
        if self.has_session():
            self.members[group].update(actors)

    def discard(self, group, actor):
        self.groups[group].discard(self.actors[actor].pid)
        self.members[group].discard(actor)

    def discard_all(self, group):
        for actor in list(self.members[group]):
            self.discard(group, actor)

    def close(self, group):
        self.groups[group].close()
        self.groups[group], self.members[group] = audience(self.hand.a), set()

    def send(self, group, offload):
        self._send(self.groups[group], self.members[group], offload)

    def send_to_one(self, actor, offload):
        self._send([self.actors[actor].pid], {actor}, offload)

    def _send(self, to, recipients, offload):
        self.meant_for.append(set(recipients))
        self.hand.a.send(to, len(self.meant_for) - 1, send_mode="offload" if offload else None)
        self.hand.a.local.offload.catch_up()

    def end(self, actor):
        self.actors[actor].actor_ref.stop()
        self.ended.add(actor)

    def carry(self, node, packets):
        self.hand.carry(packets, getattr(self.hand, node))

    def settle(self):
        self.hand.settle()

    def lose(self, node):
        self.hand.lose(getattr(self.hand, node))
        if node == "a":
            self.members = [set() for _ in range(GROUPS)]

    def meet(self):
        self.lose("a")
        self.hand.meet()

    # What must hold.

    def check(self):
        if len(self.hand.peers) < 2:
            self.meet()
        self.settle()
        assert [actor.got for actor in self.actors] == self.due
        assert quiet(self.hand.a).shed == 0
        kept = self.hand.replicas()
        for group, members in zip(self.groups, self.members, strict=True):
            alive = {self.actors[at].pid for at in members - self.ended}
            assert set(group) == alive
            assert kept.pop(group._away.number, set()) == {pid.id for pid in alive}
            group.close()
        assert not kept, "a replica that nobody owns"
        self.settle()
        assert not self.hand.replicas()


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(steps, min_size=10, max_size=50))
def test_any_schedule(schedule):
    hand = Hand()
    try:
        world = World(hand)
        for what, *how in schedule:
            getattr(world, what)(*how)
        world.check()
    finally:
        hand.close()
