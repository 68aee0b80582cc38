"""The names of an actor's attributes: the library has its own prefix, and all others are the user's."""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import threading

import pykka
import pytest

import manifold
from manifold.testing import Simulation
from tests.support import PATIENCE_S

PREFIX = "_mf_"
PYKKA = {*dir(pykka.Actor), *inspect.get_annotations(pykka.Actor)}
LIBRARY = {name for name in dir(manifold.Actor) if name.startswith(PREFIX)}

# What the library once called its own, and what people call theirs.
ONCE = """
    abandoned begins dead handles_async home inbox is_async lane monitors pid receive ref stands_in takeover task
    watchers
"""
USUAL = """
    actor actors address alive args audience batch begin buffer busy cache call callbacks children clock closed config
    connection context counter counts data dispatch done end entries epoch error event events executor failed forward
    future generation guild handle handler handlers history host id idle index is_running items key kind kwargs last
    leaving limits links lock log logger loop mailbox members message messages monitor_ref name node notify number
    observers owner parent peers pending place places process queue ready receipt registry reply restart result room
    run running sender send session sessions settings shard started state stats status stopped stopping store
    subscribers supervisor tasks thread tick timeout timer timers token topic turn update urn user users value version
    visits waiting watch watched watcher worker workers
"""
PRIVATE = {f"_{name}" for name in (ONCE + USUAL).split()} | {f"_{name.removeprefix(PREFIX)}" for name in LIBRARY}
FREE = sorted((PRIVATE - PYKKA) | ({name[1:] for name in PRIVATE} - set(dir(manifold.Actor))))

VALUES = [None, True, 7, "text", [], {"a": 1}]


def defined(*_args, **_kwargs):
    raise AssertionError("the library has called what is not its own")


class Life(manifold.Actor):
    """Keeps what it gets; does what it is sent, if that can be called."""

    def __init__(self):
        self.got = []
        self.down_came = threading.Event()
        self.has_stopped = threading.Event()

    def on_receive(self, message):
        if callable(message):
            return message(self)
        self.got.append(message)
        if isinstance(message, manifold.Down):
            self.down_came.set()
        return self.got

    def on_handoff(self):
        return self.got

    def on_takeover(self, state):
        self.got = state

    def on_stop(self):
        self.has_stopped.set()

    def is_its_own(self):
        return all(getattr(self, name).__func__ is defined for name in FREE)


class Assigning(Life):
    """Has every free name as an attribute of its instances."""

    def __init__(self, value):
        super().__init__()
        self.given = value
        for name in FREE:
            setattr(self, name, value)

    def is_its_own(self):
        return all(getattr(self, name) is self.given for name in FREE)


# Has every free name as a method.
Defining = type("Defining", (Life,), {"__module__": __name__, **dict.fromkeys(FREE, defined)})


class AsyncAssigning(Assigning):
    async def on_start(self):
        await asyncio.sleep(0)

    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


class AsyncDefining(Defining):
    on_start = AsyncAssigning.on_start

    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


CASES = [(cls, (value,)) for cls in (Assigning, AsyncAssigning) for value in VALUES]
CASES += [(cls, ()) for cls in (Defining, AsyncDefining)]
every_case = pytest.mark.parametrize(("cls", "args"), CASES, ids=lambda each: getattr(each, "__name__", repr(each)))


def ask(node, pid, message):
    return node.ask(pid, message, PATIENCE_S).get()


def do(node, pid, act):
    """Have an actor call `act` with itself."""
    return ask(node, pid, act)


@pytest.fixture
def started():
    """Gives a node, actors of a class on it, and their PIDs; one of them was started by another actor."""
    with manifold.Node(workers=2) as node:

        def start(cls, args=()):
            first = do(node, node.spawn(Life), lambda _: cls.start(*args)).pid
            pids = [first, *(node.spawn(cls, *args) for _ in range(20))]
            return node, [do(node, pid, lambda actor: actor) for pid in pids], pids

        yield start


@every_case
def test_sends_asks_audiences_and_resizes_reach_those_who_use_every_name(started, cls, args):
    node, actors, pids = started(cls, args)
    audience = do(node, node.spawn(Life), lambda _: manifold.Audience(pids))
    for turn, workers in enumerate((1, 3, 2)):
        node.send(pids, 3 * turn)
        node.resize(workers)
        node.send(audience, 3 * turn + 1)
        for pid in pids:
            node.send(pid, 3 * turn + 2)
    assert [ask(node, pid, 9) for pid in pids] == [list(range(10))] * len(pids)
    assert all(actor.is_its_own() for actor in actors)
    stats = node.stats()
    assert (stats.in_flight, stats.dead, stats.shed) == (0, 0, 0)


@every_case
def test_those_who_use_every_name_monitor_and_are_monitored(started, cls, args):
    node, actors, pids = started(cls, args)
    (watching, stopped, *_), (watcher, first, second, *_) = actors, pids
    dropped = do(node, watcher, lambda actor: actor.monitor(second))
    kept = do(node, watcher, lambda actor: actor.monitor(first))
    do(node, watcher, lambda actor: actor.demonitor(dropped))
    for pid in (second, first):
        node.send(pid, lambda actor: actor.stop())
        assert actors[pids.index(pid)].has_stopped.wait(PATIENCE_S)
    assert watching.down_came.wait(PATIENCE_S)
    assert watching.got == [manifold.Down(kept, first, "stopped")]
    assert watching.is_its_own()
    assert stopped.is_its_own()


@every_case
def test_references_and_proxies_work_and_a_stop_ends_those_who_use_every_name(started, cls, args):
    _node, (actor, *_), _pids = started(cls, args)
    ref = actor.actor_ref
    ref.tell(1)
    assert ref.ask(2, timeout=PATIENCE_S) == [1, 2]
    assert ref.proxy().got.get(timeout=PATIENCE_S) == [1, 2]
    assert ref.actor_inbox.empty()
    assert ref in pykka.ActorRegistry.get_by_class(cls)
    assert ref.stop(timeout=PATIENCE_S)
    assert actor.has_stopped.is_set()
    assert actor.is_its_own()
    assert not ref.is_alive()


@every_case
def test_those_who_use_every_name_are_handed_over(cls, args):
    with Simulation(1) as simulation:
        a = simulation.node("a")
        placed = [manifold.placed(cls, f"key {number}", *args) for number in range(10)]
        a.send(placed, "before")
        simulation.run(1.0)
        b = simulation.node("b")
        assert simulation.run_until(lambda: len(b.ring().nodes) == len(a.ring().nodes) == 2, within_s=10)
        simulation.run(1.5)
        assert {a.ring().find(ref.key) for ref in placed} == {"a", "b"}
        assert [a.ask(ref, "after").get(timeout=5) for ref in placed] == [["before", "after"]] * len(placed)
        everyone = [actor for node in (a, b) for actor in node.local.actors.values()]
        assert len(everyone) == len(placed)
        assert all(actor.is_its_own() for actor in everyone)


def documented_values():
    """Give the attributes in the body of the class that have a docstring behind them."""
    body = ast.parse(inspect.getsource(manifold.Actor)).body[0].body
    return {
        first.target.id
        for first, second in itertools.pairwise(body)
        if isinstance(first, ast.AnnAssign) and isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)
    }


def test_what_the_library_adds_to_the_class_has_its_prefix_or_is_public_and_documented():
    added = {name: value for name, value in vars(manifold.Actor).items() if name not in PYKKA and name[:2] != "__"}
    public = {name: value for name, value in added.items() if not name.startswith(PREFIX)}
    assert {"pid", "monitor", "mailbox_max", "on_handoff"} <= set(public)
    assert not [name for name in public if name.startswith("_")]
    methods = {name for name, value in public.items() if inspect.isfunction(value) or isinstance(value, property)}
    assert not [name for name in methods if not inspect.getdoc(public[name])]
    assert not set(public) - methods - documented_values()
    assert f"`{PREFIX}`" in manifold.Actor.__doc__


@pytest.mark.parametrize("cls", [Defining, AsyncDefining])
def test_what_the_library_adds_to_instances_and_subclasses_has_its_prefix(started, cls):
    mine = set(vars(Life()))
    before = set(vars(cls))
    node, (actor, *_), (pid, other, *_) = started(cls)
    do(node, pid, lambda actor: actor.monitor(other))
    do(node, other, lambda actor: actor.monitor(pid))
    node.resize(1)
    node.send([pid, other] * 5, "many")
    assert actor.actor_ref.stop(timeout=PATIENCE_S)
    written = (set(vars(actor)) - mine) | (set(vars(cls)) - before)
    assert {f"{PREFIX}pid", f"{PREFIX}monitors", f"{PREFIX}dead"} <= written
    assert {name for name in written if not name.startswith(PREFIX)} == set()
