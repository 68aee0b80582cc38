"""A resize moves about 1/(n+1) of the actors, and nobody sees it: order, once each, and every count stay."""

import itertools
import threading

import pytest

from manifold import Audience, Node, NodeStopped
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncGate,
    AsyncRecorder,
    Recorder,
    Threads,
    actor_of,
    blocked,
    by_thread,
    counts,
    held,
    read,
    spawn,
    thread_of,
)

KINDS = pytest.mark.parametrize("cls", [Recorder, AsyncRecorder])


def threads_of(node, pids):
    futures = [(pid, node.ask(pid, "which thread runs you", WAIT_S)) for pid in pids]
    return {pid: future.get() for pid, future in futures}


def worker_threads(node):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{node.name}-worker-")]


@KINDS
def test_one_worker_more_takes_its_share_and_no_other_actor_moves(cls):
    with Node(workers=1) as node:
        pids = spawn(node, 2000, cls)
        for workers in (2, 3, 4):
            before = threads_of(node, pids)
            node.resize(workers)
            after = threads_of(node, pids)
            moved = [pid for pid in pids if before[pid] != after[pid]]
            assert 0.7 / workers < len(moved) / 2000 < 1.3 / workers
            assert {after[pid] for pid in moved} == set(after.values()) - set(before.values())
            assert node.stats().workers == workers == len(set(after.values()))


@KINDS
def test_one_worker_less_gives_its_share_away_and_no_other_actor_moves(cls):
    with Node(workers=4) as node:
        pids = spawn(node, 2000, cls)
        for workers in (3, 2, 1):
            before = threads_of(node, pids)
            node.resize(workers)
            after = threads_of(node, pids)
            gone = set(before.values()) - set(after.values())
            assert len(gone) == 1
            assert all((before[pid] in gone) == (before[pid] != after[pid]) for pid in pids)
            shares = [len(share) / 2000 for share in by_thread(node, pids).values()]
            assert all(0.7 / workers < share < 1.3 / workers for share in shares)


def test_a_resize_to_the_same_number_moves_nobody():
    with Node(workers=3) as node:
        pids = spawn(node, 500)
        before = threads_of(node, pids)
        node.resize(3)
        assert threads_of(node, pids) == before


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", None, True, 1_000_000])
def test_a_resize_out_of_range_raises_and_changes_nothing(workers):
    with Node(workers=2) as node:
        with pytest.raises(ValueError):
            node.resize(workers)
        assert node.stats().workers == 2


async def test_a_loop_node_and_a_stopped_one_cannot_be_resized():
    async with Node(worker_kind="loop") as node:
        with pytest.raises(ValueError):
            node.resize(2)
    with Node(workers=1) as node:
        pass
    with pytest.raises(NodeStopped):
        node.resize(2)


def send_all_ways(node, pids, audience, sender, number):
    """Send (sender, 0), (sender, 1), ... to every one of `pids` in changing ways."""
    ways = itertools.cycle(
        [
            lambda m: node.send(pids, m),
            lambda m: [node.send(pid, m) for pid in pids],
            lambda m: node.send(audience, m),
            lambda m: node.send(iter(pids), m, send_mode="offload"),
            lambda m: node.send([actor_of(pid).actor_ref for pid in pids], m),
            lambda m: node.send(audience, m, send_mode="offload"),
            lambda m: node.send(pids, m, pack_mode="binary"),
            lambda m: [node.ask(pid, m) for pid in pids],
        ]
    )
    for count, way in zip(range(number), ways, strict=False):
        way((sender, count))
    node.send(pids, "end", receipt=True).get(timeout=WAIT_S)


@KINDS
@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 8])
def test_resizes_forth_and_back_before_the_workers_hear_of_any_lose_nothing(cls, turns):
    with Node(workers=1) as node:
        pids = spawn(node, 30, cls)
        with blocked(node):
            for number in range(turns):
                node.send(pids, number)
                node.resize((2, 1)[number % 2])
        node.send(pids, turns)
        futures = [node.ask(pid, "read what you got", WAIT_S) for pid in pids]
        assert [future.get() for future in futures] == [list(range(turns + 1))] * 30
        assert counts(node)["in_flight"] == 0


@KINDS
def test_order_is_kept_while_workers_come_and_go(cls):
    with Node(workers=2) as node:
        pids = spawn(node, 120, cls)
        audiences = [Audience(pids) for _ in range(3)]
        resizes = itertools.cycle([1, 4, 2, 3, 1, 5])
        with Threads() as threads:
            senders = [
                threads.start(send_all_ways, node, pids, audience, sender, 40)
                for sender, audience in enumerate(audiences)
            ]
            while any(sender.is_alive() for sender in senders):
                node.resize(next(resizes))
                read(node, pids[0])
        node.resize(1)
        for pid in pids:
            got = read(node, pid)
            assert got.count("end") == 3
            by_sender = [[message[1] for message in got if message[0] == sender] for sender in range(3)]
            assert by_sender == [list(range(40))] * 3
        assert counts(node)["in_flight"] == 0


@KINDS
def test_actors_that_send_to_each_other_keep_order_while_they_move(cls):
    class Relay(cls):
        def take(self, message):
            for number in range(message):
                self.node.send(target, (self.pid, number), send_mode="offload" if number % 3 == 0 else None)

    with Node(workers=3) as node:
        target = node.spawn(Recorder)
        relays = spawn(node, 30, Relay)
        for number in range(10):
            node.send(relays, 10)
            node.resize(1 + number % 4)
        for pid in relays:
            read(node, pid)
        until_all(node, target, 30 * 100)
        got = read(node, target)
        for pid in relays:
            assert [number for sender, number in got if sender == pid] == list(range(10)) * 10


def until_all(node, pid, number):
    while len(read(node, pid)) < number:
        pass


def test_busy_actors_move_when_they_are_through_and_bring_their_mailbox_along():
    with Node(workers=1) as node:
        gates = spawn(node, 40, AsyncGate)
        actors = [actor_of(pid) for pid in gates]
        for pid in gates:
            node.send(pid, "hold")
        assert all(actor.entered.wait(WAIT_S) for actor in actors)
        number = itertools.count()
        for workers in (2, 4, 1, 3, 2, 1, 4):
            node.send(gates, next(number))
            node.resize(workers)
            node.send(gates, next(number))
            read(node, node.spawn(Recorder))
        for actor in actors:
            actor.opened.set()
        node.send(gates, next(number))
        assert [read(node, pid) for pid in gates] == [["hold", *range(15)]] * 40
        assert counts(node)["in_flight"] == 0
        assert node.stats().workers == 4
        assert len(by_thread(node, gates)) == 4


def test_threads_of_workers_taken_away_end_and_their_counts_stay():
    with Node("retiring", workers=4) as node:
        pids = [*spawn(node, 200), *spawn(node, 200, AsyncRecorder)]
        node.send(pids, "m")
        for pid in pids:
            read(node, pid)
        before = counts(node)
        threads = worker_threads(node)
        assert len(threads) == 4
        node.resize(1)
        stays = thread_of(node, pids[0])
        ends = [thread for thread in threads if thread.ident != stays]
        assert len(ends) == 3
        for thread in ends:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        after = counts(node)
        assert {cause: after[cause] - before[cause] for cause in after} == {
            "sent": 1, "delivered": 1, "dead": 0, "shed": 0, "unreachable": 0, "in_flight": 0,
        }  # fmt: skip
        assert [read(node, pid) for pid in pids] == [["m"]] * 400


def test_a_worker_taken_away_waits_for_its_busy_actor_and_nothing_else_waits():
    with Node("waiting", workers=2) as node:
        gates = spawn(node, 20, AsyncGate)
        others = spawn(node, 20)
        threads = worker_threads(node)
        groups = by_thread(node, [*gates, *others])
        thread = max(threads, key=lambda thread: thread.name)
        gate = next(pid for pid in groups[thread.ident] if pid in gates)
        with held(node, gate):
            node.resize(1)
            node.send([gate, *others], "m")
            assert [read(node, pid) for pid in others] == [["m"]] * 20
            assert thread.is_alive()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert read(node, gate) == ["hold", "m"]


def test_resizes_from_many_threads_at_once_leave_a_whole_node():
    with Node(workers=2) as node:
        pids = spawn(node, 300)
        with Threads() as threads:
            for start in range(4):
                threads.start(lambda start=start: [node.resize(1 + (start + n) % 4) for n in range(15)])
            for number in range(100):
                node.send(pids, number)
        node.resize(3)
        assert [read(node, pid) for pid in pids] == [list(range(100))] * 300
        assert len(by_thread(node, pids)) == 3


def test_dead_and_new_actors_during_resizes_are_accounted_for():
    with Node(workers=2) as node:
        receipts = []
        for number in range(30):
            pids = spawn(node, 20, Recorder)
            for pid in pids[::2]:
                actor_of(pid).actor_ref.stop(block=False)
            node.resize(1 + number % 4)
            receipts.append(node.send(pids, number, receipt=True))
        for receipt in receipts:
            outcome = receipt.get(timeout=WAIT_S)[node.id]
            assert (outcome.delivered, outcome.dead) == (10, 10)
        assert node.stats().actors == 300


def test_one_that_stops_and_moves_while_a_list_is_looked_at_gets_nothing_of_it():
    # The list is long, so that the stop and the move fall in the middle of looking at it.
    for _ in range(5):
        with Node(workers=1) as node:
            pids, crowd = spawn(node, 20), spawn(node, 20)
            actors = [actor_of(pid) for pid in pids]
            with blocked(node) as gate:
                for actor in actors:
                    actor.actor_ref.stop(block=False)
                node.resize(2)
                gate.opened.set()
                receipt = node.send([*pids, *crowd * 5000], "m", receipt=True)
            outcome = receipt.get(timeout=WAIT_S)[node.id]
            assert [actor.got for actor in actors] == [[]] * 20
            assert (outcome.delivered, outcome.dead) == (100_000, 20)


def test_actors_may_stop_while_the_node_is_resized():
    with Node(workers=2) as node:
        pids, others = spawn(node, 5000), spawn(node, 50)
        for pid in pids:
            actor_of(pid).actor_ref.stop(block=False)
        for workers in (1, 3, 2, 4, 1, 2, 3, 1):
            node.resize(workers)
        node.send(others, "m")
        assert [read(node, pid) for pid in others] == [["m"]] * 50
