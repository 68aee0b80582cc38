"""Blocking waits of worker threads: one that could never end raises instead.

A worker that waits cannot work. So there is a graph of which worker thread waits for which; a wait that would
close a circle in it is refused. Entering is under one lock, so of two that would close it together one is let in.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from manifold.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["acquire", "blocking_wait", "is_worker_thread", "simulations", "worker_threads"]

worker_threads: set[int] = set()
"""The identities of all threads that run workers."""

simulations: dict[int, Callable[[Callable[[], bool], float | None], bool]] = {}
"""How threads that drive a simulation wait for a condition, by their identity: they must not stand still."""

_lock = threading.Lock()
_waits_for: dict[int, frozenset[int]] = {}


def is_worker_thread() -> bool:
    """Tell whether the calling thread runs a worker."""
    return threading.get_ident() in worker_threads


def acquire(lock: threading.Lock, timeout_s: float | None) -> bool:
    """Wait for a lock, the thread standing still; False if that took too long."""
    if (wait := simulations.get(threading.get_ident())) is not None:
        return wait(lambda: lock.acquire(blocking=False), timeout_s)
    return lock.acquire(timeout=-1 if timeout_s is None else min(max(0.0, timeout_s), threading.TIMEOUT_MAX))


@contextmanager
def blocking_wait(producers: Iterable[int]) -> Iterator[None]:
    """Enclose a blocking wait for something that all the threads `producers` have to do.

    Raises WouldDeadlock if one of them is the calling worker itself, or waits for it, directly or through others.
    """
    me = threading.get_ident()
    wanted = frozenset(producers)
    with _lock:
        if _leads_to(wanted, me):
            msg = (
                "this blocking wait would never end: the answer has to come from the worker that would wait for it. "
                "Make the handler `async def` and `await` the future, or send the result as a message."
            )
            raise WouldDeadlock(msg)
        before = _waits_for.get(me, frozenset())
        _waits_for[me] = before | wanted
    try:
        yield
    finally:
        with _lock:
            _waits_for[me] = before


def _leads_to(wanted: frozenset[int], me: int) -> bool:
    seen: set[int] = set()
    ahead = set(wanted)
    while ahead:
        thread = ahead.pop()
        if thread == me:
            return True
        if thread not in seen:
            seen.add(thread)
            ahead |= _waits_for.get(thread, frozenset())
    return False
