"""The log of a process that runs a node: written to stderr by a thread of its own, so that writing holds up no node."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue

__all__ = ["WAITING_MAX", "LogThread"]

WAITING_MAX = 1000
"""How many records wait while a write does not end, into a pipe that nobody reads, say; what is more is dropped."""
_END_S = 1.0


class _Bounded(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(Full):
            self.queue.put_nowait(record)


class LogThread:
    """What is logged from `level` on goes to stderr, from when this is made until it is closed."""

    def __init__(self, level: str | int) -> None:
        waiting: Queue[logging.LogRecord | None] = Queue(WAITING_MAX)
        writer = logging.StreamHandler(sys.stderr)
        writer.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._waiting = waiting
        self._handler = _Bounded(waiting)
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._listener = QueueListener(waiting, writer)
        self._listener.start()
        logging.basicConfig(level=level, handlers=[self._handler])

    def close(self) -> bool:
        """Write what waits; False if that takes longer than a moment."""
        logging.root.removeHandler(self._handler)
        closing = threading.Thread(target=self._stop, daemon=True)
        closing.start()
        closing.join(_END_S)
        return not closing.is_alive()

    def _stop(self) -> None:
        self._waiting.put(None)  # what it ends at, once there is room for it
        self._listener.stop()
