"""Offloaded sends: grouped in a thread of their own, and never overtaken by what the same thread sends after them.

While a thread has anything waiting here, all else it sends waits behind it. So order needs no other rule, however a
sender mixes its modes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Offload"]

logger = logging.getLogger("manifold")


class Offload:
    """The Sender thread of a node, started with the first offloaded send."""

    def __init__(
        self,
        name: str,
        max_bytes: int,
        relieve: Callable[[], None],
        get_ident: Callable[[], int] = threading.get_ident,
    ) -> None:
        self.queued_bytes = 0
        self._relieve = relieve
        self._get_ident = get_ident
        self._name = name
        self._max_bytes = max_bytes
        self._pending: Counter[int] = Counter()
        self._queue: deque[tuple[int, int, Callable[[], object]]] = deque()
        self._held: dict[int, list[tuple[int, int, Callable[[], object]]]] = {}
        self._holds: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def holds(self, sender: int | None = None) -> bool:
        """Tell whether something of a thread is waiting here, by default the calling one."""
        return bool(self._pending) and (sender or self._get_ident()) in self._pending

    def busy(self) -> bool:
        """Tell whether something of any thread is waiting here."""
        return bool(self._pending)

    def full(self) -> bool:
        """Tell whether one more should be refused."""
        return self.queued_bytes >= self._max_bytes

    def put(self, act: Callable[[], object], cost: int, sender: int | None = None) -> None:
        """Have `act` done after all else that a thread, by default the calling one, has put here."""
        with self._changed:
            self._start()
            sender = sender or self._get_ident()
            self._pending[sender] += 1
            self.queued_bytes += cost
            self._held.get(sender, self._queue).append((sender, cost, act))
            self._changed.notify_all()

    def hold(self, sender: int) -> None:
        """Keep what a thread puts here from now on, until `release` was called as often."""
        with self._changed:
            self._holds[sender] += 1
            self._held.setdefault(sender, [])

    def release(self, sender: int) -> None:
        """Let what was kept go on. From any thread."""
        with self._changed:
            self._holds[sender] -= 1
            if not self._holds[sender]:
                del self._holds[sender]
                self._queue.extend(self._held.pop(sender))
                self._start()
                self._changed.notify_all()

    def catch_up(self) -> None:
        """Wait until nothing of the calling thread is waiting: what it does next may not overtake it."""
        if self.holds():
            sender = self._get_ident()
            with self._changed:
                self._changed.wait_for(lambda: sender not in self._pending)

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is waiting; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def close(self) -> None:
        """End the thread when nothing is waiting any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._do(*item)
            del item  # while it waits for the next one it keeps nothing of the last

    def _do(self, sender: int, cost: int, act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException:
            logger.critical("an offloaded send of %s was lost to:", self._name, exc_info=True)
        self._done(sender, cost)
        self._relieve()

    def _next(self) -> tuple[int, int, Callable[[], object]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return self._queue.popleft() if self._queue else None

    def _done(self, sender: int, cost: int) -> None:
        with self._changed:
            self.queued_bytes -= cost
            self._pending[sender] -= 1
            if not self._pending[sender]:
                del self._pending[sender]
            self._changed.notify_all()
