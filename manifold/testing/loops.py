"""asyncio event loops on a simulated clock: one iteration is one turn, and none ever waits."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from manifold.delivery.loops import CANCEL_S, LoopThread
from manifold.delivery.offload import Offload
from manifold.testing.machine import Thread

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from manifold.testing.machine import Machine

__all__ = ["SimulatedLoop", "SimulatedLoopThread", "SimulatedOffload"]

logger = logging.getLogger("manifold")


class _NoFiles:
    """In a selector's place: there is nothing to wait for."""

    def select(self, timeout: float | None) -> list[Any]:  # noqa: ARG002
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop of a machine. It has its clock, and neither files nor sockets; its executor is a turn of its own.

    It counts as running until it is closed, though it only does so in its turns.
    """

    _between_turns = False
    _ready: deque[asyncio.Handle]  # these two are asyncio's own
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, machine: Machine, name: str) -> None:
        super().__init__()
        self.thread = Thread(machine, name, self._turn)
        self._machine = machine
        self._selector = _NoFiles()
        self._between_turns = True
        machine.loops.append(self)
        self._made: WeakKeyDictionary[asyncio.Task[Any], None] = WeakKeyDictionary()
        self._due = self._given = 0.0

    def time(self) -> float:
        return self._machine.clock.monotonic()

    def is_running(self) -> bool:
        return super().is_running() or (self._between_turns and not self.is_closed())

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        # asyncio calls those of one moment in any order; where time passes no two that follow each other are of one.
        self._given = math.nextafter(self._given, math.inf) if when == self._due else when
        self._due = when
        return super().call_at(self._given, callback, *args, context=context)

    def close(self) -> None:
        self._between_turns = False
        super().close()

    def create_task(self, coroutine: Any, **options: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        task = super().create_task(coroutine, **options)
        self._made[task] = None
        return task

    def pending(self) -> list[asyncio.Task[Any]]:
        """Give the tasks that have not ended, in the order in which they were made."""
        return [task for task in self._made if not task.done()]

    def run_in_executor(self, _executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()

        def run() -> None:
            if self._machine.has_ended:
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                self.call_soon_threadsafe(_settle, future, None, error)
            else:
                self.call_soon_threadsafe(_settle, future, result, None)

        self._machine.simulation.later(self._machine.simulation.latency_s(), run)
        return future

    def _turn(self) -> float | None:
        self._between_turns = False
        try:
            self.stop()  # asyncio runs what is ready, once, and returns
            self.run_forever()
        except BaseException:
            logger.critical("an event loop went on after:", exc_info=True)
        finally:
            self._between_turns = True
        if self._ready:
            return 0.0
        return max(0.0, self._scheduled[0].when() - self.time()) if self._scheduled else None

    def abandon(self) -> None:
        """Close what is suspended, without a word, and the loop."""
        for task in self.pending():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):  # what their `finally` blocks raise is of no interest any more
                _close(task.get_coro())
        self.close()

    def _write_to_self(self) -> None:
        self.thread.wake()

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing: there are no files."""


def _close(coroutine: Any) -> None:
    """Close a coroutine; if it never began, those that it was given as well, which nobody will ever await."""
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        for given in coroutine.cr_frame.f_locals.values():
            if inspect.iscoroutine(given):
                _close(given)
    coroutine.close()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class SimulatedLoopThread(LoopThread):
    """A worker's event loop."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self.loop: SimulatedLoop = SimulatedLoop(machine, name)
        self.waker = None  # type: ignore[assignment]
        self.ident = self.loop.thread.ident
        self._winding_up = False
        self._ended = None

    def stop(self, tasks: set[asyncio.Task[None]], until: float, ended: Callable[[], None] | None = None) -> None:
        self._tasks, self._until, self._ended = tasks, until, ended or self._ended
        if not self._winding_up and not self.loop.is_closed():
            self._winding_up = True
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._wind_up()))

    def join(self, until: float) -> bool:
        timeout_s = max(0.0, until - self._machine.clock.monotonic()) + CANCEL_S
        return self._machine.simulation.wait(self.loop.is_closed, timeout_s)

    async def _wind_up(self) -> None:
        me = asyncio.current_task()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, self._until - self.loop.time()))
        others = [task for task in self.loop.pending() if task is not me]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CANCEL_S)
        await self.loop.shutdown_asyncgens()
        self._machine.simulation.after(0.0, self._end)

    def _end(self) -> None:
        self.loop.thread.end()
        self.loop.close()
        if self._ended is not None:
            self._ended()


class SimulatedOffload(Offload):
    """The Sender thread of a node. Who has to wait for it lets it do its work, and nobody else."""

    def __init__(self, machine: Machine, name: str, max_bytes: int, relieve: Callable[[], None]) -> None:
        super().__init__(name, max_bytes, relieve, machine.simulation.get_ident)
        self._simulation = machine.simulation
        self._sender = Thread(machine, name, self._turn)

    def catch_up(self) -> None:
        while self.holds():
            self._turn()

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002
        while self._queue:
            self._turn()
        return True

    def _start(self) -> None:
        self._sender.wake()

    def _turn(self) -> float | None:
        caller = self._simulation.enter(self._sender)
        try:
            if self._queue:
                self._do(*self._queue.popleft())
        finally:
            self._simulation.enter(caller)
        return 0.0 if self._queue else None
