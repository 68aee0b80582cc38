"""Timers: a send at a later moment, by the way that a send made at that moment would go."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from manifold.errors import ManifoldError, NodeStopped, Overloaded

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from manifold.delivery.partitioner import Partitioner

__all__ = ["Timer", "Timers"]

logger = logging.getLogger("manifold")


class Timer:
    """A send that is to come."""

    def __init__(self, timers: Timers, act: Callable[[], object]) -> None:
        self._timers = timers
        self._sender = timers.get_ident()
        self._act: Callable[[], object] | None = act
        self._handle: asyncio.TimerHandle | None = None  # of the loop's thread alone

    def cancel(self) -> bool:
        """Take it back. True if it will not be sent now; False if it was sent, or cancelled before."""
        if self._timers.take(self) is None:
            return False
        self._timers.call(self._forget)
        return True

    def _forget(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _start(self, at: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._act is not None:
            self._handle = loop.call_at(at, self._fire)

    def _fire(self) -> None:
        if (act := self._timers.take(self)) is not None:
            self._timers.behind(self._sender, lambda: _do(act))


class Timers:
    """The pending timers of a node. They run on the event loop of its first worker, which no resize takes away."""

    def __init__(self, node: Partitioner) -> None:
        self._node = node
        self.get_ident = node.host.around.get_ident
        self._lock = threading.Lock()
        self._pending = 0

    def start(self, delay_s: float, act: Callable[[], object]) -> Timer:
        """Have `act` called in `delay_s` seconds. Raises Overloaded when `Limits.timers_max` are pending."""
        with self._lock:
            if self._pending >= self._node.limits.timers_max:
                raise Overloaded([self._node.host.id], 1, "the timer table")
            self._pending += 1
        timer = Timer(self, act)
        loop = self._node.workers[0].loop
        self.call(timer._start, loop.time() + delay_s, loop)
        return timer

    def call(self, act: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread, in the context of the node."""
        worker = self._node.workers[0]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing fires any more
            worker.loop.call_soon_threadsafe(act, *args, context=worker.context)

    def behind(self, sender: int, act: Callable[[], object]) -> None:
        """Do something behind all that a thread has offloaded."""
        offload = self._node.offload
        if offload.holds(sender):
            offload.put(act, 0, sender)
        else:
            act()

    def take(self, timer: Timer) -> Callable[[], object] | None:
        """Give what a timer has to do to the first who asks."""
        with self._lock:
            act, timer._act = timer._act, None
            self._pending -= act is not None
        return act


def _do(act: Callable[[], object]) -> None:
    try:
        act()
    except NodeStopped:
        pass  # the loop is not the node's own, and outlives it
    except ManifoldError as error:
        logger.warning("send_after: %s", error)
