"""Where a worker's event loop runs: in a thread made for it, or wherever the caller's own loop does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

from manifold.actors.waiting import worker_threads
from manifold.delivery.waking import Waker

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANCEL_S", "LoopThread"]

CANCEL_S = 0.5
"""How long what was cancelled may take to end."""

logger = logging.getLogger("manifold")


class LoopThread:
    """An event loop in a daemon thread, which goes on until `stop()` whatever is raised inside it."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.waker = Waker(self.loop)
        self._stopping = False
        self._winding_up = False
        self._until = 0.0
        self._ended: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        assert self._thread.ident is not None
        self.ident = self._thread.ident
        worker_threads.add(self.ident)

    def stop(self, tasks: set[asyncio.Task[None]], until: float, ended: Callable[[], None] | None = None) -> None:
        """End the loop after what it does just now, and after these tasks, which have until then. Does not wait.

        `ended`, if given, is called when the thread has done all it will ever do.
        """
        self._tasks, self._until, self._stopping = tasks, until, True
        self._ended = ended or self._ended
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self._halt)

    def join(self, until: float) -> bool:
        """Wait until the thread has ended; False if it has not in time (and a moment for its tasks to be cancelled)."""
        self._thread.join(max(0.0, until - time.monotonic()) + CANCEL_S)
        return not self._thread.is_alive()

    def _halt(self) -> None:
        if not self._winding_up:  # else it was told to stop before
            self.loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            self._run_once()
        self._winding_up = True
        try:
            self.loop.run_until_complete(self._wind_up())
        finally:
            self.loop.close()
            if self._ended is not None:
                self._ended()
            worker_threads.discard(self.ident)

    async def _wind_up(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, self._until - time.monotonic()))
        # A thread that stood still may find its queue full now: what was begun of that would never be ended.
        self.waker.close()
        await asyncio.sleep(0)  # for what was woken already
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CANCEL_S)
        await self.loop.shutdown_asyncgens()

    def _run_once(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException:
            # A SystemExit out of a task of the user's, say: it ends that task, not the worker.
            logger.critical("an event loop went on after:", exc_info=True)
