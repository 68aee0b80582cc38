"""A full queue sheds, says so, and counts it; nobody else loses anything; drain() hears of room."""

import asyncio

import pytest

from manifold import AskTimeout, Audience, Limits, Node, Overloaded
from tests.delivery.actors_for_tests import (
    WAIT_S,
    Recorder,
    Threads,
    actor_of,
    blocked,
    by_thread,
    counts,
    home_of,
    read,
    settled,
    spawn,
)

SMALL = Limits(worker_queue_max_bytes=2000, offload_queue_max_bytes=2000)


def fill(node, pid):
    """Send 0, 1, 2, ... until the queue is full; give how many were taken."""
    for number in range(1000):
        try:
            node.send(pid, number)
        except Overloaded:
            return number
    pytest.fail("the queue never was full")


def two_groups(node):
    """Give the PIDs of two workers, and the thread of the first."""
    groups = by_thread(node, spawn(node, 40))
    thread, other = sorted(groups)
    return thread, groups[thread], groups[other]


def test_a_full_queue_raises_overloaded_which_names_the_node():
    with Node(workers=1, limits=SMALL) as node:
        pid = node.spawn(Recorder)
        with blocked(node):
            taken = fill(node, pid)
            with pytest.raises(Overloaded) as raised:
                node.send([pid, pid], "shed")
            assert raised.value.nodes == (node.id,)
            assert raised.value.shed == 2
            with pytest.raises(Overloaded):
                node.send(pid, "shed", pack_mode="binary")
            with pytest.raises(Overloaded):
                node.ask(pid, "shed")
            with pytest.raises(Overloaded):
                actor_of(pid).actor_ref.tell("shed")
            stats = counts(node)
            assert stats["shed"] == 1 + 2 + 1 + 1 + 1
            assert stats["in_flight"] + stats["delivered"] == taken + 1
        assert 0 < taken < 20
        assert read(node, pid) == list(range(taken))
        assert settled(node)["in_flight"] == 0


def test_the_others_get_theirs_and_only_what_was_shed_is_counted_so():
    with Node(workers=2, limits=SMALL) as node:
        thread, stuck, free = two_groups(node)
        with blocked(node, thread):
            fill(node, stuck[0])
            shed = counts(node)["shed"]
            for binary in (None, "binary"):
                with pytest.raises(Overloaded) as raised:
                    node.send([stuck[0], free[0], stuck[1], free[1]], "m", pack_mode=binary)
                assert raised.value.shed == 2
                assert [read(node, pid)[-1] for pid in free[:2]] == ["m", "m"]
            assert [read(node, pid) for pid in free[:2]] == [["m", "m"]] * 2
            assert counts(node)["shed"] == shed + 4
        assert "m" not in read(node, stuck[0])
        assert read(node, stuck[1]) == []


def test_an_audience_sheds_for_the_full_worker_alone():
    with Node(workers=2, limits=SMALL) as node:
        thread, stuck, free = two_groups(node)
        audience = Audience([*stuck[:3], *free[:2]])
        settled(node, [*stuck, *free])
        with blocked(node, thread):
            fill(node, stuck[0])
            shed = counts(node)["shed"]
            with pytest.raises(Overloaded) as raised:
                node.send(audience, "m")
            assert (raised.value.nodes, raised.value.shed) == ((node.id,), 3)
            assert [read(node, pid) for pid in free[:2]] == [["m"]] * 2
            assert counts(node)["shed"] == shed + 3
        assert settled(node, stuck)["in_flight"] == 0
        node.send(audience, "again")
        assert [read(node, pid)[-1] for pid in [*stuck[:3], *free[:2]]] == ["again"] * 5


def test_what_an_offloaded_send_sheds_is_in_its_receipt():
    with Node(workers=2, limits=SMALL) as node:
        thread, stuck, free = two_groups(node)
        with blocked(node, thread):
            fill(node, stuck[0])
            receipt = node.send([*stuck[:3], *free[:2]], "m", send_mode="offload", receipt=True)
            outcome = dict(receipt.get(timeout=WAIT_S)[node.id])
            assert outcome == {"delivered": 2, "dead": 0, "shed": 3, "unreachable": 0}


def test_a_shed_message_leaves_no_gap_for_what_was_taken():
    with Node(workers=1, limits=SMALL) as node:
        pids = spawn(node, 5)
        taken = []
        with Threads() as threads:
            with blocked(node):
                fill(node, pids[0])
            for number in range(2000, 4000):
                try:
                    node.send(pids, number)
                except Overloaded:
                    continue
                taken.append(number)
            threads.start(lambda: None)
        until_room(node)
        assert [[got for got in read(node, pid) if got >= 2000] for pid in pids] == [taken] * 5
        stats = settled(node)
        assert stats["in_flight"] == 0
        assert stats["shed"] >= 5 * (2000 - len(taken))


def until_room(node):
    asyncio.run(asyncio.wait_for(node.drain(), WAIT_S))


async def test_drain_waits_for_room_and_returns_when_there_is():
    async with Node(workers=2, limits=SMALL) as node:
        await asyncio.wait_for(node.drain(), WAIT_S)
        pid = node.spawn(Recorder)
        with blocked(node, home_of(node, pid)):
            fill(node, pid)
            waiting = [asyncio.create_task(node.drain()) for _ in range(3)]
            for _ in range(5):
                await asyncio.to_thread(int)
            assert not any(task.done() for task in waiting)
        await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)
        node.send(pid, "there is room")
        assert (await node.ask(pid, "m", WAIT_S)) is None


async def test_drain_returns_under_constant_load():
    async with Node(workers=1, limits=SMALL) as node:
        again = node.spawn(Endless)
        pid = node.spawn(Recorder)
        with blocked(node):
            node.send(again, "go")
            fill(node, pid)
            waiting = asyncio.create_task(node.drain())
            await asyncio.sleep(0)
        await asyncio.wait_for(waiting, WAIT_S)
        await asyncio.wait_for(node.drain(), WAIT_S)
        actor_of(again).more = False


class Endless(Recorder):
    """Sends to itself, on and on."""

    more = True

    def on_receive(self, message):
        if self.more:
            self.node.send(self.pid, message)


async def test_a_cancelled_drain_does_not_hinder_the_others():
    async with Node(workers=1, limits=SMALL) as node:
        pid = node.spawn(Recorder)
        with blocked(node):
            fill(node, pid)
            given_up, waiting = asyncio.create_task(node.drain()), asyncio.create_task(node.drain())
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        await asyncio.wait_for(waiting, WAIT_S)


def test_queued_bytes_say_what_waits_and_fall_to_zero():
    with Node(workers=2) as node:
        pids = spawn(node, 100)
        for pid in pids:
            read(node, pid)
        assert node.stats().queued_bytes == 0
        audience = Audience(pids)
        with blocked(node):
            before = node.stats().queued_bytes
            node.send(pids, "m")
            node.send(audience, "m")
            assert node.stats().queued_bytes > before
        for pid in pids:
            assert read(node, pid) == ["m", "m"]
        audience.close()
        settled(node, pids)
        assert node.stats().queued_bytes == 0


def test_control_is_never_shed():
    with Node(workers=1, limits=SMALL) as node:
        pid, other = spawn(node, 2)
        ref = actor_of(pid).actor_ref
        with blocked(node):
            fill(node, other)
            stopped = ref.stop(block=False)
        assert stopped.get(timeout=WAIT_S) is True
        assert not ref.is_alive()


def test_a_start_is_never_shed():
    with Node(workers=1, limits=SMALL) as node:
        other = node.spawn(Recorder)
        with blocked(node):
            fill(node, other)
            pid = node.spawn(Starter)
        assert read(node, pid) == ["started"]


class Starter(Recorder):
    """Notes its start."""

    def on_start(self):
        self.got.append("started")


def test_an_ask_that_was_taken_is_answered_after_the_queue_was_full():
    with Node(workers=1, limits=SMALL) as node:
        pid = node.spawn(Recorder)
        with blocked(node):
            future = node.ask(pid, "which", WAIT_S)
            fill(node, pid)
            with pytest.raises(AskTimeout):
                future.get(timeout=0.001)
        assert future.get(timeout=WAIT_S) is None
