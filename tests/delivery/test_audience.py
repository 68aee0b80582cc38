"""An audience is a set: a send reaches exactly those who are in it at that moment, in order with all other sends."""

import contextlib
import gc
import pickle
import weakref

import pytest

from manifold import PID, Audience, Limits, Node, Overloaded
from tests.cluster.support import until
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncCrasher,
    AsyncRecorder,
    Crasher,
    Recorder,
    Stopper,
    actor_of,
    blocked,
    by_thread,
    counts,
    read,
    spawn,
    thread_of,
)

AWAY = PID("away@00000000", 1)


def delivered(node, to, message="m"):
    return dict(node.send(to, message, receipt=True).get(timeout=WAIT_S)[node.id])


def test_it_is_a_set_of_pids():
    with Node(workers=2) as node:
        pids = spawn(node, 5)
        copy = pickle.loads(pickle.dumps(pids[0]))
        audience = Audience([*pids[:3], pids[0], copy])
        assert len(audience) == 3
        assert set(audience) == set(pids[:3])
        assert pids[0] in audience
        assert copy in audience
        assert pids[3] not in audience
        for stranger in (AWAY, 7, None, "name", str(pids[0])):
            assert stranger not in audience
        audience.add(pids[3])
        audience.add(copy)
        audience.discard(copy)
        audience.discard(pids[4])
        audience.discard(pids[0])
        assert set(audience) == set(pids[1:4])
        audience.update(iter(pids))
        assert sorted(audience) == sorted(pids)
        node.send(audience, "m")
        assert [read(node, pid) for pid in pids] == [["m"]] * 5


def test_what_is_no_pid_raises_and_changes_nothing():
    with Node(workers=2) as node:
        pids = spawn(node, 3)
        audience = Audience(pids[:1])
        for bad in (7, None, "name", object(), actor_of(pids[0]), [pids[1]]):
            with pytest.raises(TypeError):
                audience.update([pids[1], bad, pids[2]])
            with pytest.raises(TypeError):
                audience.add(bad)
            with pytest.raises(TypeError):
                audience.discard(bad)
            with pytest.raises(TypeError):
                Audience([pids[0], bad])
        with pytest.raises(TypeError):
            audience.update(7)
        assert list(audience) == pids[:1]


def test_a_closed_audience_raises_and_closing_twice_is_no_error():
    with Node(workers=2) as node:
        pids = spawn(node, 3)
        audience = Audience(pids)
        node.send(audience, "sent")
        audience.close()
        audience.close()
        before = counts(node)
        for change in (
            audience.add,
            audience.discard,
            lambda pid: audience.update([pid]),
            lambda _: node.send(audience, "m"),
        ):
            with pytest.raises(ValueError):
                change(pids[0])
        with pytest.raises(ValueError):
            node.send(audience, "m", send_mode="offload")
        assert counts(node) == before
        assert len(audience) == 0
        assert pids[0] not in audience
        assert list(audience) == []
        assert [read(node, pid) for pid in pids] == [["sent"]] * 3


def test_a_send_reaches_exactly_those_who_are_in_at_that_moment():
    with Node(workers=3) as node:
        pids = spawn(node, 30)
        expected = {pid: [] for pid in pids}
        audience = Audience()
        members = set()
        for number in range(300):
            pid = pids[number * 7 % 30]
            if number % 3 == 2:
                audience.discard(pid)
                members.discard(pid)
            elif number % 3 == 1:
                more = pids[number % 20 : number % 20 + 4]
                audience.update(more)
                members.update(more)
            else:
                audience.add(pid)
                members.add(pid)
            node.send(audience, number, send_mode="offload" if number % 4 == 0 else None)
            assert set(audience) == members
            for member in members:
                expected[member].append(number)
        assert {pid: read(node, pid) for pid in pids} == expected


def test_it_keeps_order_with_all_other_sends():
    with Node(workers=2) as node:
        pids = [*spawn(node, 20), *spawn(node, 20, AsyncRecorder)]
        audiences = [Audience(pids), Audience(reversed(pids))]
        for number in range(0, 200, 4):
            node.send(audiences[0], number)
            node.send(pids, number + 1)
            node.send(audiences[1], number + 2)
            for pid in pids:
                node.send(pid, number + 3)
        assert [read(node, pid) for pid in pids] == [list(range(200))] * 40


@pytest.mark.parametrize("end", ["die", "crash", "ref.stop"])
def test_members_that_stop_leave_by_themselves(end):
    with Node(workers=2) as node:
        pids = spawn(node, 20, Stopper)
        audience, other = Audience(pids), Audience(pids[5:])
        ends = pids[:10]
        if end == "ref.stop":
            for pid in ends:
                actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        else:
            actors = [actor_of(pid).actor_ref for pid in ends]
            node.send(ends, end)
            for ref in actors:
                ref.stop(timeout=WAIT_S)
        for pid in pids[10:]:
            read(node, pid)
        assert set(audience) == set(other) == set(pids[10:])
        assert delivered(node, audience) == {"delivered": 10, "dead": 0, "shed": 0, "unreachable": 0}
        assert delivered(node, other)["delivered"] == 10


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("cls", [Crasher, AsyncCrasher])
def test_members_that_crash_during_the_very_batch_cost_the_others_nothing(workers, cls):
    with Node(workers=workers) as node:
        good, bad = spawn(node, 700), spawn(node, 300, cls)
        audience = Audience([*good[:350], *bad, *good[350:]])
        refs = [actor_of(pid).actor_ref for pid in bad]
        first = node.send(audience, ValueError("crash"), receipt=True)
        second = node.send(audience, "after", receipt=True)
        assert dict(first.get(timeout=WAIT_S)[node.id])["delivered"] == 1000
        outcome = dict(second.get(timeout=WAIT_S)[node.id])
        assert outcome["delivered"] == 700
        for ref in refs:
            ref.stop(timeout=WAIT_S)
        assert [read(node, pid)[1:] for pid in good] == [["after"]] * 700
        assert set(audience) == set(good)
        assert counts(node)["in_flight"] == 0


@pytest.mark.parametrize("cls", [Crasher, AsyncCrasher])
@pytest.mark.parametrize("warm", [False, True])
def test_no_member_gets_anything_after_the_send_that_ended_it(cls, warm):
    with Node(workers=1) as node:
        good, bad = spawn(node, 20), spawn(node, 10, cls)
        log = []
        for pid in bad:
            actor_of(pid).got = log
        audience = Audience([*good[:10], *bad, *good[10:]])
        if warm:
            node.send(audience, "before")
            assert [read(node, pid)[:1] for pid in [*good, *bad]] == [["before"]] * 30
            log.clear()
        with blocked(node):
            node.send(audience, ValueError("crash"))
            receipts = [node.send(audience, number, receipt=True) for number in range(3)]
        for receipt in receipts:
            outcome = receipt.get(timeout=WAIT_S)[node.id]
            assert (outcome.delivered, outcome.dead) == (20, 10)
        assert log == []
        assert [read(node, pid)[-3:] for pid in good] == [[0, 1, 2]] * 20


def test_a_garbage_collected_audience_still_delivers_what_was_sent():
    with Node(workers=2) as node:
        pids = spawn(node, 50)
        with blocked(node):
            audience = Audience(pids)
            gone = weakref.ref(audience)
            for number in range(3):
                node.send(audience, number)
            node.send(audience, 3, send_mode="offload")
            node.send(pids, 4)
            del audience
        assert [read(node, pid) for pid in pids] == [[0, 1, 2, 3, 4]] * 50
        assert until(lambda: (gc.collect(), gone())[1] is None, WAIT_S)  # a thread that stands still may hold it
        node.send(pids, 5)
        assert [read(node, pid)[-1] for pid in pids] == [5] * 50


def test_a_closed_audience_still_delivers_what_was_sent():
    with Node(workers=2) as node:
        pids = spawn(node, 50)
        with blocked(node):
            audience = Audience(pids)
            node.send(audience, 0)
            node.send(audience, 1, send_mode="offload")
            audience.close()
        assert [read(node, pid) for pid in pids] == [[0, 1]] * 50


def test_watches_of_audiences_that_are_gone_do_not_pile_up():
    with Node(workers=2) as node:
        pids = spawn(node, 20)
        for number in range(50):
            audience = Audience(pids)
            node.send(audience, number)
            if number % 2:
                audience.close()
        del audience
        gc.collect()
        node.resize(1)
        node.send(pids, 50)
        assert [read(node, pid) for pid in pids] == [list(range(51))] * 20
        assert [len(actor_of(pid)._mf_watchers or ()) for pid in pids] == [0] * 20


@pytest.mark.parametrize("cls", [Recorder, AsyncRecorder])
def test_an_audience_goes_on_across_resizes(cls):
    with Node(workers=2) as node:
        pids = spawn(node, 60, cls)
        audience = Audience(pids[:30])
        expected = {pid: [] for pid in pids}
        members = list(pids[:30])
        for number, workers in enumerate([3, 1, 4, 2, 1, 3]):
            for step in range(4):
                if step == 1:
                    node.resize(workers)
                elif step == 2:
                    audience.discard(members.pop(0))
                    members.append(pids[30 + number])
                    audience.add(members[-1])
                node.send(audience, (number, step))
                for pid in members:
                    expected[pid].append((number, step))
            assert {pid: read(node, pid) for pid in pids} == expected
        assert set(audience) == set(members)


def test_members_that_stop_after_a_resize_leave_too():
    with Node(workers=3) as node:
        pids = spawn(node, 60, Stopper)
        audience = Audience(pids)
        for workers in (1, 4, 2):
            node.resize(workers)
            ends, pids = pids[:10], pids[10:]
            for pid in ends:
                actor_of(pid).actor_ref.stop(timeout=WAIT_S)
            assert set(audience) == set(pids)
            assert delivered(node, audience)["delivered"] == len(pids)
        assert counts(node)["dead"] == 0


def test_adding_what_has_stopped_or_is_stale_changes_nothing():
    with Node("twice", workers=1) as node:
        stale = node.spawn(Recorder)
    with Node("twice", workers=2) as node:
        pid, dead = spawn(node, 2)
        actor_of(dead).actor_ref.stop(timeout=WAIT_S)
        audience = Audience([pid, dead, PID.parse(str(dead))])
        audience.add(dead)
        assert list(audience) == [pid]
        audience.add(PID(node.id, 1 << 60))
        assert list(audience) == [pid]
        audience.discard(dead)
        audience.add(stale)
        outcomes = node.send(audience, "m", receipt=True).get(timeout=WAIT_S)
        assert outcomes[node.id].delivered == 1
        assert sum(outcome.dead for outcome in outcomes.values()) == 0


def test_audiences_that_share_members_do_not_touch_each_other():
    with Node(workers=2) as node:
        pids = spawn(node, 30)
        one, two = Audience(pids[:20]), Audience(pids[10:])
        node.send(one, 1)
        node.send(two, 2)
        one.discard(pids[15])
        one.close()
        node.send(two, 3)
        two.discard(pids[12])
        node.send(two, 4)
        for index, pid in enumerate(pids):
            expected = [1] if index < 20 else []
            if index >= 10:
                expected += [2, 3] if index == 12 else [2, 3, 4]
            assert read(node, pid) == expected


def test_changes_that_find_no_room_raise_and_change_nothing():
    with Node(workers=2, limits=Limits(worker_queue_max_bytes=2000)) as node:
        groups = by_thread(node, spawn(node, 40))
        thread, other = sorted(groups)
        stuck, free = groups[thread], groups[other]
        audience = Audience([stuck[0], free[0]])
        thread_of(node, stuck[0])
        with blocked(node, thread):
            with pytest.raises(Overloaded):
                for _ in range(1000):
                    node.send(stuck[1], "fill")
            for change in (lambda: audience.add(stuck[2]), lambda: audience.discard(stuck[0])):
                with pytest.raises(Overloaded) as raised:
                    change()
                assert raised.value.nodes == (node.id,)
            with pytest.raises(Overloaded):
                audience.update([free[1], stuck[2]])
            assert set(audience) == {stuck[0], free[0]}
            audience.add(free[2])
            audience.discard(free[0])
        assert set(audience) == {stuck[0], free[2]}
        read(node, stuck[0])
        audience.add(stuck[2])
        node.send(audience, "m")
        got = {pid for pid in [*stuck, *free] if "m" in read(node, pid)}
        assert got == {stuck[0], stuck[2], free[2]}


def test_a_send_costs_the_sender_the_same_however_many_members_there_are():
    with Node(workers=2) as node:
        pids = spawn(node, 4000)
        small, large = Audience(pids[:100]), Audience(pids)
        read(node, pids[0])
        groups = by_thread(node, pids[:40])
        with contextlib.ExitStack() as stack:
            for thread in groups:
                stack.enter_context(blocked(node, thread))
            start = node.stats().queued_bytes
            node.send(small, "m")
            middle = node.stats().queued_bytes
            node.send(large, "m")
            assert node.stats().queued_bytes - middle == middle - start


def test_an_empty_audience_reaches_nobody():
    with Node(workers=2) as node:
        audience = Audience()
        node.send(audience, "m")
        assert node.send(audience, "m", receipt=True).get(timeout=WAIT_S) == {}
        assert counts(node)["sent"] == 0


def test_an_audience_of_a_member_before_its_start_sends_after_it():
    seen = []

    class Early(Recorder):
        def __init__(self):
            super().__init__()
            seen.append(Audience([self.pid]))
            self.node.send(seen[0], "early")

        def on_start(self):
            self.got.append("started")

    with Node(workers=2) as node:
        pid = node.spawn(Early)
        node.send(seen[0], "late")
        assert read(node, pid) == ["started", "early", "late"]
