"""An event loop that runs only while a transport polls, on whichever thread that is.

A poll is over when something has come in, or when the time is over and no callback is left to run. The selector, which
asyncio asks before every round of callbacks, is the one that knows both.
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


class _Selector(selectors.DefaultSelector):
    """Stops the loop when it has run for long enough."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop
        self.until = inf
        self.is_enough: Callable[[], object] = bool
        self.has_looked = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        left_s = self.until - time.monotonic()
        is_idle = timeout is None or timeout > 0
        if self.has_looked and (self.is_enough() or (is_idle and left_s <= 0)):
            self._stop()
            return []
        self.has_looked = True
        wait_s = max(0.0, min(left_s, inf if timeout is None else timeout))
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
        """Run until it is enough, or the time is over and nothing is left to run; look at the files in any case."""
        self._turns.is_enough, self._turns.has_looked = is_enough, False
        self._run_until(time.monotonic() + timeout_s)

    def run_ready(self) -> None:
        """Run until nothing is left to run."""
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
