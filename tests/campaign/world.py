"""One schedule, played: nodes, members and senders, and one thing after another that happens to them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import manifold
from manifold.testing import Simulation
from tests.campaign.book import Book
from tests.campaign.members import KINDS, TIGHT, Member, Unmade, spawned
from tests.campaign.plan import Plan, weather
from tests.campaign.senders import CRASHES, Crashed, Source, in_task, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["World"]

MEMBERS = 4
"""Started on each node."""


class World:
    """What happens in one schedule."""

    def __init__(self, plan: Plan, simulation: Simulation) -> None:
        self.plan = plan
        self.simulation = simulation
        self.random = Random(f"world/{plan.seed}")
        self.history = simulation.history
        self.book = Book(lambda: simulation.now, self.history)
        self.nodes: list[manifold.Node] = []
        self.pids: list[manifold.PID] = []
        self.members: list[Member] = []
        self.refs: dict[str, Any] = {}
        self.watchers: defaultdict[str, list[manifold.PID]] = defaultdict(list)  # by who is monitored
        self.sources: list[Source] = []
        self.tasks: list[Any] = []
        self._number = 0
        self._coming = self._leaving = 0
        self._relied: set[str] = set()
        self._sums: dict[str, tuple[int, ...]] = {}
        for index in range(plan.nodes):
            self.start("abcd"[index], is_loop=plan.loop_node and index == plan.nodes - 1)

    def number(self) -> int:
        self._number += 1
        return self._number

    # What members and senders need.

    @property
    def now(self) -> float:
        return self.simulation.now

    def work(self, seconds: float) -> None:
        """Keep a worker busy."""
        self.simulation.work(seconds)

    def task(self, node: manifold.Node, coroutine: Coroutine[Any, Any, None]) -> None:
        self.simulation.task(node, coroutine)

    def watched(self, source: Source, pid: manifold.PID) -> None:
        """Note that an actor, of which this is the source, monitors another."""
        self.watchers[str(pid)].append(manifold.PID.parse(source.name))

    # Who is there.

    def any_pid(self, random: Random) -> manifold.PID:
        """Give somebody: one who runs, mostly; as a copy, which does not lead to the actor itself, as often as not."""
        pid = random.choice(self.pids)
        for _ in range(3):
            if str(pid) not in self.book.ended or random.random() < 0.2:
                break
            pid = random.choice(self.pids)
        return pid if random.random() < 0.5 else manifold.PID(pid.node, pid.id)

    def any_member(self, random: Random, node: manifold.Node) -> Member | None:
        here = [member for member in self.members if member.pid.node == node.id]
        return random.choice(here) if here else None

    def start(self, name: str, *, at: str | None = None, is_loop: bool = False) -> None:
        """Start a node, with members and senders on it."""
        kind: dict[str, Any] = {"worker_kind": "loop", "workers": 1} if is_loop else {"workers": self.plan.workers}
        is_alone = self.nodes and self.random.random() < 0.3 and "move" not in self.plan.kinds  # else that one may move
        join = [self._relied_on(self.random.choice(self.nodes)).address] if is_alone else None
        node = self.simulation.node(name, at=at, join=join, limits=self.plan.limits, **kind)
        self.nodes.append(node)
        for _ in range(MEMBERS):
            self.spawn(node)
        for thread in ("thread-1", "thread-2"):
            self.sources.append(Source(self, node, f"{node.id}/{thread}"))
        source = Source(self, node, f"{node.id}/task")
        self.simulation.task(node, listen(self, node))
        self.tasks.append((node, self.simulation.task(node, in_task(source, self.random.randint(2, 8)))))

    def _relied_on(self, node: manifold.Node) -> manifold.Node:
        self._relied.add(node.name)
        return node

    def spawn(self, node: manifold.Node) -> None:
        cls = self.random.choice(KINDS + TIGHT if self.plan.is_tight else KINDS)
        if self.random.random() < 0.05:
            with contextlib.suppress(Crashed):
                node.spawn(Unmade, self, node)
        member = spawned(self, node, cls)
        self.pids.append(member.pid)
        self.refs[member.name] = member.actor_ref
        self.members.append(member)

    def running(self) -> list[manifold.Node]:
        """Give the nodes that run and are not paused: the others' threads can call nothing."""
        return [node for node in self.nodes if not self.simulation.is_paused(node)]

    # The schedule.

    def play(self) -> None:
        """Let it all happen."""
        if self.random.random() < 0.8:
            self.simulation.run_until(self._have_met, within_s=5.0)
        for _ in range(self.plan.steps):
            self.simulation.run(self.random.choice((0.0, 0.001, 0.05, 0.2)) * self.random.random())
            if self.random.random() < 0.3:
                self.disturb()
            else:
                self.burst()
            self.reconcile()
        self.settle_down()

    def _have_met(self) -> bool:
        ids = {node.id for node in self.nodes}
        return all(ids <= set(node.nodes()) for node in self.nodes)

    def burst(self) -> None:
        """Have some sender send."""
        node = self._any_node()
        if node is None:
            return
        source = self.random.choice([source for source in self.sources if source.node is node])
        with self.simulation.calling(node, source.name):
            if self.random.random() < 0.5:
                source.some(self.random.randint(1, 5))
            else:
                source.command(self.random.choice(self.pids), "act", self.random.randint(1, 4))

    def _any_node(self) -> manifold.Node | None:
        nodes = self.running()
        return self.random.choice(nodes) if nodes else None

    def reconcile(self) -> None:
        """Every node's counts make sense at any time."""
        for node in self.nodes:
            stats = node.stats()
            parts = (stats.delivered, stats.dead, stats.shed, stats.unreachable)
            if stats.in_flight < 0 or stats.sent != sum(parts) + stats.in_flight:
                self.book.fail(f"{node.id} does not reconcile: {stats}")
            before = self._sums.get(node.id, (0,) * 5)
            now = (stats.sent, *parts)
            if any(new < old for new, old in zip(now, before)):
                self.book.fail(f"{node.id} counts backwards: {before}, then {now}")
            self._sums[node.id] = now

    # What happens to them.

    def disturb(self) -> None:
        if len(self.nodes) < 2:
            return
        kind = self.random.choice(self.plan.kinds)
        self.book.fault(kind)
        FAULTS[kind](self)

    def _pair(self) -> tuple[str, str]:
        one, other = self.random.sample([self.simulation.place(node) for node in self.nodes], 2)
        return one, other

    def _seconds(self, least: float, most: float) -> float:
        """Give a time by the measure of a node that is thought dead."""
        return self.random.uniform(least, most) * self.plan.limits.node_down_after_s

    def partition(self, least: float, most: float, *, one_way: bool = False) -> None:
        one, other = self._pair()
        self.simulation.partition(one, other, one_way=one_way)
        self.simulation.later(self._seconds(least, most), lambda: self.simulation.heal(one, other))

    def disconnect(self, least: float, most: float) -> None:
        self.simulation.disconnect(*self._pair(), for_s=self._seconds(least, most), one_way=self.random.random() < 0.3)

    def pause(self, least: float, most: float) -> None:
        if (node := self._any_node()) is not None:
            self.simulation.pause(node, for_s=self._seconds(least, most))

    def change_weather(self) -> None:
        self.simulation.faults = weather(self.random)

    def pause_worker(self) -> None:
        if (node := self._any_node()) is not None:
            worker = self.random.randrange(len(node.local.workers))
            self.simulation.pause_worker(node, worker, self._seconds(0.1, 1.5))

    def resize(self) -> None:
        """The number of workers changes, in the middle of sends to those who move, and perhaps again at once."""
        sources = [s for s in self.sources if s.node in self.running() and s.node.worker_kind == "thread"]
        if not sources:
            return
        source = self.random.choice(sources)
        with self.simulation.calling(source.node, source.name):
            for _ in range(self.random.randint(1, 3)):
                source.send_here()
                source.node.resize(self.random.randint(1, 4))
                source.send_here()
                self.simulation.run(self.random.choice((0.0, 0.0005)))

    def tell_somebody(self, what: str, *args: Any) -> None:
        self.tell(self.any_pid(self.random), what, *args)

    def tell(self, pid: manifold.PID, what: str, *args: Any) -> None:
        sources = [source for source in self.sources if source.node in self.running()]
        if sources:
            source = self.random.choice(sources)
            with self.simulation.calling(source.node, source.name):
                source.command(pid, what, *args)

    def crash(self) -> None:
        """Somebody who is watched, if it can be."""
        watched = [pid for pid in self.pids if str(pid) not in self.book.ended and self.watchers.get(str(pid))]
        pid = self.random.choice(watched) if watched else self.any_pid(self.random)
        self.tell(pid, "crash", self.random.choice(list(CRASHES)))

    def crash_loop(self) -> None:
        self.tell_somebody("crash the loop", self.random.choice(list(CRASHES)))

    def stop_actor(self) -> None:
        if self.random.random() < 0.5:
            self.tell_somebody("stop yourself")
        elif (node := self._any_node()) is not None and (member := self.any_member(self.random, node)) is not None:
            with self.simulation.calling(node, "main"):
                member.actor_ref.stop(block=False)

    def spawn_member(self) -> None:
        if (node := self._any_node()) is not None:
            self.spawn(node)

    def slow(self) -> None:
        self.tell_somebody("work", self._seconds(0.01, 0.5))

    def jump_clock(self) -> None:
        place, _ = self._pair()
        self.simulation.clock(place).wrong_by_s += self.random.uniform(-1000.0, 1000.0)

    def drift(self) -> None:
        place, _ = self._pair()
        self.simulation.clock(place).run_at(self.random.uniform(0.8, 1.25))

    def monitor(self) -> None:
        self.tell_somebody("monitor", self.any_pid(self.random))
        if self.random.random() < 0.3:
            self.tell_somebody("demonitor")

    def kill(self) -> None:
        node = self._leave()
        if node is not None:
            self._come_back(node.name, None, node.worker_kind == "loop", self._seconds(0.0, 3.0))

    def move(self) -> None:
        """One dies, and is back under its name elsewhere at once."""
        node = self._leave()
        if node is not None:
            self.start(node.name, at=f"{node.name}{self.number()}")

    def impersonate(self) -> None:
        """Another claims the name of one who lives, for a while: nobody else is to be harmed."""
        node = self.random.choice(self.nodes)
        impostor = self.simulation.node(node.name, at=f"{node.name}{self.number()}", limits=self.plan.limits)

        def leave() -> None:
            self._leaving -= 1
            self.simulation.kill(impostor)

        self._leaving += 1
        self.simulation.later(self._seconds(0.1, 4.0), leave)

    def _leave(self) -> manifold.Node | None:
        node = self.random.choice(self.nodes)
        if len(self.nodes) < 2:
            return None
        self.simulation.kill(node, silent=self.random.random() < 0.5)
        self.book.kill(node.id)
        self._remove(node)
        return node

    def _remove(self, node: manifold.Node) -> None:
        self.nodes.remove(node)
        self.sources = [source for source in self.sources if source.node is not node]

    def _end_all(self, node: manifold.Node) -> None:
        for pid in self.pids:
            if pid.node == node.id and str(pid) not in self.book.ended:
                self.book.end(str(pid))

    def _come_back(self, name: str, at: str | None, is_loop: bool, after_s: float) -> None:
        def start() -> None:
            self._coming -= 1
            self.start(name, at=at, is_loop=is_loop)

        # Who is the only one that somebody joined does, for it may go before it has told of any other.
        if self.random.random() < 0.85 or name in self._relied:
            self._coming += 1
            self.simulation.later(after_s, start)

    def stop_node(self) -> None:
        """One ends in order: told so by a thread, a task or a handler of its own."""
        node = self._any_node()
        if node is None:
            return
        self._remove(node)
        self.book.stopped.add(node.id)
        inside = [
            member for member in self.members if member.pid.node == node.id and member.name not in self.book.ended
        ]
        started = self.simulation.now
        with self.simulation.calling(node, "main"):
            if inside and self.random.random() < 0.3:
                Source(self, node, f"{node.id}/stop").command(self.random.choice(inside).pid, "stop the node")
                self.simulation.run_until(lambda: not node.is_running, within_s=2.0)  # it may have ended before
            if node.worker_kind == "loop" or self.random.random() < 0.3:
                self.simulation.task(node, node.aclose())
            else:
                node.stop()
        if not self.simulation.run_until(lambda: not self.simulation.is_running(node), within_s=20.0):
            self.book.fail(f"{node.id} has not stopped: {node.stats()}")
        if self.simulation.now >= started + node.limits.stop_grace_s:
            self.book.gave_up.add(node.id)
        self.check_stopped(node)
        self._end_all(node)
        self._come_back(node.name, None, node.worker_kind == "loop", self._seconds(0.0, 3.0))

    def check_stopped(self, node: manifold.Node) -> None:
        """A node that has stopped has accounted for everything."""
        stats = node.stats()
        if stats.in_flight or stats.actors or stats.queued_bytes or node.local._relief:
            self.book.fail(f"{node.id} has stopped with {stats}; {len(node.local._relief)} wait for room")

    # The end.

    def settle_down(self) -> None:
        """End all faults, and wait until nothing is under way any more."""
        simulation = self.simulation
        simulation.calm()
        for _ in range(600):
            simulation.run(0.1)
            if self._is_quiet():
                simulation.run(1.1 * self.plan.limits.node_down_after_s)
                return
        self.book.fail(f"not quiet after a minute: {[(node.id, node.nodes(), node.stats()) for node in self.nodes]}")

    def _is_quiet(self) -> bool:
        return (
            not self._coming
            and not self._leaving
            and self._have_met()
            and all(not node.stats().in_flight and not node._timers._pending for node in self.nodes)
            and not any(self._has_work(node) for node in self.nodes)
            and all(task.done() for node, task in self.tasks if node in self.nodes)
        )

    def _has_work(self, node: manifold.Node) -> bool:
        """Tell whether it has still to do what may be in nobody's counts: they have lost each other since it came."""
        local = node.local
        return bool(local.queued_bytes()) or any(worker.tasks for worker in [*local.workers, *local.former])


FAULTS: dict[str, Callable[[World], None]] = {
    "blink": lambda world: world.partition(0.05, 0.4),
    "disconnect": lambda world: world.disconnect(0.0, 0.4),
    "weather": World.change_weather,
    "short pause": lambda world: world.pause(0.05, 0.5),
    "worker pause": World.pause_worker,
    "resize": World.resize,
    "crash": World.crash,
    "loop crash": World.crash_loop,
    "stop actor": World.stop_actor,
    "spawn": World.spawn_member,
    "slow": World.slow,
    "clock jump": World.jump_clock,
    "drift": World.drift,
    "monitor": World.monitor,
    "partition": lambda world: world.partition(1.1, 4.0),
    "one-way partition": lambda world: world.partition(1.1, 4.0, one_way=True),
    "long disconnect": lambda world: world.disconnect(1.1, 4.0),
    "long pause": lambda world: world.pause(1.1, 4.0),
    "kill": World.kill,
    "move": World.move,
    "stop node": World.stop_node,
    "impostor": World.impersonate,
}
