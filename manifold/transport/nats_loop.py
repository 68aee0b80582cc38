"""An event loop that runs only while a transport polls, on whichever thread that is, and lets go of the GIL seldom.

asyncio asks its selector for files before every round of callbacks, also when it would not wait; each question lets go
of the GIL, and beside a busy thread of Python getting it back may take the switch interval. A packet needs four rounds.
Here rounds that would not wait do not ask, but for every 16th.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PollLoop"]

_ROUNDS_MAX = 16


class _Selector(selectors.DefaultSelector):
    """Decides, when there is nothing left to run, whether the loop waits on or stops."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop
        self._rounds = 0
        self.until = inf
        self.is_enough: Callable[[], object] = bool
        self.has_looked = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            self._rounds += 1
            if self.has_looked and self._rounds % _ROUNDS_MAX:
                return []
            wait_s = 0.0
        else:
            left_s = self.until - time.monotonic()
            if self.has_looked and (left_s <= 0 or self.is_enough()):
                self._stop()
                return []
            wait_s = max(0.0, min(left_s, inf if timeout is None else timeout))
        self.has_looked = True
        return super().select(None if wait_s == inf else wait_s)


class PollLoop(asyncio.SelectorEventLoop):
    """The loop. It belongs to nobody's thread, and is never the current one of any."""

    def __init__(self) -> None:
        self._turns = _Selector(self.stop)
        super().__init__(self._turns)
        self.connections: list[asyncio.Transport] = []
        self.is_encrypted = False
        """Whether the connection made last was turned into one of TLS."""

    def run_for(self, timeout_s: float, is_enough: Callable[[], object]) -> None:
        """Run until nothing is left to run and either it is enough or the time is over; look at the files once at least."""
        self._turns.is_enough, self._turns.has_looked = is_enough, False
        self._run_until(time.monotonic() + timeout_s)

    def run_ready(self) -> None:
        """Run until nothing is left to run, without a look at the files."""
        self._turns.has_looked = True
        self._run_until(0.0)

    def _run_until(self, time_s: float) -> None:
        self._turns.until = time_s
        try:
            self.run_forever()
        finally:
            self._turns.until, self._turns.is_enough = inf, bool

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        self.is_encrypted = False
        transport, protocol = await super().create_connection(*args, **options)
        self.connections.append(transport)
        return transport, protocol

    async def start_tls(self, *args: Any, **options: Any) -> Any:
        transport = await super().start_tls(*args, **options)
        self.is_encrypted = True
        return transport

    def abort_connections(self) -> None:
        """Close all connections at once, whatever waits in them."""
        for transport in self.connections:
            transport.abort()
        self.connections.clear()
