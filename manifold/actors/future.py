"""A `pykka.Future` that can be awaited without blocking the event loop, and knows when waiting would never end."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pykka

from manifold import ports
from manifold.actors.waiting import acquire, blocking_wait, is_worker_thread
from manifold.errors import ManifoldError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator
    from types import TracebackType

    from manifold.core.pid import PID

    OptExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

__all__ = ["AskTimeout", "Future"]


T = TypeVar("T")


class AskTimeout(ManifoldError, pykka.Timeout, TimeoutError):
    """No answer came in time. The question may still be answered; whether it was handled is not known."""


class Future(pykka.Future[T]):
    """The answer to an `ask`, or what a proxied call returns.

    As Pykka documents its futures, and: `await` works on any event loop without blocking it; a `get()` in a handler
    that could never end raises `WouldDeadlock`; a time-out raises `AskTimeout`, which is a `pykka.Timeout`.

    It is a `pykka.ThreadingFuture` in all but its weight: that one carries a condition of a dozen objects, which the
    garbage collector visits while 100,000 answers are open (stopping as many actors took four times as long).
    """

    _asked: PID | None = None
    _timeout_s: float | None = None
    _deadline: float | None = None
    _monotonic: Callable[[], float] = staticmethod(time.monotonic)
    _result: tuple[Any, OptExcInfo | None] | None = None
    _callbacks: tuple[Callable[[], object], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    @classmethod
    def asked(
        cls, pid: PID | None, timeout_s: float | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> Future[Any]:
        """Give the future of a question to `pid`, which `get()` and `await` wait for until `timeout_s` from now."""
        future: Future[Any] = cls()
        future._asked = pid
        if timeout_s is not None:
            future._timeout_s = timeout_s
            future._monotonic = monotonic
            future._deadline = monotonic() + timeout_s
        return future

    def asks(self, pid: PID | None) -> None:
        """Say whom the question has gone to, if that was found out later."""
        self._asked = pid

    def get(self, *, timeout: float | None = None) -> Any:
        if self._get_hook is not None:
            return super().get(timeout=self._allowed(timeout))
        if self._result is None:
            self._block(timeout)
        assert self._result is not None
        value, exc_info = self._result
        if exc_info is not None:
            _raise(exc_info)
        return value

    def set(self, value: Any | None = None) -> None:
        self._finish((value, None))

    def set_exception(self, exc_info: OptExcInfo | None = None) -> None:
        self._finish((None, exc_info or sys.exc_info()))

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        with self._lock:
            if self._result is not None:
                raise queue.Full
            super().set_get_hook(func)

    def is_set(self) -> bool:
        """Tell whether there is a result, or an exception."""
        return self._result is not None

    def outcome(self, otherwise: Any) -> Any:
        """Give the result, `otherwise` for an exception; only when there is one."""
        value, exc_info = self._result or (None, None)
        return value if exc_info is None else otherwise

    def pass_on(self, reply: Any) -> None:
        """Give the result, or the exception, to another future; only when there is one."""
        value, exc_info = self._result or (None, None)
        if exc_info is None:
            reply.set(value)
        else:
            reply.set_exception(exc_info)

    def __await__(self) -> Generator[Any, None, T]:
        if self._get_hook is not None:
            # The hook may block, and is the user's own code: never on the loop.
            value: T = yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__()
            return value
        if self._result is None:
            yield from self._wait().__await__()
        return self.get()  # type: ignore[no-any-return]

    __iter__ = __await__

    def _finish(self, result: tuple[Any, OptExcInfo | None]) -> None:
        with self._lock:
            if self._result is not None or self._get_hook is not None:
                raise queue.Full
            self._result = result
            callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback()

    def _block(self, timeout: float | None) -> None:
        done = threading.Lock()
        done.acquire()
        self.when_done(done.release)
        with blocking_wait(self._producers()) if is_worker_thread() else nullcontext():
            if not acquire(done, self._allowed(timeout)):
                self._give_up(done.release)
        if self._result is None:
            raise self._timed_out(timeout)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        self.when_done(wake)
        try:
            async with asyncio.timeout(self._allowed(None)):
                await done.wait()
        except TimeoutError:
            if self._result is None:
                raise self._timed_out(None) from None
        finally:
            self._give_up(wake)

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call `callback` when there is a result, or an exception: in the thread that sets it, or now."""
        with self._lock:
            if self._result is None:
                self._callbacks = (*self._callbacks, callback)
                return
        callback()

    def _give_up(self, callback: Callable[[], object]) -> None:
        with self._lock:
            self._callbacks = tuple(kept for kept in self._callbacks if kept != callback)

    def _allowed(self, timeout: float | None) -> float | None:
        if timeout is not None or self._deadline is None:
            return timeout
        return max(0.0, self._deadline - self._monotonic())

    def _timed_out(self, timeout: float | None) -> AskTimeout:
        waited = self._timeout_s if timeout is None else timeout
        return AskTimeout(f"{waited} seconds: no answer from {self._asked or 'there'} yet")

    def _producers(self) -> Collection[int]:
        """Give the threads that have to produce the answer, if they are known and of this process."""
        if self._asked is None or (host := ports.find_host(self._asked)) is None:
            return ()
        actor = host.find(self._asked)
        return () if actor is None else host.threads_of(actor)


def _raise(exc_info: OptExcInfo) -> NoReturn:
    kind, error, traceback = exc_info
    assert kind is not None
    if error is None:
        error = kind()
    raise error if error.__traceback__ is traceback else error.with_traceback(traceback)
