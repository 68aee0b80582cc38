"""Names: one holder in the cluster, found from everywhere, whatever nodes come and go. Over the simulation."""

from __future__ import annotations

import logging
from functools import partial
from random import Random

import pytest
from pykka import ActorDeadError

import manifold
from manifold import Limits, NameLost, NameTaken
from manifold.testing import Faults, Simulation

QUICK = Limits(node_down_after_s=1.0, stop_grace_s=1.0)
SEEDS = range(12)


class Keeper(manifold.Actor):
    def __init__(self):
        self.got = []

    def on_receive(self, message):
        if message == "got":
            return self.got
        self.got.append(message)
        return message


def cluster(simulation, names="abc", **options):
    nodes = [simulation.node(name, **{"limits": QUICK, **options}) for name in names]
    simulation.meet(*nodes)
    simulation.run(0.5)
    return nodes


def at(simulation, node, call, *args):
    with simulation.calling(node):
        return call(*args)


def register(simulation, node, name, pid):
    return at(simulation, node, manifold.register, name, pid).get(timeout=10)


def whereis(simulation, node, name):
    return at(simulation, node, manifold.whereis, name).get(timeout=10)


def everywhere(simulation, nodes, name):
    return {whereis(simulation, node, name) for node in nodes}


def owner_of(nodes, name):
    return next(node for node in nodes if node.name == nodes[0].ring().find(name))


def test_a_name_is_found_from_every_node_whoever_registers_it_and_whoever_keeps_it():
    with Simulation(1) as simulation:
        nodes = cluster(simulation)
        pids = [node.spawn(Keeper) for node in nodes]
        for index in range(27):
            register(simulation, nodes[index % 3], f"n{index}", pids[index // 3 % 3])
        for index in range(27):
            assert everywhere(simulation, nodes, f"n{index}") == {pids[index // 3 % 3]}
        assert {owner_of(nodes, f"n{index}").name for index in range(27)} == set("abc")


def test_a_name_that_nobody_holds_is_nobodys():
    with Simulation(2) as simulation:
        a, b, _ = cluster(simulation)
        assert whereis(simulation, a, "nobody") is None
        assert at(simulation, a, manifold.unregister, "nobody").get(timeout=10) is False
        with pytest.raises(ActorDeadError, match="'nobody'"):
            at(simulation, b, manifold.ask, "nobody", "hello").get(timeout=10)
        receipt = at(simulation, a, lambda: manifold.send("nobody", "hello", receipt=True))
        outcome = receipt.get(timeout=10)
        assert (outcome[a.id].dead, a.stats().dead) == (1, 1)


def test_a_second_holder_is_refused_and_told_who_is_the_first():
    with Simulation(3) as simulation:
        a, b, c = cluster(simulation)
        first, second = a.spawn(Keeper), b.spawn(Keeper)
        register(simulation, c, "lobby", first)
        register(simulation, a, "lobby", first)  # its own already
        for node in (a, b, c):
            with pytest.raises(NameTaken) as raised:
                register(simulation, node, "lobby", second)
            assert (raised.value.name, raised.value.holder) == ("lobby", first)
        assert everywhere(simulation, (a, b, c), "lobby") == {first}


@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_who_register_at_once_one_holds_the_name(seed):
    with Simulation(seed, faults=Faults(delay_s=(0.0, 0.05))) as simulation:
        nodes = cluster(simulation, "abcd")
        pids = [node.spawn(Keeper) for node in nodes]
        futures = [at(simulation, node, manifold.register, "lobby", pid) for node, pid in zip(nodes, pids)]
        held = []
        for future, pid in zip(futures, pids):
            try:
                future.get(timeout=10)
                held.append(pid)
            except NameTaken as error:
                assert error.holder in pids
        assert len(held) == 1
        assert everywhere(simulation, nodes, "lobby") == set(held)


@pytest.mark.parametrize("how", ["stops", "is unregistered", "fails"])
def test_a_name_ends_with_its_actor_and_can_be_had_again(how):
    with Simulation(4) as simulation:
        nodes = cluster(simulation)
        a, b, c = nodes
        pid, other = b.spawn(Fragile), c.spawn(Keeper)
        register(simulation, a, "lobby", pid)
        assert everywhere(simulation, nodes, "lobby") == {pid}
        if how == "is unregistered":
            assert at(simulation, c, manifold.unregister, "lobby").get(timeout=10) is True
        else:
            a.send(pid, how)
        simulation.run(0.5)
        assert everywhere(simulation, nodes, "lobby") == {None}
        register(simulation, c, "lobby", other)
        assert everywhere(simulation, nodes, "lobby") == {other}


class Fragile(Keeper):
    def on_receive(self, message):
        if message == "fails":
            raise ValueError(message)
        if message == "stops":
            self.stop()
        return super().on_receive(message)


def test_what_does_not_run_holds_no_name():
    with Simulation(5) as simulation:
        a, b, _ = cluster(simulation)
        pid = b.spawn(Fragile)
        a.send(pid, "stops")
        simulation.run(0.5)
        for node in (a, b):
            with pytest.raises(ActorDeadError):
                register(simulation, node, "lobby", pid)
        assert whereis(simulation, a, "lobby") is None


def test_an_actor_of_a_node_that_is_gone_gets_no_name():
    with Simulation(6) as simulation:
        a, b, c = cluster(simulation)
        pid = b.spawn(Keeper)
        b.stop()
        simulation.run(0.5)
        with pytest.raises(manifold.NodeDown):
            register(simulation, a, "lobby", pid)
        future = at(simulation, a, manifold.register, "lobby", c.spawn(Keeper))
        assert future.get(timeout=10) is None


@pytest.mark.parametrize("silent", [False, True])
def test_the_names_of_a_node_that_dies_go_with_it_and_all_others_stay(silent):
    with Simulation(7) as simulation:
        nodes = cluster(simulation)
        a, b, c = nodes
        pids = {node: node.spawn(Keeper) for node in nodes}
        for index in range(30):
            register(simulation, a, f"n{index}", pids[nodes[index % 3]])
        assert all(everywhere(simulation, nodes, f"n{index}") for index in range(30))
        simulation.kill(b, silent=silent)
        simulation.run(5.0)
        for index in range(30):
            holder = None if index % 3 == 1 else pids[nodes[index % 3]]
            assert everywhere(simulation, (a, c), f"n{index}") == {holder}


def test_names_move_to_a_node_that_joins_and_back_when_it_leaves():
    with Simulation(8) as simulation:
        nodes = cluster(simulation)
        pids = [node.spawn(Keeper) for node in nodes]
        for index in range(40):
            register(simulation, nodes[0], f"n{index}", pids[index % 3])
        (d,) = cluster(simulation, "d")
        everybody = [*nodes, d]
        moved = [index for index in range(40) if d.ring().find(f"n{index}") == "d"]
        assert moved
        for index in range(40):
            assert everywhere(simulation, everybody, f"n{index}") == {pids[index % 3]}
            with pytest.raises(NameTaken):
                register(simulation, d, f"n{index}", d.spawn(Keeper))
        d.leave().get(timeout=10)
        d.stop()
        simulation.run(1.0)
        for index in range(40):
            assert everywhere(simulation, nodes, f"n{index}") == {pids[index % 3]}


def test_after_a_split_the_older_holder_keeps_the_name_and_the_other_is_told():
    with Simulation(9) as simulation:
        nodes = cluster(simulation)
        a, b, c = nodes
        for other in (b, c):
            simulation.partition(a.name, other.name)
        simulation.run(5.0)
        younger, older = b.spawn(Keeper), a.spawn(Keeper)
        register(simulation, a, "lobby", older)
        simulation.run(0.1)
        register(simulation, c, "lobby", younger)
        assert everywhere(simulation, (b, c), "lobby") == {younger}
        for other in (b, c):
            simulation.heal(a.name, other.name)
        simulation.run(15.0)
        assert everywhere(simulation, nodes, "lobby") == {older}
        assert b.ask(younger, "got").get(timeout=10) == [NameLost("lobby", older)]
        assert a.ask(older, "got").get(timeout=10) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_messages_by_name_and_by_pid_keep_their_order(seed):
    random = Random(seed)
    with Simulation(seed, faults=Faults(delay_s=(0.0, 0.02), loss=0.05)) as simulation:
        a, b, c = cluster(simulation)
        pids = [b.spawn(Keeper) for _ in range(3)]
        for index, pid in enumerate(pids):
            register(simulation, b, f"n{index}", pid)
        for number in range(60):
            index = random.randrange(3)
            for node in (a, c):
                to = random.choice([f"n{index}", pids[index], [pids[index]]])
                mode = random.choice([None, None, "offload"])
                at(simulation, node, partial(manifold.send, to, (node.name, number), send_mode=mode))
            if not random.randrange(4):
                simulation.run(random.random() * 0.02)
        simulation.run(5.0)
        for pid in pids:
            got = b.ask(pid, "got").get(timeout=10)
            for name in "ac":
                numbers = [number for sender, number in got if sender == name]
                assert numbers == sorted(numbers)
        assert sum(len(b.ask(pid, "got").get(timeout=10)) for pid in pids) == 120
        for node in (a, c):
            stats = node.stats()
            assert stats.sent == stats.delivered


def test_who_used_a_name_before_looks_it_up_without_the_network():
    with Simulation(10) as simulation:
        nodes = cluster(simulation)
        name = "lobby"
        owner = owner_of(nodes, name)
        other = next(node for node in nodes if node is not owner)
        pid = owner.spawn(Keeper)
        register(simulation, owner, name, pid)
        assert whereis(simulation, other, name) == pid
        simulation.pause(owner)
        future = at(simulation, other, manifold.whereis, name)
        assert future.is_set()
        assert future.get() == pid
        simulation.resume(owner)


def test_a_name_is_checked_before_anything_is_done():
    with Simulation(11) as simulation:
        (a,) = cluster(simulation, "a")
        pid = a.spawn(Keeper)
        for wrong, error in ((7, TypeError), (None, TypeError), ("", ValueError), ("x" * 256, ValueError)):
            for call in (partial(manifold.register, wrong, pid), partial(manifold.whereis, wrong)):
                with pytest.raises(error):
                    at(simulation, a, call)


def test_a_question_whose_owner_dies_is_asked_of_the_next_one():
    with Simulation(12) as simulation:
        nodes = cluster(simulation)
        a = nodes[0]
        name = next(f"n{index}" for index in range(99) if owner_of(nodes, f"n{index}") is not a)
        owner = owner_of(nodes, name)
        pid = a.spawn(Keeper)
        simulation.pause(owner)
        asked = [at(simulation, a, manifold.register, name, pid), at(simulation, a, manifold.whereis, name)]
        at(simulation, a, lambda: manifold.send(name, "hello"))
        simulation.run(0.2)
        assert not any(future.is_set() for future in asked)
        simulation.kill(owner)
        simulation.run(5.0)
        assert asked[0].get(timeout=1) is None
        assert asked[1].get(timeout=1) in (pid, None)
        assert whereis(simulation, a, name) == pid


def test_a_node_that_stops_leaves_nobody_waiting(caplog):
    with Simulation(13) as simulation:
        nodes = cluster(simulation)
        a = nodes[0]
        name = next(f"n{index}" for index in range(99) if owner_of(nodes, f"n{index}") is not a)
        simulation.pause(owner_of(nodes, name))
        at(simulation, a, lambda: manifold.send(name, "hello"))
        with caplog.at_level(logging.ERROR):
            a.stop()
        stats = a.stats()
        assert (stats.sent, stats.in_flight, stats.dead) == (1, 0, 1)
        assert not caplog.records


def test_words_that_make_no_sense_cost_nothing_but_a_line(caplog):
    with Simulation(14) as simulation:
        a, b = cluster(simulation, "ab")
        pid = b.spawn(Keeper)
        register(simulation, a, "lobby", pid)
        for words in (["name"], ["name", "find", "x"], ["name", "claim", 1, "b", 7], ["name", "taken", "lobby", 1, 2]):
            a.directory._say(b.id, words)
        simulation.run(0.5)
        assert "makes no sense" in caplog.text or "make no sense" in caplog.text
        assert everywhere(simulation, (a, b), "lobby") == {pid}
