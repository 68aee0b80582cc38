"""Whole nodes in one thread, on a simulated clock and network: a run does the same whenever its seed is the same.

    with Simulation(seed=7, faults=Faults(loss=0.1)) as simulation:
        a, b = simulation.node("a"), simulation.node("b")
        simulation.meet(a, b)
        a.send(b.spawn(Session), "hello")
        simulation.partition("a", "b")
        simulation.run(3.0)
        simulation.heal("a", "b")
        simulation.run(3.0)
        assert a.stats().delivered == 1

The nodes are real: only their clocks, threads, packets and names come from here. What goes wrong inside says the seed.
"""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, Self

from xxhash import xxh3_64

from manifold import ports
from manifold.actors import registry
from manifold.actors.waiting import simulations
from manifold.core.pid import link
from manifold.errors import WouldDeadlock
from manifold.testing.loops import SimulatedLoop
from manifold.testing.machine import Clock, Machine, Thread
from manifold.testing.medium import Faults, Medium
from manifold.testing.surroundings import Change, SimulatedNode, Surroundings
from manifold.testing.wire import SCHEME, SimulatedTransport

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from types import TracebackType

    from manifold.node import Node

__all__ = ["Simulation", "Stuck"]

_FOREVER_S = 3600.0
_STEP = Struct("<dq")


class Stuck(AssertionError):
    """What was waited for, without a timeout, did not come in an hour of simulated time."""


class Simulation(Medium):
    """Nodes, the network between them, and the time, which passes in `run`, `run_until` and every blocking wait.

    To be entered as a context manager, and used from one thread; no node is the current one there, except within
    `calling`. `lag_s` is how long a thread of a node that has
    something to do waits for its turn: the shortest and the longest time. `queue_max_packets` is what a node
    takes in from each other one while it does not look; a sender keeps the rest. Inside a handler nothing may
    block: `await` works, and `get()` of a future raises WouldDeadlock. No garbage is collected during the run.

    Equal runs need equal user code: what it does may not depend on the order of a set of texts or PIDs, on
    addresses of objects, on real time, or on randomness of its own; `random` is there for it.
    """

    def __init__(
        self,
        seed: int,
        *,
        faults: Faults | None = None,
        lag_s: tuple[float, float] = (2e-6, 1e-3),
        queue_max_packets: int = 1000,
    ) -> None:
        super().__init__(seed, faults=faults)
        self.history: list[Change] = []
        """All that any node saw of others."""
        self.running: Thread | None = None
        """Whose turn it is."""
        self.wires: dict[str, SimulatedTransport] = {}
        """Who listens, by place."""
        self._lag_s = lag_s
        self.queue_max_packets = queue_max_packets
        self._machines: dict[Node, Machine] = {}
        self._all_machines: list[Machine] = []
        self._options: dict[Node, dict[str, Any]] = {}
        self._clocks: dict[str, Clock] = {}
        self._idents = count(-2, -1)  # real threads have none of these
        self._caller = -1
        self._callers: dict[tuple[Node, str], int] = {}
        self._trace = xxh3_64()
        self._collects = False

    # Nodes.

    def node(self, name: str, *, at: str | None = None, join: Iterable[str] | None = None, **options: Any) -> Node:
        """Start a node. It listens `at` a place of the network, by default one of its own name.

        It joins the living nodes, unless `join` says otherwise; its other options are those of `manifold.Node`.
        """
        place = at or name
        known = [node.address for node in self.nodes()] if join is None else join
        machine = Machine(self, place)
        around = Surroundings(machine)
        self._all_machines.append(machine)
        make = partial(
            SimulatedNode, around, name, listen=SCHEME + place, join=tuple(known), **{"workers": 2, **options}
        )
        node = self._on_loop(machine, make) if options.get("worker_kind") == "loop" else make()
        self._machines[node] = machine
        self._options[node] = {"name": name, "at": at, "join": join, **options}
        return node

    def nodes(self) -> list[Node]:
        """Give the nodes that run."""
        return [node for node in self._machines if node.is_running and self.is_running(node)]

    def is_running(self, node: Node) -> bool:
        """Tell whether a node has neither been killed nor come to the end of its stop."""
        return node.id in ports.hosts

    def meet(self, *nodes: Node, within_s: float = 10.0) -> None:
        """Let time pass until these nodes, by default all, know each other; AssertionError if they do not in time."""
        nodes = nodes or tuple(self.nodes())
        ids = {node.id for node in nodes}
        if not self.run_until(lambda: all(ids <= set(node.nodes()) for node in nodes), within_s=within_s):
            raise AssertionError(f"{self!r}: not met in {within_s} s: {[node.nodes() for node in nodes]}")

    def place(self, node: Node) -> str:
        """Give the place of the network where a node listens."""
        return self._machines[node].place

    # Senders.

    @contextmanager
    def calling(self, node: Node, thread: str = "main") -> Iterator[None]:
        """Call from a thread of this node's process: a sender of its own, with the node as its current one."""
        token = ports.current.set(node)
        before = self._caller
        self._caller = self._callers.setdefault((node, thread), 0) or self.next_ident()
        self._callers[node, thread] = self._caller
        try:
            yield
        finally:
            ports.current.reset(token)
            self._caller = before

    def task(self, node: Node, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task outside of any actor, in the process of this node.

        It runs on an event loop of its own; of a node with `worker_kind="loop"`, on the node's.
        """
        is_loop = node.worker_kind == "loop"
        machine = self._machines[node]
        loop = machine.loops[0] if is_loop else SimulatedLoop(machine, f"{node.name}-task")
        with self.calling(node):
            task = loop.create_task(coroutine)
        loop.thread.wake()
        return task

    def work(self, seconds: float) -> None:
        """Be busy for so long: to be called in a handler, which keeps its worker from all else meanwhile."""
        assert self.running is not None, "only what runs on a simulated thread can be busy"
        self.running.work(seconds)

    def later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Do something later, in a thread of its own. Unlike a handler, it may block."""
        context, ident = copy_context(), self.next_ident()

        def run() -> None:
            before, self._caller = self._caller, ident
            try:
                context.run(call)
            finally:
                self._caller = before

        self.after(delay_s, run)

    # Faults at the test's command, beside those of the network.

    def pause(self, node: Node, for_s: float | None = None) -> None:
        """Let nothing of a node run, for so long or until `resume`. What comes in waits, and time passes."""
        self._machines[node].pause()
        if for_s is not None:
            self.after(for_s, lambda: self.resume(node))

    def resume(self, node: Node) -> None:
        """Let it go on."""
        self._machines[node].resume()

    def is_paused(self, node: Node) -> bool:
        """Tell whether a node is paused."""
        return self._machines[node].is_paused

    def pause_worker(self, node: Node, index: int, for_s: float) -> None:
        """Let one worker do nothing, as if a handler blocked it."""
        ident = node.local.workers[index].thread
        next(thread for thread in self._machines[node].threads if thread.ident == ident).work(for_s)

    def kill(self, node: Node, *, silent: bool = False) -> None:
        """End a node as a signal ends a process: at once, in the middle of everything.

        The others' connections to it break, unless `silent`, as when a computer loses its power. What its handlers
        hold in `finally` runs when the simulation is left.
        """
        assert self.running is None, "a node is killed from outside"
        machine = self._machines[node]
        machine.end()
        wire = self.wires.get(machine.place)
        if wire is not None and wire is node._hub._transport:  # type: ignore[union-attr]
            self.unplug(wire, silent=silent)
        _forget(node)

    def restart(self, node: Node, *, silent: bool = False) -> Node:
        """Kill a node, and start another of the same name and options at the same place."""
        self.kill(node, silent=silent)
        return self.node(**self._options[node])

    def calm(self) -> None:
        """End all faults: of packets and connections, pauses, clocks that run too fast or too slow."""
        self.faults = Faults()
        self.mend()
        for clock in self._clocks.values():
            clock.run_at(1.0)
        for node in self.nodes():
            if self.is_paused(node):
                self.resume(node)

    def clock(self, place: str) -> Clock:
        """Give the clocks of a place, to be set wrong."""
        if place not in self._clocks:
            self._clocks[place] = Clock(self)
        return self._clocks[place]

    # What was done.

    def digest(self) -> str:
        """Give a digest of every turn and packet until now: equal for equal runs."""
        return self._trace.hexdigest()

    # Blocking, in the thread that drives it.

    def wait(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Let time pass until the condition holds; False if that took too long. Inside a handler: WouldDeadlock."""
        if self.running is not None:
            msg = "a handler in a simulation cannot block: all nodes share one thread. Make it `async def` and `await`."
            raise WouldDeadlock(msg)
        if timeout_s is not None:
            return self.run_until(condition, within_s=timeout_s)
        if not self.run_until(condition, within_s=_FOREVER_S):
            raise Stuck(f"{self!r}: nothing came of a wait in {_FOREVER_S:g} s")
        return True

    def __enter__(self) -> Self:
        me = threading.get_ident()
        assert me not in simulations, "one simulation at a time in a thread"
        simulations[me] = self.wait
        self._collects = gc.isenabled()
        gc.disable()
        self._before = ports.current.set(_Nobody())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"In {self!r}, digest {self.digest()}")
        self.running = None
        for node in self._machines:
            _silence(node)
        for machine in self._all_machines:
            machine.end()
            for loop in machine.loops:
                loop.abandon()
        for node in self._machines:
            _forget(node)
        del simulations[threading.get_ident()]
        ports.current.reset(self._before)
        if self._collects:
            gc.enable()

    # What machines, loops and wires ask.

    def next_ident(self) -> int:
        """Give the identity of a new thread."""
        return next(self._idents)

    def get_ident(self) -> int:
        """Give the identity of the thread that runs."""
        return self._caller if self.running is None else self.running.ident

    def enter(self, thread: Thread | None) -> Thread | None:
        """Let a thread have its turn, None for the test itself; give whose turn it was."""
        before, self.running = self.running, thread
        if thread is not None:
            self._trace.update(_STEP.pack(self.now, thread.ident))
        return before

    def latency_s(self) -> float:
        """Give how long something waits for its turn: mostly not long."""
        shortest, longest = self._lag_s
        return shortest + (longest - shortest) * self.random.random() ** 3

    def plug_in(self, wire: SimulatedTransport) -> None:
        """Somebody listens; those who dialled the place find them."""
        self.wires[wire.place] = self.stations[wire.place] = wire
        for other in list(self.wires.values()):
            self.after(self.latency_s(), partial(other.lose, wire.place))

    def unplug(self, wire: SimulatedTransport, *, silent: bool = False) -> None:
        """Nobody listens at a place any more; those who are connected notice, unless it is `silent`."""
        del self.wires[wire.place], self.stations[wire.place]
        for other in () if silent else list(self.wires.values()):
            self.after(self.latency_s(), partial(other.lose, wire.place))

    def transmit(self, sender: str, receiver: str, packet: bytes) -> None:
        """Put a packet on its way."""
        self._trace.update(_STEP.pack(self.now, len(packet)))
        self._transmit(sender, receiver, packet)

    def _on_loop(self, machine: Machine, make: Callable[[], Node]) -> Node:
        made: list[Node | BaseException] = []

        def run() -> None:
            try:
                made.append(make())
            except BaseException as error:  # noqa: BLE001 - raised again where it belongs
                made.append(error)

        loop = SimulatedLoop(machine, f"{machine.place}-loop")
        loop.call_soon_threadsafe(run)
        self.wait(lambda: bool(made), None)
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]


class _Nobody:
    """The current node where there is none: no real one is to be started for who forgot to say which."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no node is the current one here; call from one: `with simulation.calling(node):`")


def _forget(node: Node) -> None:
    """Have nobody in this process find a node or its actors any more."""
    ports.hosts.pop(node.id, None)
    for actor in list(node.local.actors.values()):
        registry.unregister(actor.actor_ref)
        link(actor.pid, None)


def _silence(node: Node) -> None:
    """Have actors say nothing when what they are just doing is closed."""
    for actor in node.local.actors.values():
        actor._mf_watchers = actor._mf_monitors = None
        actor.on_stop = _nothing  # type: ignore[method-assign]


def _nothing() -> None:
    """Nobody is there any more."""
