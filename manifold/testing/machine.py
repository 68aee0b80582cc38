"""What one simulated node runs on: its clocks, and its threads, which take turns in the one real thread.

A turn is never interrupted. When each comes, a little after it is asked for, is up to the seed.
"""

from __future__ import annotations

from contextvars import Context
from functools import partial
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifold.testing.loops import SimulatedLoop
    from manifold.testing.simulation import Simulation

__all__ = ["Clock", "Machine", "Thread", "Turns"]

_LONGEST_LAP_S = 0.005


class Clock:
    """The clocks of one place, which outlast the nodes there. Periods pass `rate` times as fast as they should."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.rate = 1.0
        self._from = 0.0
        self._at_from = simulation.random.uniform(0.0, 1e6)  # computers were not started at the same time
        self.wrong_by_s = 0.0
        """How far its time of day is from the right one."""

    def monotonic(self) -> float:
        """Give the time that periods are measured with, in seconds."""
        return self._at_from + (self._simulation.now - self._from) * self.rate

    def time_ns(self) -> int:
        """Give the time of day."""
        return int((self._simulation.now + self.wrong_by_s + 1_700_000_000) * 1e9)

    def run_at(self, rate: float) -> None:
        """Go on at another rate."""
        self._at_from, self._from, self.rate = self.monotonic(), self._simulation.now, rate


class Machine:
    """One node's share of the simulation, from its start to its end."""

    def __init__(self, simulation: Simulation, place: str) -> None:
        self.simulation = simulation
        self.place = place
        self.clock = simulation.clock(place)
        self.threads: list[Thread] = []
        self.loops: list[SimulatedLoop] = []
        self.is_paused = False
        self.has_ended = False
        self._parked: list[Thread] = []
        self._lap_s = 0.0

    def perf_counter(self) -> float:
        """Give the time that handlers are measured with: some take none, some a worker's whole slice."""
        self._lap_s += self.simulation.random.random() ** 8 * _LONGEST_LAP_S
        return self._lap_s

    def park(self, thread: Thread) -> None:
        """Keep a thread, whose turn it would be, until the machine goes on."""
        self._parked.append(thread)

    def pause(self) -> None:
        """Let nothing run, as when a process is stopped by a signal; time goes on."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on where everything stood."""
        self.is_paused = False
        parked, self._parked = self._parked, []
        for thread in parked:
            thread.wake()

    def end(self) -> None:
        """Let nothing run any more."""
        self.has_ended = True
        for thread in self.threads:
            thread.end()


class Thread:
    """What stands for a thread. `turn` does what there is to do, and gives the seconds until the next one is due.

    That is by the machine's clock; None is until somebody calls `wake`.
    """

    def __init__(self, machine: Machine, name: str, turn: Callable[[], float | None]) -> None:
        self.machine = machine
        self.name = name
        self.ident = machine.simulation.next_ident()
        self.has_ended = False
        self.busy_until = 0.0
        self.rest_s: float | None = None
        self._turn = turn
        self._context = Context()
        self._due = inf
        machine.threads.append(self)

    def wake(self) -> None:
        """Have a turn soon."""
        self._plan(self.machine.simulation.latency_s())

    def wake_in(self, seconds: float) -> None:
        """Have a turn when so much time has passed by the machine's clock, or earlier."""
        self._plan(seconds / self.machine.clock.rate + self.machine.simulation.latency_s())

    def work(self, seconds: float) -> None:
        """Be busy for so long from now, or from when it would be through with other such work."""
        self.busy_until = max(self.busy_until, self.machine.simulation.now) + seconds

    def end(self) -> None:
        """Have no turns any more."""
        self.has_ended = True

    def _plan(self, delay_s: float) -> None:
        simulation = self.machine.simulation
        at = simulation.now + delay_s
        if at < self._due and not self.has_ended:
            self._due = at
            simulation.after(delay_s, partial(self._run, at))

    def _run(self, at: float) -> None:
        if at != self._due or self.has_ended:
            return  # another came before it
        self._due = inf
        simulation = self.machine.simulation
        if self.machine.is_paused:
            self.machine.park(self)
        elif simulation.now < self.busy_until:
            self._plan(self.busy_until - simulation.now)
        else:
            simulation.enter(self)
            try:
                rest_s = self._context.run(self._turn)
            finally:
                simulation.enter(None)
            if rest_s is not None:
                self.wake_in(rest_s)


class Turns:
    """A thread made of a generator, such as the I/O thread of a node: each `next` of it is a turn."""

    def __init__(self, machine: Machine, name: str, turns: Callable[[], Iterator[None]]) -> None:
        self._machine = machine
        self._turns = turns()
        self._thread = Thread(machine, name, self._turn)

    def start(self) -> None:
        """Have the first turn soon."""
        self._thread.wake()

    def join(self, timeout: float | None = None) -> None:
        """Let time pass until it has ended."""
        self._machine.simulation.wait(lambda: self._thread.has_ended, timeout)

    def _turn(self) -> float | None:
        try:
            next(self._turns)
        except StopIteration:
            self._thread.end()
        return self._thread.rest_s
