"""A roster is the members of an audience on one node; as a replica it says who left, and is refused no room."""

import threading

import pytest

from manifold import Limits, Node, Overloaded
from manifold.core.pid import PID
from tests.delivery.actors_for_tests import WAIT_S, Crasher, Recorder, actor_of, blocked, read, spawn


class Left:
    """Collects the ids of members that left, and the last joins that these were told with."""

    def __init__(self, number):
        self.ids = []
        self.joins = []
        self._number = number
        self.all = threading.Event()

    def __call__(self, number, last_join):
        self.ids.append(number)
        self.joins.append(last_join)
        if len(self.ids) == self._number:
            self.all.set()


def send(roster, message, counted=None):
    with roster.lock:
        return roster.send(message, None, len(roster) if counted is None else counted, len(roster))


def test_it_gives_the_ids_of_those_that_do_not_run():
    with Node(workers=2) as node:
        pids = spawn(node, 4)
        for pid in pids[2:]:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        roster = node.local.roster(Left(1))
        assert sorted(roster.update([*pids, pids[0]])) == sorted(pid.id for pid in pids[2:])
        assert set(roster) == set(pids[:2])
        assert roster.update(PID.parse(str(pid)) for pid in pids[:2]) == []
        assert len(roster) == 2


def test_a_replica_says_once_who_left():
    with Node(workers=2) as node:
        pids = spawn(node, 20, Crasher)
        left = Left(10)
        roster = node.local.roster(left)
        roster.update(pids)
        refs = [actor_of(pid).actor_ref for pid in pids[:10]]
        node.send(pids[:5], ValueError("crash"))
        for ref in refs:
            ref.stop(block=False)
        assert left.all.wait(WAIT_S)
        for pid in pids[10:]:
            read(node, pid)
        assert sorted(left.ids) == sorted(pid.id for pid in pids[:10])
        assert set(roster) == set(pids[10:])


def test_one_taken_out_before_its_end_is_not_said_to_have_left():
    with Node(workers=1) as node:
        pids = spawn(node, 3)
        left = Left(1)
        roster = node.local.roster(left)
        roster.update(pids)
        roster.discard(pids[0].id)
        roster.discard(pids[0].id)
        roster.discard(12345)
        for pid in pids[:2]:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        assert left.all.wait(WAIT_S)
        read(node, pids[2])
        assert left.ids == [pids[1].id]


def test_who_has_left_is_told_with_the_last_join_whichever_it_came_in_with():
    with Node(workers=1) as node:
        pids = spawn(node, 3)
        left = Left(2)
        roster = node.local.roster(left)
        roster.update(pids[:1], 1)
        actor_of(pids[2]).actor_ref.stop(timeout=WAIT_S)
        assert roster.update(pids[1:], 2) == [pids[2].id]
        actor_of(pids[0]).actor_ref.stop(timeout=WAIT_S)
        roster.discard(pids[1].id)
        roster.update(pids[1:2], 7)
        actor_of(pids[1]).actor_ref.stop(timeout=WAIT_S)
        assert left.all.wait(WAIT_S)
        assert list(zip(left.ids, left.joins)) == [(pids[0].id, 2), (pids[1].id, 7)]


def test_a_replica_is_refused_no_room_for_changes():
    with Node(workers=1, limits=Limits(worker_queue_max_bytes=2000)) as node:
        pids = spawn(node, 3)
        roster = node.local.roster(Left(1))
        with blocked(node):
            with pytest.raises(Overloaded):
                for _ in range(1000):
                    node.send(pids[0], "fill")
            roster.update(pids)
            roster.discard(pids[1].id)
        read(node, pids[0])
        assert send(roster, "m") == 0
        assert [read(node, pid)[-1:] == ["m"] for pid in pids] == [True, False, True]


def test_a_send_that_counted_more_members_than_there_are_left_counts_those_as_dead():
    with Node(workers=1) as node:
        pids = spawn(node, 3)
        roster = node.local.roster(Left(1))
        roster.update(pids)
        node.local.count_sent(1)
        assert send(roster, "m", counted=4) == 0
        assert [read(node, pid) for pid in pids] == [["m"]] * 3
        stats = node.stats()
        assert (stats.sent, stats.delivered, stats.dead, stats.in_flight) == (7, 6, 1, 0)


def test_a_closed_roster_reaches_nobody_and_hears_of_nobody():
    with Node(workers=2) as node:
        pids = spawn(node, 4)
        left = Left(1)
        roster = node.local.roster(left)
        roster.update(pids)
        send(roster, "sent")
        roster.close()
        assert len(roster) == 0
        assert send(roster, "m") == 0
        assert [read(node, pid) for pid in pids] == [["sent"]] * 4
        for pid in pids:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        read(node, node.spawn(Recorder))
        assert left.ids == []
