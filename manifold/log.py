"""A handler of logs that blocks holds up nobody: those for what manifold and Pykka log are called in their own thread.

Who logs waits for that, a tenth of a second at most, so that a record is out when the call returns. But a pipe that
nobody reads, or a disk that hangs, stops neither a worker nor the I/O thread of a node: records wait then, up to
`WAITING_MAX`, and what is more is dropped, and told of later.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["WAITING_MAX", "on_loop"]

WAITING_MAX = 1000
_PATIENCE_S = 0.1


class _Desk:
    """The thread that calls handlers, one record after another."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin anew, as after a fork, in which the thread is lost."""
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[Context, Callable[[], object], threading.Event]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_stuck = False
        self._dropped = 0

    def is_here(self) -> bool:
        """Whether this is its thread."""
        return threading.current_thread() is self._thread

    def do(self, call: Callable[[], object]) -> None:
        """Have something called, and wait for it a moment; not at all while an earlier call does not end."""
        if self._calls.qsize() >= WAITING_MAX:
            self._dropped += 1
            return
        try:
            self._start()
        except RuntimeError:  # the interpreter ends, and lets no thread begin
            call()
            return
        done = threading.Event()
        self._calls.put((copy_context(), call, done))
        if not self._is_stuck and not done.wait(_PATIENCE_S):
            self._is_stuck = True

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="manifold-log", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            context, call, done = self._calls.get()
            with suppress(Exception):  # what a handler raises is not for who logs
                context.run(call)
            if self._calls.empty():
                self._is_stuck = False
                self._tell_dropped()
            done.set()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            logging.getLogger("manifold").warning("%d records were dropped while a handler of logs blocked", dropped)


_desk = _Desk()


class _Aside(logging.Filter):
    """Has a logger handle its records in the desk's thread."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self._logger = logger

    def filter(self, record: logging.LogRecord) -> bool:
        if _desk.is_here():
            return True
        _desk.do(partial(self._logger.handle, record))
        return False


def on_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what was raised in a callback or a lost task of a loop, as asyncio does, but in the desk's thread."""
    _desk.do(partial(loop.default_exception_handler, context))


for _name in ("manifold", "pykka"):
    logging.getLogger(_name).addFilter(_Aside(logging.getLogger(_name)))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_desk.begin)
