"""Placed actors: one to a key, begun by the first message, and moved with their state when nodes come and go."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import pytest

import manifold
from manifold import Limits
from manifold.actors import ActorDeadError
from manifold.errors import NotPlaced
from manifold.testing import Simulation

LIMITS = Limits(node_down_after_s=1.0, stop_grace_s=1.0)
KEYS = [f"key {number}" for number in range(40)]


class Keeper(manifold.Actor):
    """Answers what it has got, and since when it lives."""

    live: ClassVar[dict[str, list[Keeper]]] = {}
    begun = 0

    def __init__(self, key, *args):
        type(self).begun += 1
        self.key = key
        self.args = args
        self.got = []
        self.is_new = True
        Keeper.live.setdefault(key, []).append(self)

    def on_receive(self, message):
        match message:
            case "got":
                return self.got
            case "where":
                return self.node.name
            case "args":
                return self.args
            case "stop":
                self.stop()
            case "fail":
                raise ValueError("told to")
            case _:
                self.got.append(message)
        return None

    def on_handoff(self):
        return self.got

    def on_takeover(self, state):
        self.got = state
        self.is_new = False

    def on_stop(self):
        Keeper.live[self.key].remove(self)

    def on_failure(self, *exc_info):
        self.on_stop()


class Asynchronous(Keeper):
    async def on_handoff(self):
        await asyncio.sleep(0.3)
        return self.got

    async def on_takeover(self, state):
        await asyncio.sleep(0.3)
        self.got = state

    async def on_stop(self):
        await asyncio.sleep(0.1)
        Keeper.live[self.key].remove(self)


class FailingHandOff(Keeper):
    def on_handoff(self):
        raise RuntimeError("no state today")


class FailingTakeOver(Keeper):
    def on_takeover(self, state):
        raise RuntimeError("not that state")


class Unencodable(Keeper):
    def on_handoff(self):
        return object()


class Unmade(Keeper):
    fails = True

    def __init__(self, *args):
        if Unmade.fails:
            raise RuntimeError("not today")
        super().__init__(*args)


class Plain(manifold.Actor):
    """Has no hooks: it begins anew where it moves to."""

    def __init__(self):
        self.number = 0

    def on_receive(self, message):
        self.number += 1
        return self.number


class Small(Keeper):
    mailbox_max = 3


class Slow(Keeper):
    async def on_receive(self, message):
        await asyncio.sleep(0.01)
        return super().on_receive(message)


@pytest.fixture(autouse=True)
def fresh(caplog):
    Keeper.live = {}
    for cls in Keeper.__subclasses__():
        cls.begun = 0
    Keeper.begun = 0
    Unmade.fails = True
    caplog.set_level(logging.CRITICAL, logger="pykka")


def join(simulation, *names, **options):
    nodes = [simulation.node(name, limits=LIMITS, **options) for name in names]
    settle(simulation)
    return nodes[0] if len(nodes) == 1 else nodes


def newcomer(simulation, a):
    """One more node, which is in the view that `a` has: now actors move to it."""
    c = simulation.node("c", limits=LIMITS)
    simulation.run_until(lambda: c.id in a.directory.view.nodes, within_s=5)
    return c


def settle(simulation, within_s=10.0):
    """Wait until all who are connected are in one view, and it is open."""

    def is_quiet():
        nodes = simulation.nodes()
        ids = {node.id for node in nodes}
        return all(node.directory.view.nodes == ids and node.directory._agreement.is_open for node in nodes)

    assert simulation.run_until(is_quiet, within_s=within_s), [
        node.directory.view.members for node in simulation.nodes()
    ]
    simulation.run(1.5)


def refs(cls=Keeper, keys=KEYS, **options):
    return [manifold.placed(cls, key, key, **options) for key in keys]


def got(simulation, node, ref, what="got"):
    return node.ask(ref, what).get(timeout=5)


def where(node, those):
    futures = [node.ask(ref, "where") for ref in those]
    return {ref.key: future.get(timeout=5) for ref, future in zip(those, futures)}


def reconcile(*nodes, **expected):
    """Everything was accounted for: what was sent, and by cause."""
    stats = [node.stats() for node in nodes]
    assert [s.in_flight for s in stats] == [0] * len(stats), stats
    for cause in ("dead", "shed", "unreachable"):
        assert sum(getattr(s, cause) for s in stats) == expected.get(cause, 0), (cause, stats)


def test_a_placed_actor_begins_with_the_first_message_where_the_ring_says():
    with Simulation(1) as simulation:
        a, b, c = join(simulation, "a", "b", "c")
        those = [manifold.placed(Keeper, key, key, 7, b"x") for key in KEYS]
        simulation.run(0.1)
        assert Keeper.begun == 0
        for node in (a, b, c):
            assert where(node, those) == {key: a.ring().find(key) for key in KEYS}
        assert Keeper.begun == len(KEYS)
        assert got(simulation, a, those[0], "args") == (7, b"x")
        reconcile(a, b, c)


def test_a_stampede_of_questions_begins_one_actor():
    with Simulation(2) as simulation:
        nodes = join(simulation, "a", "b", "c")
        ref = manifold.placed(Keeper, "guild", "guild")
        futures = [node.ask(ref, "where", timeout=None) for _ in range(3334) for node in nodes]
        answers = {future.get(timeout=60) for future in futures}
        assert answers == {nodes[0].ring().find("guild")}
        assert Keeper.begun == 1


def test_only_the_share_that_the_ring_moves_moves_when_a_node_comes():
    with Simulation(3) as simulation:
        a, b, c = join(simulation, "a", "b", "c")
        those = refs(keys=[str(number) for number in range(300)])
        a.send(those, "hello")
        simulation.run(0.5)
        before = where(a, those)
        plan = a.ring().plan(add="d")
        d = join(simulation, "d")
        after = where(d, those)
        moved = [key for key in before if before[key] != after[key]]
        assert {after[key] for key in moved} == {"d"}
        assert Keeper.begun == len(those) + len(moved)
        assert abs(len(moved) / len(those) - plan.share) < 0.1
        assert all(got(simulation, b, ref) == ["hello"] for ref in those)
        reconcile(a, b, c, d)


def test_a_node_that_leaves_hands_everything_over_and_its_stop_loses_nothing():
    with Simulation(4) as simulation:
        a, b, c = join(simulation, "a", "b", "c")
        those = refs()
        a.send(those, 1)
        left = b.leave()
        assert b.leave() is left
        for number in range(2, 50):
            for node in (a, b, c):
                if node is not b or number < 30:
                    node.send(those, number)
            simulation.run(0.003)
        left.get(timeout=5)
        assert "b" not in where(c, those).values()
        assert set(b.ring().nodes) == {"a", "c"}
        simulation.run(0.5)
        b.stop()
        settle(simulation)
        for ref in those:
            numbers = got(simulation, a, ref)
            assert len(numbers) == 1 + 28 + 48 * 2
        reconcile(a, b, c)


@pytest.mark.parametrize("cls", [Keeper, Asynchronous])
def test_a_key_that_moves_again_while_it_is_handed_over_keeps_what_it_had(cls):
    with Simulation(5) as simulation:
        a = join(simulation, "m")
        those = refs(cls)
        number, nodes = 0, [a]
        for name in ("f", "x", "c", "q"):
            nodes.append(simulation.node(name, limits=LIMITS))
            for _ in range(20):
                number += 1
                a.send(those, number)
                simulation.run(0.013)
        for node in nodes[1:3]:
            node.leave()
            for _ in range(10):
                number += 1
                a.send(those, number)
                simulation.run(0.013)
        settle(simulation)
        simulation.run(3.0)
        for ref in those:
            assert got(simulation, nodes[-1], ref) == list(range(1, number + 1))
        assert all(len(live) == 1 for live in Keeper.live.values())
        reconcile(*nodes)


@pytest.mark.parametrize("cls", [FailingHandOff, Unencodable, FailingTakeOver])
def test_an_actor_that_cannot_give_or_take_its_state_begins_afresh_and_answers(cls):
    with Simulation(6) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(cls)
        a.send(those, "before")
        simulation.run(0.2)
        c = join(simulation, "c")
        moved = [ref for ref in those if c.ring().find(ref.key) == "c"]
        a.send(those, "after")
        simulation.run(0.2)
        assert moved
        for ref in those:
            answer = got(simulation, b, ref)
            assert answer == (["after"] if ref in moved else ["before", "after"])
        reconcile(a, b, c)


def test_an_actor_without_hooks_begins_anew():
    with Simulation(7) as simulation:
        a, b = join(simulation, "a", "b")
        those = [manifold.placed(Plain, key) for key in KEYS]
        assert [a.ask(ref, 0).get(timeout=5) for ref in those] == [1] * len(those)
        c = join(simulation, "c")
        counts = {ref.key: b.ask(ref, 0).get(timeout=5) for ref in those}
        assert counts == {key: 1 if c.ring().find(key) == "c" else 2 for key in KEYS}


def test_an_actor_whose_constructor_fails_is_tried_again_by_the_next_message():
    with Simulation(8) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Unmade)
        futures = [a.ask(ref, "where") for ref in those]
        simulation.run(0.5)
        for future in futures:
            with pytest.raises(ActorDeadError):
                future.get(timeout=1)
        Unmade.fails = False
        assert where(b, those) == {key: a.ring().find(key) for key in KEYS}
        reconcile(a, b, dead=len(those))


def test_an_actor_that_stops_or_fails_is_begun_again_by_the_next_message():
    with Simulation(9) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs()
        for end in ("stop", "fail"):
            a.send(those, "x")
            a.send(those, end)
            simulation.run(0.2)
            assert all(got(simulation, b, ref) == [] for ref in those)
        assert Keeper.begun == 3 * len(those)
        reconcile(a, b)


def test_an_actor_that_stops_while_it_is_handed_over_is_begun_afresh():
    with Simulation(10) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Slow)
        for number in range(3):
            a.send(those, number)
        c = newcomer(simulation, a)
        a.send(those, "stop")
        a.send(those, "later")
        settle(simulation)
        for ref in those:
            assert got(simulation, c, ref) in ([], ["later"])
        assert all(len(live) == 1 for live in Keeper.live.values())
        assert sum(node.stats().in_flight for node in (a, b, c)) == 0


def test_what_waits_for_an_actor_to_come_is_handled_behind_its_takeover():
    with Simulation(11) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Asynchronous)
        a.send(those, 0)
        simulation.run(0.2)
        c = newcomer(simulation, a)
        futures = []
        for number in range(1, 20):
            a.send(those, number)
            futures += [(number, b.ask(ref, "got")) for ref in those]
            simulation.run(0.005)
        settle(simulation)
        for _, future in futures:
            seen = future.get(timeout=5)
            assert seen == list(range(len(seen)))
        assert all(got(simulation, c, ref) == list(range(20)) for ref in those)
        reconcile(a, b, c)


def test_roles_say_which_nodes_take_part():
    with Simulation(12) as simulation:
        a = simulation.node("a", limits=LIMITS, roles=("guild",))
        b = simulation.node("b", limits=LIMITS, roles=("guild", "session"))
        c = simulation.node("c", limits=LIMITS)
        settle(simulation)
        assert set(where(c, refs(role="guild")).values()) == {"a", "b"}
        assert set(where(a, refs(role="session", keys=["s1", "s2", "s3"])).values()) == {"b"}
        assert set(c.ring().nodes) == {"a", "b", "c"}
        assert set(c.ring("guild").nodes) == {"a", "b"}
        with pytest.raises(NotPlaced, match="role='voice'"):
            c.send(refs(role="voice")[0], "x")
        with pytest.raises(NotPlaced):
            c.ask(refs(role="voice")[0], "x")
        b.leave().get(timeout=5)
        with pytest.raises(NotPlaced):
            a.send(refs(role="session"), "x")
        assert set(where(c, refs(role="guild")).values()) == {"a"}
        reconcile(a, b, c)


def test_the_last_of_a_role_keeps_its_actors_until_it_stops():
    with Simulation(13) as simulation:
        a = simulation.node("a", limits=LIMITS, roles=("guild",))
        b = join(simulation, "b")
        ref = refs(role="guild")[0]
        assert got(simulation, b, ref, "where") == "a"
        left = a.leave()
        simulation.run(2.0)
        assert left.is_set()
        assert len(Keeper.live[ref.key]) == 1
        a.stop()
        settle(simulation)
        reconcile(a, b)


@pytest.mark.parametrize("silent", [False, True])
def test_actors_of_a_node_that_is_killed_begin_afresh_elsewhere_and_the_others_stay(silent):
    with Simulation(14) as simulation:
        a, b, c = join(simulation, "a", "b", "c")
        those = refs()
        a.send(those, "before")
        simulation.run(0.2)
        lost = {ref.key for ref in those if a.ring().find(ref.key) == "b"}
        simulation.kill(b, silent=silent)
        assert simulation.run_until(lambda: b.id not in a.nodes() + c.nodes(), within_s=3)
        detected = simulation.now
        answers = {ref.key: a.ask(ref, "got").get(timeout=5) for ref in those}
        assert simulation.now - detected < 1.0
        assert answers == {key: [] if key in lost else ["before"] for key in KEYS}
        reconcile(a, c)


@pytest.mark.parametrize("seed", range(12))
def test_when_a_node_dies_while_keys_are_handed_over_all_answer_again(seed):
    with Simulation(seed) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Asynchronous if seed % 2 else Keeper)
        a.send(those, 1)
        simulation.run(0.1)
        c = newcomer(simulation, a)
        simulation.run(simulation.random.choice([0.0, 0.001, 0.003, 0.1, 0.3]))
        a.send(those, 2)
        victim, other = (b, c) if seed % 3 else (c, b)
        simulation.kill(victim, silent=seed % 2 == 0)
        simulation.run_until(lambda: len(a.nodes()) == 2, within_s=5)
        settle(simulation)
        a.send(those, 3)
        for ref in those:
            assert got(simulation, other, ref)[-1:] == [3], ref
        assert [s.in_flight for s in (a.stats(), other.stats())] == [0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_after_a_split_has_healed_there_is_one_actor_to_a_key_and_it_answers(seed):
    with Simulation(seed) as simulation:
        nodes = join(simulation, "a", "b", "c", "d")
        those = refs()
        for turn in range(3):
            side = simulation.random.sample("abcd", 2)
            for x in side:
                for y in set("abcd") - set(side):
                    simulation.partition(x, y)
            for _ in range(20):
                for node in nodes:
                    node.send(those, turn)
                simulation.run(simulation.random.choice([0.001, 0.1, 0.3]))
            simulation.calm()
            simulation.run(simulation.random.choice([0.5, 2.0]))
        settle(simulation, within_s=20)
        simulation.run(3.0)
        for node in nodes:
            assert where(node, those) == {key: nodes[0].ring().find(key) for key in KEYS}
        held = [len(live) for live in Keeper.live.values()]
        assert held == [1] * len(KEYS)
        assert [node.stats().in_flight for node in nodes] == [0] * 4


def test_a_class_that_another_node_has_not_imported(monkeypatch, caplog):
    with Simulation(16) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs()
        away = [ref for ref in those if a.ring().find(ref.key) == "b"]
        monkeypatch.setattr("tests.cluster.test_placement.Keeper", None)
        caplog.set_level(logging.ERROR, logger="manifold")
        receipt = a.send(away, "x", receipt=True)
        futures = [a.ask(ref, "x") for ref in away]
        simulation.run(0.5)
        assert receipt.get(timeout=1)[b.id].dead == len(away)
        for future in futures:
            with pytest.raises(ActorDeadError):
                future.get(timeout=1)
        assert "Keeper was imported here; every node that takes part must import it" in caplog.text
        reconcile(a, b, dead=2 * len(away))


def test_a_node_that_stops_counts_what_still_waits_for_an_actor_to_come_as_dead():
    with Simulation(17) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Asynchronous)
        a.send(those, 0)
        simulation.run(0.2)
        c = newcomer(simulation, a)
        futures = [a.ask(ref, "got", timeout=None) for ref in those]
        simulation.run(0.02)
        c.stop()
        settle(simulation)
        ends = [end_of(future) for future in futures]
        assert {end for end in ends if end != [0]} == {ActorDeadError} or ends == [[0]] * len(ends)
        assert [node.stats().in_flight for node in (a, b, c)] == [0, 0, 0]
        # Those that were still at it when it went have gone on with what they had.
        assert [got(simulation, b, ref) for ref in those] == [[0]] * len(those)


def end_of(future):
    try:
        return future.get(timeout=5)
    except manifold.ManifoldError as error:
        return type(error)
    except ActorDeadError as error:
        return type(error)


def test_a_small_mailbox_does_not_bound_what_waits_for_an_actor_to_come():
    with Simulation(18) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Small)
        a.send(those, 0)
        simulation.run(0.2)
        c = newcomer(simulation, a)
        for number in range(1, 20):
            a.send(those, number)
        settle(simulation)
        assert all(got(simulation, c, ref) == list(range(20)) for ref in those)
        reconcile(a, b, c)


def test_resizing_moves_placed_actors_between_workers_and_nothing_else_changes():
    with Simulation(19) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs(Slow)
        for number in range(30):
            a.send(those, number)
            (a if number % 2 else b).resize(1 + number % 4)
            simulation.run(0.002)
        c = simulation.node("c", limits=LIMITS)
        for number in range(30, 60):
            b.send(those, number)
            for node in (a, b, c):
                node.resize(1 + number % 3)
            simulation.run(0.004)
        settle(simulation)
        simulation.run(3.0)
        numbers = {ref.key: got(simulation, c, ref) for ref in those}
        assert all(
            [n for n in seen if n < 30] == list(range(30)) and [n for n in seen if n >= 30] == list(range(30, 60))
            for seen in numbers.values()
        )
        reconcile(a, b, c)


class Monitoring(manifold.Actor):
    def __init__(self, got):
        self.got = got

    def on_receive(self, message):
        if isinstance(message, manifold.PID):
            self.monitor(message)
        else:
            self.got.append(message)


def test_monitors_of_an_actor_that_moves_are_told_so():
    with Simulation(20) as simulation:
        a, b = join(simulation, "a", "b")
        a.send(refs(), "x")
        simulation.run(0.2)
        downs = []
        pid = b.spawn(Monitoring, downs)
        for live in Keeper.live.values():
            b.send(pid, live[0].pid)
        simulation.run(0.2)
        c = join(simulation, "c")
        moved = [key for key in KEYS if c.ring().find(key) == "c"]
        assert [down.reason for down in downs] == ["handed over"] * len(moved)


def test_what_is_sent_later_to_a_placed_actor():
    with Simulation(21) as simulation:
        a, b = join(simulation, "a", "b")
        those = refs()
        a.send_after(1.0, those, "later")
        a.send_after(0.5, those[0], "alone")
        c = join(simulation, "c")
        simulation.run(2.0)
        assert [got(simulation, b, ref) for ref in those] == [["alone", "later"]] + [["later"]] * (len(those) - 1)
        reconcile(a, b, c)


class Heavy(Keeper):
    def on_handoff(self):
        return bytes(100_000)


TIGHT = Limits(node_down_after_s=1.0, stop_grace_s=1.0, message_max_bytes=50_000, packet_max_bytes=60_000)


def test_a_state_that_is_larger_than_a_message_may_be_is_none():
    with Simulation(22) as simulation:
        a = simulation.node("a", limits=TIGHT)
        those = refs(Heavy)
        a.send(those, "x")
        simulation.run(0.2)
        b = simulation.node("b", limits=TIGHT)
        settle(simulation)
        moved = {ref.key for ref in those if b.ring().find(ref.key) == "b"}
        assert moved
        assert {ref.key: got(simulation, b, ref) for ref in those} == {
            key: [] if key in moved else ["x"] for key in KEYS
        }
        reconcile(a, b)


def test_more_keys_than_a_frame_takes_go_in_several():
    keys = [f"{number:03}" + "k" * 1000 for number in range(200)]
    with Simulation(23) as simulation:
        a = simulation.node("a", limits=TIGHT)
        b = simulation.node("b", limits=TIGHT)
        settle(simulation)
        those = [manifold.placed(Keeper, key, key) for key in keys]
        receipt = a.send(those, "x", receipt=True)
        simulation.run(0.5)
        assert sum(outcome.delivered for outcome in receipt.get(timeout=1).values()) == len(keys)
        b.leave().get(timeout=10)
        assert [got(simulation, b, ref) for ref in those] == [["x"]] * len(keys)
        reconcile(a, b)


def test_a_list_of_both_kinds_is_refused_before_anything_is_sent():
    with Simulation(1) as simulation:
        a = simulation.node("a", limits=LIMITS)
        pid = a.spawn(Plain)
        for mixed in ([manifold.placed(Plain, "k"), pid], [pid, manifold.placed(Plain, "k")]):
            with pytest.raises(TypeError, match="two sends"):
                a.send(mixed, "x")
        assert a.stats().sent == 0


@pytest.mark.parametrize("others", [True, False])
def test_a_node_that_joins_begins_nothing_before_it_has_met_the_others(others):
    with Simulation(31) as simulation:
        a = simulation.node("a")
        a.send(manifold.placed(Keeper, "k", "k"), 1)
        simulation.run(0.1)
        b = simulation.node("b", join=[a.address if others else "sim://nobody"])
        b.send(manifold.placed(Keeper, "k", "k"), 2)
        simulation.run(1.0)
        if others:
            assert len(a.directory._placement.homes) + len(b.directory._placement.homes) == 1
            assert a.stats().delivered + b.stats().delivered == 2
        else:
            assert b.stats().in_flight == 1
            simulation.run(8.0)
            assert (b.stats().delivered, len(b.directory._placement.homes)) == (1, 1)


def test_one_that_ends_while_it_waits_leaves_room_for_the_next():
    with Simulation(32) as simulation:
        a = simulation.node("a", join=["sim://nobody"])
        ref = manifold.placed(Keeper, "k", "k")
        a.send(ref, 1)
        placement = a.directory._placement
        placement.ended(placement.homes[ref.who])  # as when its worker process dies
        simulation.run(8.0)
        a.send(ref, 2)
        simulation.run(0.1)
        assert a.ask(ref, "got").get(timeout=5) == [2]


def test_what_is_offloaded_to_a_role_that_goes_away_is_accounted_for(caplog):
    caplog.set_level(logging.ERROR, logger="manifold")
    with Simulation(33) as simulation:
        a = simulation.node("a", roles=("r",))
        ref = manifold.placed(Keeper, "k", "k", role="r")
        with simulation.calling(a):
            receipt = manifold.send(ref, 1, send_mode="offload", receipt=True)
            question = manifold.ask(ref, "got")
        a.leave()
        outcome = receipt.get(timeout=5)
        assert (outcome[a.id].dead, a.stats().in_flight) == (1, 0)
        with pytest.raises(NotPlaced):
            question.get(timeout=5)
        assert "belongs nowhere" in caplog.text
