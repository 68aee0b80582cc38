"""Actors whose classes say what `==`, `hash`, `bool` and `len` of them are: the library asks none of these."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

import manifold
from manifold.testing import Simulation
from tests.support import PATIENCE_S, done

NUMBER = 10
LIMITS = manifold.Limits(node_down_after_s=1.0, stop_grace_s=1.0)


class Keeper(manifold.Actor):
    """Keeps what it gets, which "got" asks for; goes on with it where it is handed over to."""

    got: list[Any]

    def on_receive(self, message: Any) -> Any:
        match message:
            case "got":
                return list(self.got)
            case "where":
                return self.node.name
            case "stop":
                self.stop()
            case ("monitor", pid):
                self.monitor(pid)
            case _:
                self.got.append(message)
        return None

    def on_handoff(self) -> Any:
        return self.got

    def on_takeover(self, state: Any) -> None:
        self.got = state


@dataclass
class Value(Keeper):
    """Equal to another with the same fields, and not hashable."""

    got: list[Any] = field(default_factory=list)


@dataclass(unsafe_hash=True)
class Changing(Keeper):
    """Equal to another with the same number, and its hash changes with that."""

    got: list[Any] = field(default_factory=list, hash=False, compare=False)
    number: int = 0

    def on_receive(self, message: Any) -> Any:
        self.number += 1
        return super().on_receive(message)


class Alike(Keeper):
    """Equal to everything."""

    def __init__(self) -> None:
        self.got = []

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7


class Untrue(Keeper):
    """False, and of no length."""

    def __init__(self) -> None:
        self.got = []

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


class Touchy(Keeper):
    """Does not let itself be compared, hashed or taken for a truth value."""

    def __init__(self) -> None:
        self.got = []

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("nobody's business")

    __eq__ = __ne__ = __hash__ = __bool__ = __len__ = _refuse


class Gated:
    """Waits at "hold" until it is let go, and lets its worker go on."""

    gate: tuple[threading.Semaphore, threading.Event]

    async def on_receive(self, message: Any) -> Any:
        if message == "hold":
            entered, opened = self.gate
            entered.release()
            assert await asyncio.to_thread(opened.wait, PATIENCE_S)
        return super().on_receive(message)  # type: ignore[misc]


KINDS = [Value, Changing, Alike, Untrue, Touchy]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def gated(kind):
    """Give the same with an `async def` handler, and its gate."""
    gate = threading.Semaphore(0), threading.Event()
    return type("Held", (Gated, kind), {"gate": gate, "__hash__": kind.__hash__}), *gate


def got(node, pids):
    return [node.ask(pid, "got", PATIENCE_S).get() for pid in pids]


def reconciles(node, number):
    stats = node.stats()
    return (stats.sent, stats.delivered, stats.in_flight) == (number, number, 0)


def test_sends_of_every_form_while_the_node_is_resized(kind):
    with manifold.Node(workers=2) as node:
        pids = [node.spawn(kind) for _ in range(NUMBER)]
        everybody = manifold.Audience(pids)
        for number, workers in enumerate((1, 3, 2, 1)):
            node.send(everybody, ("audience", number))
            node.resize(workers)
            for pid in pids:
                node.send(pid, ("one", number))
            node.send([manifold.PID.parse(str(pid)) for pid in pids], ("copies", number))
            assert done(node.send(pids, ("list", number), receipt=True)) == {"delivered": NUMBER}
        due = [(form, number) for number in range(4) for form in ("audience", "one", "copies", "list")]
        assert got(node, pids) == [due] * NUMBER
        assert reconciles(node, NUMBER * (len(due) + 1))


def test_those_who_are_busy_while_the_node_is_resized(kind):
    held, entered, opened = gated(kind)
    with manifold.Node(workers=2) as node:
        pids = [node.spawn(held) for _ in range(NUMBER)]
        everybody = manifold.Audience(pids)
        node.send(everybody, "hold")
        for _ in pids:
            assert entered.acquire(timeout=PATIENCE_S)
        for number, workers in enumerate((1, 2, 3, 1)):
            node.send(everybody, number)
            node.resize(workers)
            assert all(node.threads_of(pid._actor) for pid in pids)
        receipt = node.send(pids, "last", receipt=True)
        opened.set()
        assert done(receipt) == {"delivered": NUMBER}
        assert got(node, pids) == [["hold", 0, 1, 2, 3, "last"]] * NUMBER
        assert reconciles(node, NUMBER * 7)


def test_those_who_end_while_they_are_to_move(kind):
    held, entered, opened = gated(kind)
    with manifold.Node(workers=2) as node:
        pids = [node.spawn(held) for _ in range(NUMBER)]
        node.send(pids, "hold")
        for _ in pids:
            assert entered.acquire(timeout=PATIENCE_S)
        ends = [pid._actor.actor_ref.stop(block=False) for pid in pids]
        node.resize(1)
        receipt = node.send(pids, "too late", receipt=True)
        opened.set()
        assert done(receipt) == {"dead": NUMBER}
        assert all(end.get(timeout=PATIENCE_S) for end in ends)
        assert node.stats().in_flight == 0


def test_what_comes_before_the_constructor_has_ended(kind):
    class Early(kind):
        def on_start(self) -> None:
            self.got.append("begun")

    def construct(self: Any) -> None:
        kind.__init__(self)
        node.send(self.pid, 1)
        node.resize(1 if len(made) % 2 else 2)
        node.send([self.pid], 2)
        made.append(self.pid)

    made: list[manifold.PID] = []
    Early.__init__ = construct
    with manifold.Node(workers=2) as node:
        pids = [node.spawn(Early) for _ in range(NUMBER)]
        node.send(pids, 3)
        assert made == pids
        assert got(node, pids) == [["begun", 1, 2, 3]] * NUMBER


def test_an_audience_lets_go_of_the_right_one(kind):
    with manifold.Node(workers=1) as node:
        pids = [node.spawn(kind) for _ in range(NUMBER)]
        some = manifold.Audience(pids)
        some.discard(pids[1])
        some.discard(pids[8])
        node.ask(pids[4], "stop", PATIENCE_S).get()
        left = [pid for number, pid in enumerate(pids) if number not in (1, 4, 8)]
        assert done(node.send(some, "some", receipt=True)).pop("delivered") == len(left)
        assert got(node, left) == [["some"]] * len(left)
        assert got(node, (pids[1], pids[8])) == [[], []]


def test_monitors_and_the_end(kind):
    with manifold.Node(workers=2) as node:
        ends, sees = node.spawn(kind), node.spawn(kind)
        others = [node.spawn(kind) for _ in range(NUMBER)]
        node.ask(sees, ("monitor", ends), PATIENCE_S).get()
        ref = ends._actor.actor_ref
        assert ref.stop(timeout=PATIENCE_S)
        assert not ref.is_alive()
        assert node.local.find(ends) is None
        node.resize(1)
        (down,) = node.ask(sees, "got", PATIENCE_S).get()
        assert (down.pid, down.reason) == (ends, "stopped")
        assert got(node, others) == [[]] * NUMBER
    assert all(pid._actor is None for pid in [sees, *others])


def test_those_who_are_handed_over_to_another_node(kind):
    with Simulation(1) as simulation:
        one, other = (simulation.node(name, limits=LIMITS) for name in ("one", "other"))
        both = {one.id, other.id}
        assert simulation.run_until(
            lambda: one.directory.view.nodes == other.directory.view.nodes == both, within_s=10.0
        )
        with simulation.calling(one):
            keys = [manifold.placed(kind, f"key {number}") for number in range(NUMBER)]
        one.send(keys, "before")

        def homes():
            return {one.ask(key, "where").get() for key in keys}

        assert homes() == {"one", "other"}
        one.leave().get(timeout=5)
        one.send(keys, "after")
        assert homes() == {"other"}
        assert [one.ask(key, "got").get() for key in keys] == [["before", "after"]] * NUMBER
