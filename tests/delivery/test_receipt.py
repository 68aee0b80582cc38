"""A receipt says, per node, what became of every recipient; waiting for it never hangs and never blocks a loop."""

import asyncio

import pykka
import pytest

from manifold import PID, AskTimeout, Audience, Limits, Node, Outcome, WouldDeadlock
from manifold.delivery.receipt import Receipt
from manifold.ports import DELIVERED
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncCaller,
    AsyncGate,
    AsyncRecorder,
    Caller,
    Crasher,
    Recorder,
    actor_of,
    ask,
    blocked,
    by_thread,
    counts,
    held,
    home_of,
    read,
    spawn,
)

AWAY = "away@00000000"


def outcome(**numbers):
    return {"delivered": 0, "dead": 0, "shed": 0, "unreachable": 0, **numbers}


def got(receipt):
    return {node: dict(numbers) for node, numbers in receipt.get(timeout=WAIT_S).items()}


def test_it_splits_by_node_and_cause():
    with Node(workers=3) as node:
        pids = spawn(node, 20)
        dead = spawn(node, 3)
        for pid in dead:
            actor_of(pid).actor_ref.stop(timeout=WAIT_S)
        to = [*pids, None, *dead, PID(AWAY, 1), PID("far@00000000", 2), PID(AWAY, 3), pids[0]]
        expected = {
            node.id: outcome(delivered=21, dead=3),
            AWAY: outcome(unreachable=2),
            "far@00000000": outcome(unreachable=1),
        }
        for mode in ({}, {"pack_mode": "binary"}, {"send_mode": "offload"}):
            assert got(node.send(to, "m", receipt=True, **mode)) == expected


@pytest.mark.parametrize("send_mode", [None, "offload"])
def test_a_send_to_nobody_is_complete_at_once_and_empty(send_mode):
    with Node(workers=1) as node:
        for to in (None, [], [None], (), iter([None, None]), Audience()):
            receipt = node.send(to, "m", receipt=True, send_mode=send_mode)
            assert receipt.get(timeout=WAIT_S) == {}
            assert receipt.done()


def test_every_form_of_recipient_gives_one():
    with Node(workers=2) as node:
        pid = node.spawn(Recorder)
        for to in (pid, PID.parse(str(pid)), actor_of(pid).actor_ref, [pid], Audience([pid])):
            assert got(node.send(to, "m", receipt=True)) == {node.id: outcome(delivered=1)}
        assert node.send(pid, "m") is None


def test_an_outcome_reads_as_attributes_and_as_a_mapping():
    with Node(workers=1) as node:
        found = node.send([node.spawn(Recorder)], "m", receipt=True).get(timeout=WAIT_S)[node.id]
        assert isinstance(found, Outcome)
        assert (found.delivered, found.dead, found.shed, found.unreachable) == (1, 0, 0, 0)
        assert found["delivered"] == 1


@pytest.mark.parametrize("cls", [Recorder, AsyncRecorder])
def test_delivered_means_that_the_handler_was_called(cls):
    with Node(workers=3) as node:
        log = []
        pids = spawn(node, 500, cls, log)
        for number in range(3):
            node.send(pids, number, receipt=True).get(timeout=WAIT_S)
            for pid in pids if cls is AsyncRecorder else ():
                read(node, pid)
            assert len(log) == 500 * (number + 1)


def test_one_that_raises_got_it_too():
    with Node(workers=2) as node:
        pids = spawn(node, 30, Crasher)
        assert got(node.send(pids, ValueError("m"), receipt=True)) == {node.id: outcome(delivered=30)}
        assert got(node.send(pids, "m", receipt=True)) == {node.id: outcome(dead=30)}


def test_it_waits_for_what_waits_in_a_busy_actors_mailbox():
    with Node(workers=1) as node:
        gate, other = node.spawn(AsyncGate), node.spawn(Recorder)
        with held(node, gate):
            receipt = node.send([gate, other], "m", receipt=True)
            assert read(node, other) == ["m"]
            assert not receipt.done()
        assert got(receipt) == {node.id: outcome(delivered=2)}


def test_what_a_full_mailbox_drops_is_shed():
    class Small(AsyncGate):
        mailbox_max = 2

    class Oldest(AsyncGate):
        mailbox_max = 2
        mailbox_full = "drop_oldest"

    with Node(workers=1) as node:
        newest, oldest = node.spawn(Small), node.spawn(Oldest)
        with held(node, newest), held(node, oldest):
            receipts = [node.send([newest, oldest], number, receipt=True) for number in range(4)]
        by_number = [got(receipt)[node.id] for receipt in receipts]
        assert by_number == [outcome(delivered=1, shed=1)] * 4
        assert read(node, newest) == ["hold", 0, 1]
        assert read(node, oldest) == ["hold", 2, 3]
        assert counts(node)["shed"] == 4


def test_what_waits_for_an_actor_that_ends_is_dead():
    with Node(workers=1) as node:
        gate = node.spawn(FailingGate)
        with held(node, gate):
            receipts = [node.send([gate], number, receipt=True) for number in range(3)]
            node.ask(node.spawn(Recorder), "all is queued", WAIT_S).get()
        assert [got(receipt)[node.id] for receipt in receipts] == [outcome(dead=1)] * 3


class FailingGate(AsyncGate):
    """Fails once it is opened."""

    async def on_receive(self, message):
        await super().on_receive(message)
        raise RuntimeError(message)


def test_get_times_out_and_can_be_called_again():
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        with blocked(node):
            receipt = node.send([pid], "m", receipt=True)
            for _ in range(2):
                with pytest.raises(AskTimeout) as raised:
                    receipt.get(timeout=0.01)
            assert isinstance(raised.value, TimeoutError | pykka.Timeout)
            assert not receipt.done()
        assert got(receipt) == got(receipt) == {node.id: outcome(delivered=1)}


async def test_await_does_not_block_the_loop():
    async with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        with blocked(node):
            receipt = node.send([pid], "m", receipt=True)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receipt, 0.01)
        first, second = await asyncio.wait_for(asyncio.gather(awaited(receipt), awaited(receipt)), WAIT_S)
        assert dict(first[node.id]) == dict(second[node.id]) == outcome(delivered=1)
        assert (await receipt) == first


async def awaited(receipt):
    return await receipt


async def test_it_can_be_awaited_on_a_loop_node():
    async with Node(worker_kind="loop") as node:
        pids = spawn(node, 2000)
        outcomes = await asyncio.wait_for(awaited(node.send(pids, "m", receipt=True)), WAIT_S)
        assert dict(outcomes[node.id]) == outcome(delivered=2000)


async def test_a_blocking_get_on_the_loop_of_a_loop_node_raises():
    async with Node(worker_kind="loop") as node:
        receipt = node.send([node.spawn(Recorder)], "m", receipt=True)
        with pytest.raises(WouldDeadlock):
            receipt.get(timeout=5)
        assert dict((await receipt)[node.id]) == outcome(delivered=1)


def test_a_blocking_get_in_a_handler_that_would_never_end_raises_and_the_message_arrives():
    with Node(workers=1) as node:
        caller, pid = node.spawn(Caller), node.spawn(Recorder)
        with pytest.raises(WouldDeadlock):
            ask(node, caller, lambda: node.send([pid], "m", receipt=True).get())
        assert read(node, pid) == ["m"]
        assert ask(node, caller, lambda: "lives") == "lives"


def test_a_blocking_get_in_a_handler_works_where_it_ends():
    with Node(workers=2) as node:
        caller = node.spawn(Caller)
        dead = node.spawn(Recorder)
        actor_of(dead).actor_ref.stop(timeout=WAIT_S)
        for to in ([], [dead], [PID(AWAY, 1)]):
            ask(node, caller, lambda to=to: node.send(to, "m", receipt=True).get(timeout=WAIT_S))


def test_a_blocking_get_in_a_handler_works_if_other_workers_have_to_deliver():
    with Node(workers=2) as node:
        caller = node.spawn(Caller)
        groups = by_thread(node, spawn(node, 40))
        del groups[home_of(node, caller)]
        (others,) = groups.values()
        found = ask(node, caller, lambda: node.send(others, "m", receipt=True).get(timeout=WAIT_S))
        assert dict(found[node.id]) == outcome(delivered=len(others))


def test_an_await_in_a_handler_works_even_for_its_own_worker():
    with Node(workers=1) as node:
        caller, pid = node.spawn(AsyncCaller), node.spawn(Recorder)

        async def send():
            return await node.send([pid, caller_dead], "m", receipt=True)

        caller_dead = node.spawn(Recorder)
        actor_of(caller_dead).actor_ref.stop(timeout=WAIT_S)
        assert dict(ask(node, caller, send)[node.id]) == outcome(delivered=1, dead=1)


def test_a_nodes_stop_completes_every_receipt():
    with Node(workers=1, limits=Limits(stop_grace_s=0.05)) as node:
        gate = node.spawn(AsyncGate)
        other = node.spawn(Recorder)
        with held(node, gate):
            receipt = node.send([gate, other], "m", receipt=True)
            assert read(node, other) == ["m"]
            node.stop()
            assert got(receipt) == {node.id: outcome(delivered=1, dead=1)}
            assert counts(node)["in_flight"] == 0


def test_one_is_done_when_its_outcome_is_there(monkeypatch):
    receipt, seen = Receipt(), []
    receipt.expect(1)
    monkeypatch.setattr(receipt._done, "set", lambda outcome: seen.append(receipt.done()))
    receipt.settle(AWAY, DELIVERED, 1)
    assert seen == [False], "another thread may look just now, and not want to wait"
