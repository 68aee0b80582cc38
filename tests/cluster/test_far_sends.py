"""Sends to actors of other nodes: once, in order, equal, counted; and what is refused."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

import manifold
from manifold import Limits
from manifold.transport.memory import HUB
from tests.cluster.support import audience, meet, outcome, quiet, reconciles, record, stays, until
from tests.support import PATIENCE_S, AsyncRecorder, Hold, pids, spawn


def test_to_one(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    for number in range(500):
        a.send(actor.pid, number)
    assert quiet(a).delivered == 500
    assert actor.got == list(range(500))


def test_to_a_list(nodes):
    a, b = nodes.together("a", "b")
    actors = spawn(b, 300)
    for number in range(20):
        a.send(pids(actors), number)
    assert quiet(a).delivered == 6000
    assert all(actor.got == list(range(20)) for actor in actors)


def test_to_a_mixture_of_near_far_and_nobody(nodes):
    a, b, c = nodes.together("a", "b", "c")
    actors = spawn(a, 3) + spawn(b, 3) + spawn(c, 3)
    everybody = [pid for pair in zip(pids(actors), [None] * 9, strict=True) for pid in pair]
    for number in range(100):
        receipt = a.send(everybody, number, receipt=number == 99)
    assert outcome(receipt) == {name: {"delivered": 3} for name in "abc"}
    assert all(actor.got == list(range(100)) for actor in actors)
    assert quiet(a).delivered == 900


def test_a_pid_that_stands_twice_gets_it_twice(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    assert outcome(a.send([actor.pid, actor.pid], "x", receipt=True)) == {"b": {"delivered": 2}}
    assert actor.got == ["x", "x"]


def test_a_pid_out_of_its_text_and_a_ref_reach_far_too(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    a.send(manifold.PID.parse(str(actor.pid)), 1)
    a.send([actor.actor_ref], 2)
    quiet(a)
    assert actor.got == [1, 2]


def test_forms_that_alternate_keep_their_order(nodes):
    a, b, c = nodes.together("a", "b", "c")
    actors = spawn(a, 2) + spawn(b, 2) + spawn(b, 2, AsyncRecorder) + spawn(c, 2)
    everybody = pids(actors)
    group = audience(a, everybody)
    forms = [
        lambda n: a.send(everybody, n),
        lambda n: a.send(group, n),
        lambda n: [a.send(pid, n) for pid in everybody],
        lambda n: a.send(everybody, n, send_mode="offload"),
        lambda n: a.send(group, n, send_mode="offload"),
        lambda n: a.send(everybody, n, pack_mode="binary"),
        lambda n: a.send((pid for pid in reversed(everybody)), n, send_mode="offload", pack_mode="binary"),
        lambda n: [a.ask(pid, n) for pid in everybody],
        lambda n: a.send_after(0, everybody, n) and None,
    ]
    for number in range(400):
        forms[number * 7 % (len(forms) - 1)](number)
    assert quiet(a).delivered == 400 * 8
    assert all(actor.got == list(range(400)) for actor in actors), [actor.got for actor in actors]


def test_send_after_reaches_far(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    a.send_after(0.01, actor.pid, "later")
    assert until(lambda: actor.got == ["later"])


def test_both_ways_at_once(nodes):
    a, b = nodes.together("a", "b")
    here, there = record(a), record(b)

    def run(node, pid):
        for number in range(3000):
            node.send(pid, number)

    threads = [threading.Thread(target=run, args=args) for args in ((a, there.pid), (b, here.pid))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert quiet(a).delivered == quiet(b).delivered == 3000
    assert here.got == there.got == list(range(3000))


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(
            same(key, twin) and same(one[key], other[twin]) for key, twin in zip(one, other, strict=True)
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return one == other and sorted(map(repr, map(type, one))) == sorted(map(repr, map(type, other)))
    if isinstance(one, datetime):
        return one == other and one.utcoffset() == other.utcoffset()
    return repr(one) == repr(other)


def test_what_arrives_far_equals_what_arrives_near(nodes):
    a, b = nodes.together("a", "b")
    near, far = record(a), record(b)
    messages = [
        None, True, False, 0, -1, 2**63, 2**64 - 1, -(2**63), 1.5, float("inf"), float("nan"), -0.0, "",
        "a\0ü\U0001f600",
        b"", b"\xff" * 300, [], (), {}, set(), frozenset(), [1, (2, [3, (4,)])], {1, "a", (2, b"x")},
        frozenset({frozenset({1})}), {"s": 1, 2: (1, 2), b"k": {"n": {1, 2}}}, near.pid, [far.pid, {"p": (near.pid,)}],
        {far.pid}, datetime(2024, 2, 29, 12, 30, 1, 123456, tzinfo=UTC),
        datetime(1960, 1, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))), datetime(9999, 12, 31, tzinfo=UTC),
        ("tuple", [b"like", "the packed form"], 3), "x" * 100_000, list(range(10_000)),
    ]  # fmt: skip
    for message in messages:
        a.send([near.pid, far.pid], message)
    quiet(a)
    assert len(near.got) == len(far.got) == len(messages)
    for sent, here, there in zip(messages, near.got, far.got, strict=True):
        assert same(sent, here), sent
        assert same(sent, there), (sent, there)


def test_a_pid_that_was_sent_can_be_sent_to(nodes):
    a, b = nodes.together("a", "b")
    here = record(a)

    class Answering(manifold.Actor):
        def on_receive(self, message):
            manifold.send(message["reply to"], ("from", self.pid))

    there = b.spawn(Answering)
    a.send(there, {"reply to": here.pid})
    assert until(lambda: here.got == [("from", there)])


def test_receipts_tell_by_node(nodes):
    a, b, c = nodes.together("a", "b", "c")
    near, far, other = spawn(a, 2), spawn(b, 4), spawn(c, 5)
    far[0].actor_ref.stop()
    other[0].actor_ref.stop()
    other[1].actor_ref.stop()
    gone = manifold.PID("nobody@00000000", 3)
    receipt = a.send([*pids(near + far + other), gone, gone], "x", receipt=True)
    assert outcome(receipt) == {
        "a": {"delivered": 2},
        "b": {"delivered": 3, "dead": 1},
        "c": {"delivered": 3, "dead": 2},
        "nobody": {"unreachable": 2},
    }
    assert receipt.done()
    group = audience(a, pids(near + far[1:] + other[2:]))
    assert outcome(a.send(group, "y", receipt=True)) == {name: {"delivered": n} for name, n in zip("abc", (2, 3, 3))}
    late = a.send([*pids(far[1:]), gone], "z", receipt=True, send_mode="offload")
    assert outcome(late) == {"b": {"delivered": 3}, "nobody": {"unreachable": 1}}
    stats = quiet(a)
    assert (stats.dead, stats.unreachable) == (3, 3)


async def test_receipts_can_be_awaited(nodes):
    a, b = nodes.together("a", "b")
    actor = record(b)
    assert (await a.send(actor.pid, 1, receipt=True))[b.id].delivered == 1


def test_at_most_one_hand_off_per_node_per_call(nodes):
    a, b, c = nodes.together("a", "b", "c")
    everybody = pids(spawn(a, 5) + spawn(b, 500) + spawn(c, 500))
    before = a.stats().handoffs
    a.send(everybody, 1)
    assert a.stats().handoffs == before + 2
    group = audience(a, everybody)
    a.send(group, 2)
    assert a.stats().handoffs == before + 4
    a.send(everybody[:100], 3)
    assert a.stats().handoffs == before + 5
    a.send(everybody[:5], 4)
    assert a.stats().handoffs == before + 5
    a.send(everybody, 5, send_mode="offload")
    quiet(a)
    assert a.stats().handoffs == before + 7


def test_what_cannot_travel_is_refused_and_nobody_gets_it(nodes):
    a, b = nodes.together("a", "b")
    near, far = record(a), record(b)
    both = [near.pid, far.pid]
    group = audience(a, both)
    bad = {"d": [1, 2, {"x": object()}]}
    before = a.stats().sent
    for to in (far.pid, both, group):
        for modes in ({}, {"send_mode": "offload"}, {"receipt": True}):
            with pytest.raises(manifold.NotSerializable) as raised:
                a.send(to, bad, **modes)
            assert raised.value.path == "['d'][2]['x']"
    with pytest.raises(manifold.NotSerializable):
        a.ask(far.pid, bad)
    a.send(both, "last")
    assert quiet(a).sent == before + 2
    assert near.got == far.got == ["last"]


def test_what_is_too_large_is_refused_and_nobody_gets_it(nodes):
    a, b = nodes.together("a", "b", limits=Limits(message_max_bytes=1000))
    near, far = record(a), record(b)
    both = [near.pid, far.pid]
    group = audience(a, both)
    for to in (far.pid, both, group):
        for modes in ({}, {"send_mode": "offload"}):
            with pytest.raises(manifold.MessageTooLarge) as raised:
                a.send(to, "x" * 1000, **modes)
            assert raised.value.max_bytes == 1000
    with pytest.raises(manifold.MessageTooLarge):
        a.ask(far.pid, "x" * 1000)
    a.send(both, "x" * 990)
    assert quiet(a).sent == 2
    assert near.got == far.got == ["x" * 990]


def test_a_bad_element_is_refused_and_nobody_gets_it(nodes):
    a, b = nodes.together("a", "b")
    near, far = record(a), record(b)
    with pytest.raises(TypeError):
        a.send([near.pid, far.pid, 5], "x")
    assert a.ask(far.pid, "last").get() == "last"
    assert a.ask(near.pid, "last").get() == "last"
    assert near.got == far.got == ["last"]


TIGHT = Limits(
    message_max_bytes=16_384,
    packet_max_bytes=65_536,
    outbox_max_bytes=65_536,
    inbox_max_bytes=66_560,
    worker_queue_max_bytes=1 << 26,
)


def test_a_node_that_takes_nothing_is_overloaded_and_the_others_get_theirs(nodes):
    a, b, c = nodes.together("a", "b", "c", limits=TIGHT, workers=1)
    near, far, other = record(a), record(b), record(c)
    everybody = [near.pid, far.pid, other.pid]
    group = audience(a, everybody)
    accepted, refused = [], []
    with Hold(b):
        for number in range(600):
            message = (number, "x" * 8000)
            try:
                a.send(group if number % 2 else everybody, message)
                accepted.append(number)
            except manifold.Overloaded as error:
                assert error.nodes == (b.id,)
                assert error.shed == 1
                refused.append(number)
            assert reconciles(a.stats())
            assert until(lambda n=number: len(other.got) == n + 1), "another node waited"
        assert refused
        assert len(accepted) >= 7
        with pytest.raises(manifold.Overloaded):
            a.ask(far.pid, "x").get()
        assert a.stats().shed == len(refused) + 1
    stats = quiet(a)
    assert stats.shed == len(refused) + 1
    assert stats.delivered == stats.sent - stats.shed == 1200 + len(accepted)
    assert [number for number, _ in far.got] == accepted
    assert [number for number, _ in near.got] == [number for number, _ in other.got] == list(range(600))


def fill(node, pid):
    """Send until the other node has taken all it takes, and the outbox is full; how many were accepted."""
    peer, accepted = node.cluster.peers[pid.node], 0

    def is_full():
        nonlocal accepted
        try:
            node.send(pid, "x" * 8000)
        except manifold.Overloaded:
            with peer.lock:  # and nothing that is under way will make room
                return not (peer.link._out.flight_bytes or peer.link._out.ready())
        accepted += 1
        assert accepted < 5000, "it never is full"
        return False

    assert until(is_full)
    return accepted


def test_what_a_node_holds_of_messages_not_handled_is_bounded_in_bytes(nodes):
    a, b = nodes.together("a", "b", limits=TIGHT, workers=1)
    far = record(b)
    with Hold(b):
        accepted = fill(a, far.pid)
    # The outbox, the inbox, and some slack.
    assert accepted * 8000 <= 4 * (TIGHT.outbox_max_bytes + TIGHT.inbox_max_bytes)
    assert quiet(a).delivered == accepted == len(far.got)


def test_a_node_takes_again_after_it_was_overloaded(nodes):
    a, b = nodes.together("a", "b", limits=TIGHT, workers=1)
    far = record(b)
    for turn in range(3):
        with Hold(b), pytest.raises(manifold.Overloaded):
            for _ in range(1000):
                a.send(far.pid, "x" * 8000)
        quiet(a)
        assert outcome(a.send(far.pid, turn, receipt=True)) == {"b": {"delivered": 1}}


async def test_drain_waits_until_the_other_node_has_taken(nodes):
    a, b = nodes.together("a", "b", limits=TIGHT, workers=1)
    far = record(b)
    with Hold(b):
        await asyncio.to_thread(fill, a, far.pid)
        waiting = asyncio.create_task(a.drain())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    await asyncio.wait_for(waiting, PATIENCE_S)
    a.send(far.pid, "last")


def test_a_receipt_of_what_was_shed_far(nodes):
    a, b = nodes.together("a", "b", limits=TIGHT, workers=1)
    far = spawn(b, 2)
    with Hold(b):
        fill(a, far[0].pid)
        before = a.stats().shed
        with pytest.raises(manifold.Overloaded):
            a.send(pids(far), "x", receipt=True)
        assert a.stats().shed == before + 2


def test_a_full_mailbox_far_is_counted_as_shed(nodes):
    gate = threading.Event()

    class Busy(manifold.Actor):
        mailbox_max = 10

        async def on_receive(self, message):
            while not gate.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    a, b = nodes.together("a", "b")
    pid = b.spawn(Busy)
    for number in range(50):
        a.send(pid, number)
    assert until(lambda: a.stats().shed == 39), a.stats()
    gate.set()
    assert quiet(a).delivered == 11


def test_more_recipients_than_a_packet_holds(nodes):
    limits = Limits(message_max_bytes=1000, packet_max_bytes=4096)
    a, b = nodes.together("a", "b", limits=limits)
    near, far = record(a), spawn(b, 1500)
    assert outcome(a.send([near.pid, *pids(far)], "x", receipt=True)) == {
        "a": {"delivered": 1},
        "b": {"delivered": 1500},
    }
    group = audience(a, pids(far))
    assert len(group) == 1500
    assert outcome(a.send(group, "y", receipt=True)) == {"b": {"delivered": 1500}}
    assert all(actor.got == ["x", "y"] for actor in far)


@pytest.mark.parametrize("size", [*range(4030, 4130, 4)])
def test_messages_about_as_large_as_a_packet(memory_nodes, size):
    a, b = memory_nodes.together("a", "b", limits=Limits(message_max_bytes=4095, packet_max_bytes=5119), workers=1)
    far = record(b)
    refused = 0
    try:
        a.send(far.pid, "x" * size)
    except manifold.ManifoldError:
        refused = 1
    assert outcome(a.send(far.pid, "last", receipt=True)) == {"b": {"delivered": 1}}
    assert far.got == ([] if refused else ["x" * size]) + ["last"]
    assert quiet(a).in_flight == 0


def test_a_node_that_takes_less_says_so_to_the_sender(nodes, lines):
    a = nodes.node("a")
    b = nodes.node("b", limits=Limits(message_max_bytes=1000, packet_max_bytes=4096))
    meet(a, b)
    near, far = record(a), record(b)
    with pytest.raises(manifold.ManifoldError):
        a.send([near.pid, far.pid], "x" * 10_000)
    assert outcome(a.send(far.pid, "last", receipt=True)) == {"b": {"delivered": 1}}
    quiet(a)
    assert far.got == ["last"]


def test_stats_reconcile_on_both_sides_at_any_time(nodes):
    a, b, c = nodes.together("a", "b", "c")
    made = {node.id: spawn(node, 10) for node in (a, b, c)}
    everybody = [pid for actors in made.values() for pid in pids(actors)]
    dead = record(b)
    dead.actor_ref.stop()
    done, wrong = threading.Event(), []

    def sample():
        last = {}
        while not done.is_set():
            for node in (a, b, c):
                stats = node.stats()
                if not reconciles(stats):
                    wrong.append(stats)
                before = last.get(node.id, stats)
                for name in ("sent", "delivered", "dead", "shed", "unreachable", "handoffs"):
                    if stats[name] < before[name]:
                        wrong.append((name, before, stats))
                last[node.id] = stats

    def run(node):
        group = audience(node, everybody)
        for number in range(300):
            node.send(everybody if number % 3 else group, number)
            node.send([dead.pid, manifold.PID("gone@00", 1)], number)

    watcher = threading.Thread(target=sample)
    senders = [threading.Thread(target=run, args=(node,)) for node in (a, b, c)]
    for thread in (watcher, *senders):
        thread.start()
    try:
        for thread in senders:
            thread.join()
        final = [quiet(node) for node in (a, b, c)]
    finally:
        done.set()
        watcher.join()
    assert not wrong, wrong[:3]
    for stats in final:
        assert (stats.sent, stats.delivered, stats.dead, stats.unreachable) == (9600, 9000, 300, 300)


def test_stats_do_not_shrink_when_a_node_goes(nodes):
    wrong, done = [], threading.Event()
    a = nodes.node("a")

    def sample():
        last = a.stats()
        while not done.is_set():
            stats = a.stats()
            if not reconciles(stats) or stats.delivered < last.delivered or stats.handoffs < last.handoffs:
                wrong.append((last, stats))
            last = stats

    watcher = threading.Thread(target=sample)
    watcher.start()
    try:
        for _ in range(5):
            b = nodes.node("b")
            meet(a, b)
            actor = record(b)
            for number in range(200):
                a.send(actor.pid, number)
            b.stop()
            assert until(lambda b=b: b.id not in a.nodes())
    finally:
        done.set()
        watcher.join()
    assert not wrong, wrong[:2]
    quiet(a)


def test_what_was_queued_for_a_node_that_went_down_is_let_go_of(memory_nodes):
    impatient = Limits(node_down_after_s=0.5)
    a, b = memory_nodes.together("a", "b", limits=impatient)
    pid = record(b).pid
    HUB.cut(b.address)
    try:
        for number in range(200):
            a.send(pid, number)
        assert until(lambda: a.nodes() == [a.id])
        over = [peer for peer in a._hub._by_session.values() if peer.node == b.id]
        assert over
        assert not any(peer.link.unacked or peer.stuck for peer in over)
    finally:
        HUB.heal(b.address)


def test_the_receiver_does_not_count_what_others_sent(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 5)
    for number in range(10):
        a.send(pids(far), number)
    assert quiet(a).delivered == 50
    stats = b.stats()
    assert (stats.sent, stats.delivered, stats.handoffs, stats.in_flight) == (0, 0, 0, 0)


def test_stop_sends_what_is_queued_before_goodbye(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    for number in range(20_000):
        a.send(far.pid, number)
    a.send([far.pid], "offloaded", send_mode="offload")
    a.stop()
    assert until(lambda: len(far.got) == 20_001), len(far.got)
    assert far.got == [*range(20_000), "offloaded"]


def test_what_was_delivered_before_the_sender_stopped_counts_as_delivered(nodes):
    a, b = nodes.together("a", "b")
    far = record(b)
    for number in range(1000):
        a.send(far.pid, number)
    a.stop()
    stats = a.stats()
    assert until(lambda: len(far.got) == 1000)
    assert (stats.sent, stats.delivered, stats.unreachable, stats.in_flight) == (1000, 1000, 0, 0)


@pytest.mark.parametrize("turn", range(5))
def test_what_was_delivered_before_the_receiver_stopped_counts_as_delivered(nodes, turn):
    a, b = nodes.together("a", "b")
    far = record(b)
    receipts = [a.send([far.pid], number, receipt=True) for number in range(50)]
    assert until(lambda: len(far.got) == 50)
    b.stop()
    stats = quiet(a)
    assert (stats.delivered, stats.unreachable) == (50, 0)
    assert all(outcome(receipt) == {"b": {"delivered": 1}} for receipt in receipts)


@pytest.mark.parametrize("turn", range(3))
def test_counts_are_those_of_the_handlers_when_the_receiver_stops_mid_stream(nodes, turn):
    a, b = nodes.together("a", "b")
    far = record(b)
    for number in range(2000):
        a.send([far.pid], number)
    assert until(lambda: far.got)
    b.stop()
    stats = quiet(a)
    assert far.got == list(range(len(far.got)))
    assert stats.delivered == len(far.got)
    assert stats.dead + stats.unreachable == 2000 - len(far.got)


def test_senders_hear_nothing_odd_while_a_node_stops(nodes, lines):
    a = nodes.node("a")
    for _ in range(5):
        b = nodes.node("b")
        meet(a, b)
        far = spawn(b, 3)
        errors, done = [], threading.Event()

        def run(far=far, errors=errors, done=done):
            group = audience(a, pids(far))
            number = 0
            while not done.is_set():
                number += 1
                try:
                    a.send(pids(far) if number % 3 else group, number)
                    if number % 10 == 0:
                        group.discard(far[0].pid)
                        group.add(far[0].pid)
                        a.ask(far[1].pid, number)
                except manifold.Overloaded:
                    pass
                except BaseException as error:
                    errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            assert until(lambda far=far: len(far[0].got) > 100)
            b.stop()
            assert until(lambda b=b: b.id not in a.nodes())
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert not errors, errors[:3]
        quiet(a)
    assert not lines, lines


def test_resizing_the_receiver_mid_stream(nodes):
    a, b = nodes.together("a", "b")
    far = spawn(b, 30)
    group = audience(a, pids(far))
    for number in range(300):
        a.send(group if number % 2 else pids(far), number)
        if number % 30 == 0:
            b.resize(1 + number // 30 % 4)
    assert quiet(a).delivered == 9000
    assert all(actor.got == list(range(300)) for actor in far)


def test_a_slow_node_delays_nobody_else(nodes):
    a, b, c = nodes.together("a", "b", "c", workers=1)
    far, other = record(b), record(c)
    with Hold(b):
        for number in range(500):
            a.send([far.pid, other.pid], number)
        assert until(lambda: len(other.got) == 500)
        assert stays(lambda: not far.got, 0.05)
    quiet(a)
    assert far.got == list(range(500))
