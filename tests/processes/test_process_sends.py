"""Sends, audiences, monitors and timers between the processes of one node: the contract is that of any other node."""

from __future__ import annotations

import asyncio
import logging

import pytest

import manifold
from manifold import Limits, Node, Overloaded
from manifold.core import codec
from tests.processes.actors import GOT, AsyncRecorder, Doer, Recorder
from tests.processes.support import PATIENCE_S, Gate, Keeper, ask, at, check, got, one_in_each, quiet, until


@pytest.fixture(scope="module")
def doers(node):
    return one_in_each(node, Doer)


@pytest.fixture(scope="module")
def here(node):
    """The PID of an ordinary Pykka actor in the main process."""
    keeper = Keeper.start()
    yield node.pid_of(keeper)
    keeper.stop()


def spawn(node, number, cls=Recorder):
    return [node.spawn(cls) for _ in range(number)]


def writes(node):
    return sorted(member.pipe.writes for member in node._crew._members.values())


# Sends.


def test_every_form_of_send_reaches_everybody_in_order(node):
    pids = spawn(node, 30)
    node.send(pids[0], 1)
    node.send(pids, 2)
    node.send((pid for pid in pids), 3, pack_mode="binary")
    node.send([manifold.PID.parse(str(pid)) for pid in pids], 4, send_mode="offload")
    node.send([None, *pids, pids[0]], 5)
    node.send(manifold.ActorRef(pids[0], Recorder), 6)
    assert got(node, pids[0]) == [1, 2, 3, 4, 5, 5, 6]
    assert all(got(node, pid) == [2, 3, 4, 5] for pid in pids[1:])


def test_one_write_per_worker_per_send_however_many_recipients(node):
    pids = spawn(node, 500)
    quiet(node)
    before = writes(node)
    node.send(pids, "list")
    assert [now - then for now, then in zip(writes(node), before)] == [1, 1]
    with at(node):
        audience = manifold.Audience(pids)
    between = writes(node)
    node.send(audience, "audience")
    assert [now - then for now, then in zip(writes(node), between)] == [1, 1]
    assert all(got(node, pid) == ["list", "audience"] for pid in pids[:20])
    audience.close()


def test_what_a_worker_cannot_read_is_shed_and_what_is_behind_it_is_not(node, monkeypatch):
    class KnownHere:
        pass

    monkeypatch.setattr(codec, "_registry", codec._registry)
    manifold.register_type(KnownHere, 96, lambda _: 1, lambda _: KnownHere())
    pids = [*spawn(node, 20), *spawn(node, 5, AsyncRecorder)]
    with at(node):
        audience = manifold.Audience(pids)
    for to in (pids, audience):
        node.send(to, "before")
        receipt = node.send(to, KnownHere(), receipt=True)
        node.send(to, "behind")
        assert dict(receipt.get(timeout=10)[node.id]) == {"delivered": 0, "dead": 0, "shed": 25, "unreachable": 0}
    with pytest.raises(manifold.RemoteError, match="type code 96"):
        ask(node, pids[0], KnownHere())
    assert [got(node, pid) for pid in pids] == [["before", "behind"] * 2] * 25
    audience.close()
    quiet(node)


def test_what_cannot_travel_is_refused_before_anything_is_sent(node):
    pids = spawn(node, 4)
    before = quiet(node).sent
    with pytest.raises(manifold.NotSerializable):
        node.send(pids, [object()])
    with pytest.raises(manifold.MessageTooLarge):
        node.send(pids, b"x" * (Limits().message_max_bytes + 1))
    assert node.stats().sent == before


def test_a_large_message_arrives_whole(node, doers):
    big = bytes(range(256)) * 20_000
    pid = node.spawn(Recorder)
    node.send(pid, big)
    assert got(node, pid) == [big]
    ask(node, doers[0], ["send", [pid], big])
    ask(node, doers[1], ["send", [pid], big])
    assert until(lambda: len(got(node, pid)) == 3)
    assert got(node, pid) == [big] * 3


def test_receipts_tell_what_became_of_each(node, doers, here):
    pids = spawn(node, 20)
    dead = spawn(node, 2)
    with at(node):
        for pid in dead:
            manifold.ActorRef(pid, Recorder).stop()
    gone = manifold.PID("gone@00000000", 7)
    everybody = [*pids, *dead, gone, here]
    expected = {
        node.id: {"delivered": 21, "dead": 2, "shed": 0, "unreachable": 0},
        gone.node: {"delivered": 0, "dead": 0, "shed": 0, "unreachable": 1},
    }
    receipt = node.send(everybody, "r", receipt=True)
    assert {name: dict(outcome) for name, outcome in receipt.get(timeout=10).items()} == expected
    for doer in doers:
        assert ask(node, doer, ["receipt", everybody, "r"]) == expected
    quiet(node)


def test_actors_send_anywhere_with_one_write_up(node, doers, here):
    pids = spawn(node, 40)
    for doer in doers:
        ask(node, doer, ["send", [*pids, here, doers[0]], f"from {doer.id}"])
    wanted = [f"from {doer.id}" for doer in doers]
    assert all(got(node, pid)[-2:] == wanted for pid in [*pids, here, doers[0]])
    quiet(node)


def test_offloaded_and_direct_sends_of_an_actor_keep_their_order(node, doers):
    pids = spawn(node, 10)
    for doer in doers:
        ask(node, doer, ["offload", pids, 60])
    for pid in pids:
        assert until(lambda pid=pid: len(got(node, pid)) == 120)
        # Two senders, each with 0, 1, 2, ..: what is left when one is taken out is the other.
        assert sorted(got(node, pid)) == sorted([*range(60), *range(60)])
        merged, latest = got(node, pid), [-1, -1]
        for number in merged:
            nth = 0 if latest[0] == number - 1 else 1
            assert latest[nth] == number - 1, merged
            latest[nth] = number
            latest.sort(reverse=True)


def test_send_after_works_from_a_worker(node, doers):
    pid = node.spawn(Recorder)
    ask(node, doers[0], ["later", 0.0, [pid], "at once"])
    ask(node, doers[1], ["later", 0.05, [pid], "later"])
    assert until(lambda: len(got(node, pid)) == 2)
    assert got(node, pid) == ["at once", "later"]


# Audiences.


def test_an_audience_reaches_exactly_its_members_at_that_moment(node, here):
    pids = [*spawn(node, 30), here]
    before = len(got(node, here))
    with at(node):
        audience = manifold.Audience(pids[:20])
    node.send(audience, 1)
    audience.update(pids)
    node.send(audience, 2)
    audience.discard(pids[0])
    audience.discard(here)
    node.send(audience, 3)
    assert len(audience) == 29
    assert pids[1] in audience
    assert pids[0] not in audience
    assert sorted(audience) == sorted(pids[1:-1])
    audience.close()
    assert got(node, pids[0]) == [1, 2]
    assert all(got(node, pid) == [1, 2, 3] for pid in pids[1:20])
    assert all(got(node, pid) == [2, 3] for pid in pids[20:-1])
    assert got(node, here)[before:] == [2]


def test_members_that_stop_leave_an_audience(node, doers):
    pids = spawn(node, 10)
    with at(node):
        audience = manifold.Audience(pids)
    for doer in doers:
        assert ask(node, doer, ["gather", pids]) == 10
    for pid in pids[:4]:
        assert manifold.ActorRef(pid, Recorder).stop()
    assert until(lambda: len(audience) == 6)
    for doer in doers:
        assert until(lambda doer=doer: ask(node, doer, ["size"]) == 6)
        assert ask(node, doer, ["fan_receipt", "x"])[node.id]["delivered"] == 6
    assert dict(node.send(audience, "y", receipt=True).get(timeout=10)[node.id])["delivered"] == 6
    audience.close()
    quiet(node)


def test_a_workers_audience_is_kept_by_the_others(node, doers, here):
    pids = spawn(node, 20)
    before = len(got(node, here))
    others = set(node.cluster.audiences)  # of this process, and closed; the garbage collector has not come by yet
    for doer in doers:
        ask(node, doer, ["gather", [*pids, here]])
        ask(node, doer, ["fan", "one"])
        ask(node, doer, ["discard", pids[0]])
        ask(node, doer, ["fan", "two"])
        assert ask(node, doer, ["fan_receipt", "three"])[node.id] == {
            "delivered": 20, "dead": 0, "shed": 0, "unreachable": 0,
        }  # fmt: skip
        ask(node, doer, ["drop"])
    assert got(node, pids[0]) == ["one", "one"]
    assert all(got(node, pid) == ["one", "two", "three"] * 2 for pid in pids[1:])
    assert got(node, here)[before:] == ["one", "two", "three"] * 2
    # What was let go of is forgotten by the main process, and by the workers.
    assert until(lambda: others.issuperset(node.cluster.audiences))


# Monitors.


def test_a_monitor_hears_of_the_end_after_all_that_was_sent(node, doers):
    for one, other in (doers, doers[::-1]):
        _, (victim,) = ask(node, other, ["spawn", 1])
        watcher = node.spawn(Doer)
        ask(node, watcher, ["monitor", victim])
        ask(node, one, ["send_many", [victim, watcher], 0, 20])
        assert manifold.ActorRef(victim, Recorder).stop()
        assert until(lambda watcher=watcher: len(got(node, watcher)) == 21)
        *numbers, last = got(node, watcher)
        assert numbers == list(range(20))
        assert last == ["down", victim, "stopped"]


def test_what_a_dying_actor_sent_comes_before_its_down(node):
    for _ in range(10):
        watcher, victim = node.spawn(Doer), node.spawn(Doer)
        ask(node, watcher, ["monitor", victim])
        node.send(victim, ["send_many", [watcher], 0, 50])
        node.send(victim, ["exit"])
        assert until(lambda watcher=watcher: len(got(node, watcher)) == 51)
        *numbers, last = got(node, watcher)
        assert numbers == list(range(50))
        assert last == ["down", victim, "failed: SystemExit(3)"]


def test_monitors_of_the_dead_and_of_those_elsewhere(node, doers, here):
    dead = node.spawn(Recorder)
    manifold.ActorRef(dead, Recorder).stop()
    gone = manifold.PID("gone@00000000", 7)
    watcher = node.spawn(Doer)
    ask(node, watcher, ["monitor", dead])
    ask(node, watcher, ["monitor", gone])
    assert until(lambda: len(got(node, watcher)) == 2)
    assert sorted(down[2] for down in got(node, watcher)) == ["no such actor", "node down"]
    victim = node.spawn(Recorder)
    ask(node, watcher, ["monitor", victim])
    ask(node, watcher, ["demonitor"])
    manifold.ActorRef(victim, Recorder).stop()
    ask(node, victim, GOT) if manifold.ActorRef(victim, Recorder).is_alive() else None
    assert len(got(node, watcher)) == 2


# Bounds.


def test_a_full_worker_refuses_and_says_so_while_the_other_gets_its_share(tmp_path):
    limits = Limits(worker_queue_max_bytes=100_000, stop_grace_s=2.0)
    gate = Gate(tmp_path)
    with Node("full", worker_kind="process", workers=2, limits=limits) as node:
        slow, quick = one_in_each(node, Doer)
        recorders = spawn(node, 20)
        node.send(slow, ["hold", gate.path])
        accepted = refused = 0
        for number in range(400):
            if number % 20 == 0:
                got(node, quick)  # it keeps up
            try:
                node.send([slow, quick], b"x" * 1000)
                accepted += 1
            except Overloaded as error:
                assert error.nodes == (node.id,)
                assert error.shed == 1
                refused += 1
        gate.open()
        assert 60 <= accepted <= 80  # 1,000 bytes and some hundred more each
        assert accepted + refused == len(got(node, quick)) == 400
        asyncio.run(asyncio.wait_for(node.drain(), 10))
        assert len(got(node, slow)) == accepted
        stats = quiet(node)
        assert stats.shed == refused
        assert recorders


async def test_drain_waits_for_room(tmp_path):
    limits = Limits(worker_queue_max_bytes=100_000)
    gate = Gate(tmp_path)
    async with Node("drain", worker_kind="process", workers=1, limits=limits) as node:
        pid = node.spawn(Doer)
        node.send(pid, ["hold", gate.path])
        with pytest.raises(Overloaded):
            while True:
                node.send(pid, b"x" * 1000)
        drained = asyncio.create_task(node.drain())
        assert not (await asyncio.wait({drained}, timeout=0.1))[0]
        gate.open()
        await asyncio.wait_for(drained, PATIENCE_S)
        node.send(pid, b"x" * 1000)
        check(node.stats())


def test_an_actor_that_sends_more_than_others_take_hears_of_it(tmp_path):
    limits = Limits(outbox_max_bytes=100_000)
    gate = Gate(tmp_path)
    with Node("up", worker_kind="process", workers=2, limits=limits) as node:
        one, other = one_in_each(node, Doer)
        node.send(other, ["hold", gate.path])
        assert ask(node, one, ["try", one, "x"])[0] == "WouldDeadlock"
        with pytest.raises(manifold.RemoteError, match=r"Overloaded.*is full"):
            ask(node, one, ["send_many", [other], 0, 100_000])
        gate.open()
        stats = quiet(node)
        assert stats.shed == 1
        count = len(got(node, other))
        assert got(node, other) == list(range(count))


# What is said in workers.


def test_logs_of_workers_arrive_in_the_main_process(node, doers, caplog):
    caplog.set_level(logging.INFO)
    ask(node, doers[0], ["log", logging.WARNING, "a warning of 100%"])
    ask(node, doers[1], ["log_exception"])
    ask(node, doers[1], ["raise_in_thread"])
    assert until(lambda: "in a thread" in caplog.text)
    record = next(record for record in caplog.records if "a warning of 100%" in record.getMessage())
    assert record.name == "tests.worker"
    assert record.levelno == logging.WARNING
    assert record.process != __import__("os").getpid()
    assert "deep inside" in caplog.text
    assert "do_log_exception" in caplog.text
    victim = node.spawn(Doer)
    node.send(victim, ["raise", "custom"])
    assert until(lambda: "our own" in caplog.text)


def test_async_handlers_in_workers_take_one_message_at_a_time_in_order(node):
    pids = spawn(node, 10, AsyncRecorder)
    for number in range(100):
        node.send(pids, number)
    assert all(got(node, pid) == list(range(100)) for pid in pids)
