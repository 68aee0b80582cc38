"""Receipts: what became of one send, per node, known when every recipient is accounted for."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from manifold.actors import Future
from manifold.actors.waiting import blocking_wait, is_worker_thread
from manifold.core.routing import node_of
from manifold.delivery.counts import Outcome

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from manifold.errors import CodecError

__all__ = ["Receipt", "log_unreadable"]

logger = logging.getLogger("manifold")


def log_unreadable(error: CodecError) -> None:
    """Complain of a message of this process, encoded for copies of it, that cannot be decoded."""
    logger.error("a message that was encoded here cannot be read here, and was shed: %s", error)


class Receipt:
    """What became of one send. Await it, or `get(timeout=)`: both give `{node id: Outcome}`.

    An `Outcome` tells how many recipients on that node were delivered, dead, shed, unreachable. It is complete when
    every recipient is accounted for: a message that waits in the mailbox of a busy actor is not, yet. A send to nobody
    is complete at once, and empty.
    """

    own = True
    """It speaks of what this node counted as sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = -1
        self._threads: Counter[int] = Counter()
        self._counts: dict[str, list[int]] = {}
        self._done: Future[dict[str, Outcome]] = Future()

    def expect(self, recipients: int) -> None:
        """Say how many recipients there are; before any of them is settled."""
        self._open = recipients
        if not recipients:
            self._done.set({})

    def await_thread(self, thread: int, recipients: int) -> None:
        """Say that the worker of this thread has to account for so many."""
        with self._lock:
            self._threads[thread] += recipients

    def settle(self, node: str, cause: int, number: int) -> None:
        """Account for some of the recipients at one place."""
        node = node_of(node)
        with self._lock:
            counts = self._counts.get(node)
            if counts is None:
                counts = self._counts[node] = [0, 0, 0, 0]
            counts[cause] += number
            self._open -= number
            if (thread := threading.get_ident()) in self._threads:
                self._threads[thread] -= number
            complete = not self._open
        if complete:
            self._done.set({node: Outcome(*counts) for node, counts in self._counts.items()})

    def unreadable(self, error: CodecError) -> None:
        """Complain of the message; whoever does so accounts for its recipients."""
        log_unreadable(error)

    def done(self) -> bool:
        """Tell whether every recipient is accounted for: then `get` does not wait."""
        return self._done.is_set()

    def get(self, *, timeout: float | None = None) -> dict[str, Outcome]:
        """Wait for the outcome. Raises AskTimeout after `timeout` seconds; WouldDeadlock inside a handler of one of
        the workers that still have to deliver.
        """
        if not self.done() and is_worker_thread():
            with blocking_wait(thread for thread, number in list(self._threads.items()) if number > 0):
                return self._done.get(timeout=timeout)  # type: ignore[no-any-return]
        return self._done.get(timeout=timeout)  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Any, None, dict[str, Outcome]]:
        return self._done.__await__()

    def __repr__(self) -> str:
        return f"<Receipt: {self._counts}{'' if self.done() else f', {self._open} open'}>"
