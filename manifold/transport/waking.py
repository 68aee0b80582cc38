"""Ending a wait from another thread: a write to a file that the waiting one watches, and only if it really waits."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waker"]


class Waker:
    """Wakes one thread, which calls all but `wake`. Until it has risen, all calls of `wake` make one write at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._woken = False
        self._asleep = False
        self._close: Callable[[], object] | None = None

    def open(self) -> None:
        """Take a file, `file`: readable after a call of `wake` during a wait, until `drain`."""
        self._write, self.drain, self.file, self._close = _eventfd() if hasattr(os, "eventfd") else _socketpair()

    def wake(self) -> None:
        """End the wait, or the next one. From any thread."""
        if self._woken:
            return
        with self._lock:
            self._woken = True
            if self._asleep:
                self._asleep = False
                self._write()

    def sleep(self) -> bool:
        """Announce a wait. False if there is nothing to wait for."""
        with self._lock:
            self._asleep = not self._woken
            return self._asleep

    def rise(self) -> None:
        """Say that the wait is over: what was done before the calls of `wake` so far will be looked at now."""
        with self._lock:
            self._asleep = self._woken = False

    def close(self) -> None:
        """Give back the file. `wake` stays harmless."""
        with self._lock:
            # From now on it is as if somebody had called already.
            self._asleep, self._woken = False, True
            if self._close:
                self._close()
                self._close = None


_Calls = tuple["Callable[[], object]", "Callable[[], object]", int, "Callable[[], object]"]


def _eventfd() -> _Calls:
    file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def drain() -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(file)

    return lambda: os.eventfd_write(file, 1), drain, file, lambda: os.close(file)


def _socketpair() -> _Calls:
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def drain() -> None:
        with suppress(BlockingIOError):
            reader.recv(64)

    def close() -> None:
        reader.close()
        writer.close()

    return lambda: writer.send(b"\0"), drain, reader.fileno(), close
