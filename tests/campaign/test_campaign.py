"""The short campaign, which is part of the tests; and that it finds what is broken on purpose."""

from __future__ import annotations

import pytest

from manifold.actors.monitor import MonitorRef
from manifold.cluster.answers import Reply
from manifold.cluster.arrivals import _RemoteWatcher
from manifold.cluster.away import Away
from manifold.cluster.cluster import Cluster
from manifold.cluster.peer import Peer
from manifold.core.bodies import Down, Kind
from manifold.core.flow import Inflow
from manifold.core.link import Link
from manifold.delivery import moving
from manifold.delivery.offload import Offload
from manifold.delivery.roster import Roster
from tests.campaign.cli import cleanly, prepared
from tests.campaign.plan import plan
from tests.campaign.simulated import run


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with prepared():
        yield


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_twenty_schedules(first):
    for seed in range(first, first + 20):
        result = cleanly(run, seed)
        assert not result.wrong, f"python -m tests.campaign sim --seed {seed} --schedules 1\n" + "\n".join(result.wrong)


FOUND = {
    2750: "two nodes had sessions of the same number with a third, which took one for the other",
    6274: "a node joined one alone that was killed before it had met any other, and did not come back",
    8075: "an actor that ended while it moved kept the worker it came to, which was to be taken away",
    14401: "members that were given up at the end of a node changed its audiences, and that counted as queued",
    23667: "an impostor that had come to be welcome was killed while the judge looked",
    8394: "a node had still to do what came from one that had lost it, and the judge looked already",
    9037: "whoever monitors an actor that has just ended is told so before what it had offloaded is there",
}
"""What longer campaigns have found."""


@pytest.mark.parametrize("seed", FOUND)
def test_schedules_that_went_wrong_once(seed):
    result = cleanly(run, seed)
    assert not result.wrong, "\n".join([FOUND[seed], *result.wrong])


def test_a_seed_says_everything():
    assert run(11).digest == run(11).digest
    assert run(11).digest != run(12).digest


# What is broken on purpose.


def nobody_waits_for_the_offloaded(patch):
    patch.setattr(Offload, "holds", lambda self, sender=None: False)


def what_came_meanwhile_goes_first(patch):
    arrive = moving.arrive

    def hasty(worker, actor, inbox, unborn):
        waiting = worker.visits[id(actor)][0].inbox
        inbox.extendleft(reversed(waiting))
        waiting.clear()
        arrive(worker, actor, inbox, unborn)

    patch.setattr(moving, "arrive", hasty)


def what_is_sent_again_is_taken_again(patch):
    accept = Inflow.accept

    def gullible(self, packet, now):
        known = self.received + 1 - packet.first
        return list(packet.frames) if known > 0 else accept(self, packet, now)

    patch.setattr(Inflow, "accept", gullible)


def gaps_are_not_seen(patch):
    accept = Inflow.accept

    def blind(self, packet, now):
        self.received = max(self.received, packet.first - 1)
        return accept(self, packet, now)

    patch.setattr(Inflow, "accept", blind)


def what_was_under_way_is_not_counted(patch):
    down = Peer.down

    def careless(self):
        down(self)
        return 0

    patch.setattr(Peer, "down", careless)


def members_of_a_lost_node_stay(patch):
    patch.setattr(Away, "lost", lambda self, node: None)


def replicas_are_kept(patch):
    patch.setattr(Cluster, "forget_audience", lambda self, number, nodes: None)


def members_that_end_stay(patch):
    patch.setattr(Roster, "lost", lambda self, pid: None)


def monitors_fire_twice(patch):
    on_end = MonitorRef.on_end

    def eager(self, pid, reason):
        on_end(self, pid, reason)
        self._owner._mf_monitors is not None and self._owner._mf_monitors.setdefault(self)
        on_end(self, pid, reason)

    patch.setattr(MonitorRef, "on_end", eager)
    patch.setattr(
        "manifold.delivery.life._notice", lambda worker, actor, notice: worker.handle(actor, notice.down, None)
    )


def ends_overtake_what_was_offloaded(patch):
    def hasty(self, pid, reason):
        self._watchers.pop(self._monitor, None)
        self._put(Kind.DOWN, Down(self._monitor, reason).pack())

    patch.setattr(_RemoteWatcher, "on_end", hasty)


def some_answers_are_lost(patch):
    set_ = Reply.set
    patch.setattr(Reply, "set", lambda self, value=None: None if self._question % 3 == 0 else set_(self, value))


def what_was_queued_is_kept(patch):
    patch.setattr(Link, "forget", lambda self: None)


@pytest.mark.parametrize(
    ("breaks", "said", "needs"),
    [
        (what_was_queued_is_kept, "left with frames to those that are over", ""),
        (nobody_waits_for_the_offloaded, "reordered", ""),
        (what_came_meanwhile_goes_first, "reordered", "resize"),
        (what_is_sent_again_is_taken_again, "duplicated", ""),
        (gaps_are_not_seen, "lost", ""),
        (what_was_under_way_is_not_counted, "in flight for ever", "partition"),
        (members_of_a_lost_node_stay, "too many", "partition"),
        (replicas_are_kept, "replicas", ""),
        (members_that_end_stay, "an audience", "crash"),
        (monitors_fire_twice, "fired 2 times", "crash"),
        (ends_overtake_what_was_offloaded, "after it was told of its end", "crash monitor"),
        (some_answers_are_lost, "never heard", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_it_finds_what_is_broken(monkeypatch, breaks, said, needs):
    breaks(monkeypatch)
    seeds = [seed for seed in range(1000) if {*needs.split()} <= {*plan(seed).kinds}]
    results = (cleanly(run, seed) for seed in seeds[:300])
    assert any(said in line for result in results for line in result.wrong)
