"""What a simulated node takes from where it runs, and the node itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.core.frames import PACKET_SLACK_BYTES
from manifold.errors import NodeDown
from manifold.node import Node
from manifold.testing.loops import SimulatedLoopThread, SimulatedOffload
from manifold.testing.machine import Turns
from manifold.testing.wire import SimulatedTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.limits import Limits
    from manifold.testing.machine import Machine
    from manifold.testing.simulation import Simulation

__all__ = ["Change", "SimulatedNode", "Surroundings"]


class Change(NamedTuple):
    """A node saw another one come up, or go down."""

    at: float
    node: str
    other: str
    reason: str
    """Why it is down; "" for one that is up."""


class Surroundings:
    """What a simulated node takes from where it runs; see `ports.Surroundings`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.simulation = machine.simulation
        self.monotonic = machine.clock.monotonic
        self.time_ns = machine.clock.time_ns
        self.perf_counter = machine.perf_counter
        self.get_ident = machine.simulation.get_ident
        self.turns = partial(Turns, machine)
        self.loop = partial(SimulatedLoopThread, machine)
        self.offload = partial(SimulatedOffload, machine)

    def token(self) -> str:
        return f"{self._machine.simulation.random.getrandbits(32):08x}"

    def thread(self, name: str, run: Callable[[], object]) -> _Later:  # noqa: ARG002
        return _Later(self._machine, run)

    def transport(
        self,
        node: str,  # noqa: ARG002
        listen: str | None,
        join: tuple[str, ...],  # noqa: ARG002
        transport: str | None,
        cookie: str | bytes | None,  # noqa: ARG002
        limits: Limits,
    ) -> SimulatedTransport:
        assert listen is not None
        assert transport is None, "nodes in a simulation have its network"
        return SimulatedTransport(self._machine, listen, limits.packet_max_bytes + PACKET_SLACK_BYTES)


class _Later:
    """A thread that may block: one that stops a node, say."""

    def __init__(self, machine: Machine, run: Callable[[], object]) -> None:
        self._machine = machine
        self._simulation = machine.simulation
        self._run = run
        self._has_ended = False

    def start(self) -> None:
        self._simulation.later(self._simulation.latency_s(), self._all)

    def join(self, timeout: float | None = None) -> None:
        self._simulation.wait(lambda: self._has_ended, timeout)

    def _all(self) -> None:
        if not self._machine.has_ended:
            self._run()
        self._has_ended = True


class SimulatedNode(Node):
    """A node that runs in a simulation."""

    def __init__(self, around: Surroundings, name: str, **options: Any) -> None:
        self.around = around
        super().__init__(name, **options)
        self._membership.subscribe(_Observer(around.simulation, self))


class _Observer:
    """Keeps what a node sees of others, at the moment when it does."""

    def __init__(self, simulation: Simulation, node: Node) -> None:
        self._simulation = simulation
        self._node = node.id

    def put(self, event: Any) -> None:
        if event is not None:
            reason = event.reason if isinstance(event, NodeDown) else ""
            self._simulation.history.append(Change(self._simulation.now, self._node, event.node, reason))
