"""A `pykka.Future` that can be awaited without blocking the event loop, and knows when waiting would never end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pykka

from manifold import ports
from manifold.actors.waiting import blocking_wait, is_worker_thread
from manifold.errors import ManifoldError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from manifold.core.pid import PID

__all__ = ["AskTimeout", "Future"]

T = TypeVar("T")


class AskTimeout(ManifoldError, pykka.Timeout, TimeoutError):
    """No answer came in time. The question may still be answered; whether it was handled is not known."""


class Future(pykka.ThreadingFuture[T]):
    """The answer to an `ask`, or what a proxied call returns.

    As Pykka documents it, and: `await` works on any event loop without blocking it; a `get()` in a handler that
    could never end raises `WouldDeadlock`; a time-out raises `AskTimeout`, which is a `pykka.Timeout`.
    """

    _asked: PID | None = None
    _timeout_s: float | None = None
    _deadline: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self._callbacks: list[Callable[[], None]] = []

    @classmethod
    def asked(cls, pid: PID, timeout_s: float | None = None) -> Future[Any]:
        """Give the future of a question to `pid`, which `get()` and `await` wait for until `timeout_s` from now."""
        future: Future[Any] = cls()
        future._asked = pid
        if timeout_s is not None:
            future._timeout_s = timeout_s
            future._deadline = time.monotonic() + timeout_s
        return future

    def get(self, *, timeout: float | None = None) -> Any:
        allowed = self._allowed(timeout)
        try:
            if self._result is None and self._get_hook is None and is_worker_thread():
                with blocking_wait(self._producers()):
                    return super().get(timeout=allowed)
            return super().get(timeout=allowed)
        except AskTimeout:
            raise
        except pykka.Timeout as error:
            if self._result is not None or self._get_hook is not None:
                raise
            raise self._timed_out(timeout) from error

    def set(self, value: Any | None = None) -> None:
        super().set(value)
        self._call_back()

    def set_exception(self, exc_info: Any = None) -> None:
        super().set_exception(exc_info)
        self._call_back()

    def is_set(self) -> bool:
        """Tell whether there is a result, or an exception."""
        return self._result is not None

    def __await__(self) -> Generator[Any, None, T]:
        if self._get_hook is not None:
            # The hook may block, and is the user's own code: never on the loop.
            value: T = yield from asyncio.get_running_loop().run_in_executor(None, self.get).__await__()
            return value
        if self._result is None:
            yield from self._wait().__await__()
        return self.get(timeout=0)  # type: ignore[no-any-return]

    __iter__ = __await__

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        self._when_done(lambda: _call_soon(loop, done.set))
        allowed = self._allowed(None)
        try:
            async with asyncio.timeout(allowed):
                await done.wait()
        except TimeoutError as error:
            if self._result is None:
                raise self._timed_out(None) from error

    def _when_done(self, callback: Callable[[], None]) -> None:
        with self._condition:
            if self._result is None:
                self._callbacks.append(callback)
                return
        callback()

    def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def _allowed(self, timeout: float | None) -> float | None:
        if timeout is not None or self._deadline is None:
            return timeout
        return max(0.0, self._deadline - time.monotonic())

    def _timed_out(self, timeout: float | None) -> AskTimeout:
        waited = self._timeout_s if timeout is None else timeout
        return AskTimeout(f"{waited} seconds: no answer from {self._asked or 'there'} yet")

    def _producers(self) -> tuple[int, ...]:
        """Give the thread that has to produce the answer, if it is known and of this process."""
        if self._asked is None or (host := ports.find_host(self._asked)) is None:
            return ()
        actor = host.find(self._asked)
        thread = None if actor is None else host.thread_of(actor)
        return () if thread is None else (thread,)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback)
