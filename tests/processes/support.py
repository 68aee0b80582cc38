"""What the tests of worker processes need."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

from manifold import ports
from tests.processes.actors import GOT, WHERE, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import manifold

PATIENCE_S = 20.0

_TICK = threading.Event()


def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> bool:
    """Poll a condition until it holds; whether it did in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        _TICK.wait(0.002)
    return True


def ask(node: manifold.Node, pid: manifold.PID, message: Any) -> Any:
    return node.ask(pid, message, timeout=PATIENCE_S).get()


def got(node: manifold.Node, pid: manifold.PID) -> list[Any]:
    return ask(node, pid, GOT)


def process_of(node: manifold.Node, pid: manifold.PID) -> int:
    return ask(node, pid, WHERE)


def one_in_each(node: manifold.Node, cls: type = Recorder, workers: int = 2) -> list[manifold.PID]:
    """Start actors until each worker process has one; give one of each."""
    found: dict[int, manifold.PID] = {}
    while len(found) < workers:
        pid = node.spawn(cls)
        found.setdefault(process_of(node, pid), pid)
    return list(found.values())


def quiet(node: manifold.Node) -> manifold.Stats:
    """Wait until nothing is in flight; give the counts, which must add up."""
    assert until(lambda: node.stats().in_flight == 0), node.stats()
    stats = node.stats()
    check(stats)
    return stats


def check(stats: manifold.Stats) -> None:
    parts = (stats.delivered, stats.dead, stats.shed, stats.unreachable, stats.in_flight)
    assert min(parts) >= 0, stats
    assert stats.sent == sum(parts), stats


def is_running(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


class Keeper(pykka.ThreadingActor):
    """An ordinary Pykka actor: it lives in the main process."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == GOT:
            return list(self.got)
        self.got.append(message)
        return os.getpid()


@contextlib.contextmanager
def at(node: manifold.Node) -> Iterator[None]:
    """Make a node the current one for a block, which does not stop it."""
    token = ports.current.set(node)
    try:
        yield
    finally:
        ports.current.reset(token)


class Gate:
    """Holds the worker process of the actor that is sent `["hold", gate.path]`, until it is opened."""

    def __init__(self, folder: os.PathLike[str]) -> None:
        self.path = os.path.join(folder, "gate")
        os.mkfifo(self.path)

    def open(self) -> None:
        os.close(os.open(self.path, os.O_WRONLY))
