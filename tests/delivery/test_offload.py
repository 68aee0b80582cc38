"""Nothing that a sender sends after an offloaded send overtakes it, whatever its form and its sender."""

import asyncio
import itertools
import threading
import weakref

import pytest

from manifold import Audience, Limits, Node, Overloaded
from manifold.delivery.offload import Offload
from tests.cluster.support import until
from tests.delivery.actors_for_tests import (
    WAIT_S,
    AsyncCaller,
    AsyncRecorder,
    Caller,
    Recorder,
    Threads,
    actor_of,
    ask,
    counts,
    read,
    spawn,
)

MANY = 20_000
"""Recipients of an offloaded send that takes a while to group."""


class Nobody(Recorder):
    """Keeps nothing."""

    def take(self, message):
        pass


def mixed(node, pids, audience, number, name=""):
    """Send (name, 0), (name, 1), ... to all of `pids`, every other one offloaded, behind one that takes long."""
    ways = itertools.cycle(
        [
            lambda m: [node.send(pid, m) for pid in pids],
            lambda m: node.send(pids, m),
            lambda m: node.send(audience, m),
            lambda m: [node.ask(pid, m) for pid in pids],
            lambda m: [actor_of(pid).actor_ref.tell(m) for pid in pids],
            lambda m: node.send(audience, m, send_mode="offload", pack_mode="binary"),
            lambda m: node.send([None, *pids], m, pack_mode="binary"),
        ]
    )
    for count in range(0, number, 2):
        node.send(pids, (name, count), send_mode="offload")
        next(ways)((name, count + 1))


def expected(number, name=""):
    return [(name, count) for count in range(number)]


def test_a_threads_sends_of_every_form_stay_in_order():
    with Node(workers=2) as node:
        pids, crowd = [*spawn(node, 10), *spawn(node, 10, AsyncRecorder)], spawn(node, 20, Nobody)
        audience = Audience(pids)
        node.send(crowd * (MANY // 20), "takes long", send_mode="offload")
        mixed(node, pids, audience, 84)
        assert [read(node, pid) for pid in pids] == [expected(84)] * 20
        assert counts(node)["in_flight"] == 0


def mixed_to_the_end(node, pids, audience, number, name):
    mixed(node, pids, audience, number, name)
    node.send(pids, "end", receipt=True).get(timeout=WAIT_S)


def test_many_threads_each_keep_their_order():
    with Node(workers=2) as node:
        pids = spawn(node, 10)
        audiences = [Audience(pids) for _ in range(4)]
        with Threads() as threads:
            for name, audience in enumerate(audiences):
                threads.start(mixed_to_the_end, node, pids, audience, 84, name)
        for pid in pids:
            got = [message for message in read(node, pid) if message != "end"]
            by_name = [[message for message in got if message[0] == name] for name in range(4)]
            assert by_name == [expected(84, name) for name in range(4)]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_actors_sends_of_every_form_stay_in_order(workers):
    with Node(workers=workers) as node:
        pids, caller = spawn(node, 20), node.spawn(Caller)
        audience = Audience(pids)
        ask(node, caller, lambda: mixed(node, pids, audience, 84))
        ask(node, caller, lambda: node.send(pids, "end", receipt=True)).get(timeout=WAIT_S)
        assert [read(node, pid) for pid in pids] == [[*expected(84), "end"]] * 20


def test_an_async_actors_sends_stay_in_order_across_awaits_and_moves():
    with Node(workers=3) as node:
        pids, callers = spawn(node, 20), spawn(node, 6, AsyncCaller)
        audiences = [Audience(pids) for _ in callers]

        def sends(name):
            async def act():
                for number in range(0, 40, 2):
                    node.send(pids, (name, number), send_mode="offload")
                    await asyncio.sleep(0)
                    node.send(audiences[name], (name, number + 1))

            return act

        for name, caller in enumerate(callers):
            node.send(caller, sends(name))
        for workers in (1, 4, 2, 3):
            node.resize(workers)
            read(node, pids[0])
        for caller in callers:
            ask(node, caller, through(node, pids))
        for pid in pids:
            got = read(node, pid)
            by_name = [[message for message in got if message[0] == name] for name in range(6)]
            assert by_name == [expected(40, name) for name in range(6)]


def through(node, pids):
    async def act():
        await node.send(pids, ("end", 0), receipt=True)

    return act


async def test_an_asyncio_tasks_sends_stay_in_order():
    async with Node(workers=2) as node:
        pids = spawn(node, 20)
        audiences = [Audience(pids) for _ in range(3)]

        async def task(name):
            for number in range(0, 60, 3):
                node.send(pids, (name, number), send_mode="offload")
                await asyncio.sleep(0)
                node.send(audiences[name], (name, number + 1))
                for pid in pids:
                    node.send(pid, (name, number + 2))

        await asyncio.wait_for(asyncio.gather(*map(task, range(3))), WAIT_S)
        for pid in pids:
            got = await node.ask(pid, "read what you got", WAIT_S)
            by_name = [[message for message in got if message[0] == name] for name in range(3)]
            assert by_name == [expected(60, name) for name in range(3)]


async def test_a_loop_nodes_sends_stay_in_order():
    async with Node(worker_kind="loop") as node:
        pids = spawn(node, 20)
        mixed(node, pids, Audience(pids), 84)
        for pid in pids:
            assert (await node.ask(pid, "read what you got", WAIT_S)) == expected(84)


def test_changes_of_an_audience_fall_between_the_sends_they_were_made_between():
    with Node(workers=2) as node:
        pids, crowd = spawn(node, 4), spawn(node, 20, Nobody)
        audience = Audience(pids[:2])
        crowded = crowd * (MANY // 20)
        for number in range(5):
            node.send(crowded, "takes long", send_mode="offload")
            node.send(audience, (number, "two"), send_mode="offload")
            audience.add(pids[2])
            node.send(crowded, "takes long", send_mode="offload")
            node.send(audience, (number, "three"))
            audience.discard(pids[2])
            node.send(audience, (number, "two again"), send_mode="offload")
        two = [(number, what) for number in range(5) for what in ("two", "three", "two again")]
        assert [read(node, pid) for pid in pids] == [two, two, [(number, "three") for number in range(5)], []]


def test_stops_and_starts_keep_their_place_too():
    with Node(workers=2) as node:
        crowd = spawn(node, 20, Nobody) * (MANY // 20)
        for _ in range(5):
            pid = node.spawn(Recorder)
            actor = actor_of(pid)
            node.send(crowd, "takes long", send_mode="offload")
            node.send([pid], 1, send_mode="offload")
            node.send(pid, 2)
            stopped = actor.actor_ref.stop(block=False)
            late = node.send([pid], 3, receipt=True)
            assert stopped.get(timeout=WAIT_S) is True
            assert actor.got == [1, 2]
            assert late.get(timeout=WAIT_S)[node.id].dead == 1


def test_an_actor_that_stops_itself_after_an_offloaded_send_has_sent_it():
    with Node(workers=2) as node:
        target, caller = node.spawn(Recorder), node.spawn(Caller)
        ref = actor_of(caller).actor_ref

        def act():
            node.send([target] * 2000, "m", send_mode="offload")
            ref.stop(block=False)

        node.send(caller, act)
        ref.stop(timeout=WAIT_S)
        assert not ref.is_alive()
        read(node, target)
        node.send([target], "end", receipt=True, send_mode="offload").get(timeout=WAIT_S)
        assert read(node, target) == [*["m"] * 2000, "end"]


def test_one_threads_offloaded_sends_do_not_hold_up_anothers_plain_ones():
    """Another thread's send goes by, though much is waiting to be grouped."""
    with Node(workers=2) as node:
        pid, grouped = node.spawn(Recorder), threading.Event()
        node.local.offload.put(lambda: grouped.wait(WAIT_S), 0)
        behind = node.send([pid], "offloaded", send_mode="offload", receipt=True)
        with Threads() as threads:
            threads.start(lambda: node.send([pid], "plain", receipt=True).get(timeout=WAIT_S))
        grouped.set()
        behind.get(timeout=WAIT_S)
        assert read(node, pid) == ["plain", "offloaded"]


def test_a_full_offload_queue_sheds_all_of_a_send_and_says_so():
    with Node(workers=1, limits=Limits(offload_queue_max_bytes=1000)) as node:
        pid, crowd, grouped = node.spawn(Recorder), spawn(node, 20, Nobody) * 100, threading.Event()
        node.local.offload.put(lambda: grouped.wait(WAIT_S), 0)
        node.send(crowd, "fills it", send_mode="offload")
        with pytest.raises(Overloaded) as raised:
            node.send([pid, pid], "m", send_mode="offload")
        assert (raised.value.nodes, raised.value.shed) == ((node.id,), 2)
        grouped.set()
        asyncio.run(asyncio.wait_for(node.drain(), WAIT_S))
        node.send([pid], "room", send_mode="offload")
        assert read(node, pid) == ["room"]
        stats = counts(node)
        assert (stats["shed"], stats["in_flight"]) == (2, 0)


def test_what_was_offloaded_counts_as_in_flight_until_it_arrives():
    with Node(workers=2) as node:
        pids, crowd = spawn(node, 10), spawn(node, 20, Nobody) * (MANY // 20)
        node.send(crowd, "takes long", send_mode="offload")
        receipt = node.send(pids, "m", send_mode="offload", receipt=True)
        assert counts(node)["sent"] == MANY + 10
        receipt.get(timeout=WAIT_S)
        for pid in [*pids, *crowd[:20]]:
            read(node, pid)
        assert counts(node)["in_flight"] == 0


def test_a_nodes_stop_sends_what_was_offloaded():
    with Node(workers=2) as node:
        log = []
        pids = spawn(node, 20, Recorder, log)
        for number in range(10):
            node.send(pids * 100, number, send_mode="offload")
    assert len(log) == 20_000
    assert counts(node)["delivered"] == 20_000


def test_its_thread_starts_with_the_first_offloaded_send_and_ends_with_the_node():
    with Node(workers=1) as node:
        pid = node.spawn(Recorder)
        before = set(threading.enumerate())
        node.send([pid], "m")
        assert not set(threading.enumerate()) - before
        node.send([pid], "m", send_mode="offload")
        (own,) = set(threading.enumerate()) - before
        assert read(node, pid) == ["m", "m"]
    own.join(WAIT_S)
    assert not own.is_alive()


def kept():
    """An offload of nothing but what is put here, and what it has done."""
    done = []
    offload = Offload("test", 1000, lambda: None)
    return offload, done


def test_what_a_held_sender_puts_waits_and_goes_on_in_order_and_others_do_not_wait():
    offload, done = kept()
    me, other = 1, 2
    offload.hold(me)
    offload.hold(me)
    for number in range(3):
        offload.put(lambda number=number: done.append((me, number)), 10, me)
        offload.put(lambda number=number: done.append((other, number)), 10, other)
    assert flushed(offload, lambda: len(done) == 3)
    assert done == [(other, 0), (other, 1), (other, 2)]
    assert (offload.holds(me), offload.holds(other), offload.queued_bytes) == (True, False, 30)
    offload.release(me)
    assert offload.holds(me)
    offload.release(me)
    assert offload.flush(WAIT_S)
    assert done[3:] == [(me, 0), (me, 1), (me, 2)]
    offload.close()


def test_a_held_sender_that_has_put_nothing_is_let_go_of_without_a_trace():
    offload, _ = kept()
    offload.hold(7)
    offload.release(7)
    assert not offload.holds(7)
    assert offload.flush(WAIT_S)
    offload.close()


def flushed(offload, condition):
    """Let the offload's thread do what it can."""
    with offload._changed:
        return offload._changed.wait_for(condition, WAIT_S)


class Thing:
    """What is sent: it can be seen to be gone."""


def test_nothing_is_kept_of_the_last_offloaded_send():
    with Node(workers=1) as node:
        thing = Thing()
        gone = weakref.ref(thing)
        node.send([node.spawn(Nobody)], thing, send_mode="offload")
        del thing
        assert until(lambda: gone() is None)
