"""What many tests need: actors that record, block or hold, and ways to wait that never sleep."""

from __future__ import annotations

import re
import threading
from typing import Any, Self

import manifold

PATIENCE_S = 10.0
"""How long anything may take before it counts as stuck."""
HELD_S = 10 * PATIENCE_S
"""How long an actor may be held: as long as a test may last. Whoever holds it lets go in the end."""


def shown(value: Any) -> str:
    """Name a parameter by what it is, and not by where it lies: the same in every process that collects the tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class Recorder(manifold.Actor):
    """Keeps what it gets, and the thread it got it on; answers with it."""

    def __init__(self, got: list[Any] | None = None) -> None:
        self.got = [] if got is None else got
        self.threads: set[int] = set()

    def on_receive(self, message: Any) -> Any:
        self.threads.add(threading.get_ident())
        self.got.append(message)
        return message


class AsyncRecorder(Recorder):
    """The same with an `async def` handler."""

    async def on_receive(self, message: Any) -> Any:
        return super().on_receive(message)


class Held(manifold.Actor):
    """Blocks its worker from its first message until it is let go."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    def on_receive(self, message: Any) -> None:
        self.hold.entered.set()
        assert self.hold.released.wait(HELD_S), "nobody let go"


class Hold:
    """Blocks the worker of an actor made for it: `with Hold(node):`."""

    def __init__(self, node: manifold.Node) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.node = node
        self.pid = node.spawn(Held, self)

    def __enter__(self) -> Self:
        self.node.send(self.pid, "hold")
        assert self.entered.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        self.released.set()


def spawn(node: manifold.Node, number: int, cls: type[Recorder] = Recorder) -> list[Recorder]:
    """Start recorders on a node, and give the actors themselves."""
    made: list[Recorder] = []

    class Known(cls):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    for _ in range(number):
        node.spawn(Known)
    return made


def pids(actors: list[Any]) -> list[manifold.PID]:
    return [actor.pid for actor in actors]


def done(receipt: manifold.Receipt | None) -> dict[str, int]:
    """Wait for a receipt, and give its one node's counts that are not 0."""
    assert receipt is not None
    outcomes = receipt.get(timeout=PATIENCE_S)
    assert len(outcomes) <= 1, outcomes
    return {name: count for outcome in outcomes.values() for name, count in outcome.items() if count}


def settled(node: manifold.Node) -> manifold.Stats:
    """Let every worker work off what is queued now, and give the stats."""
    for actor in spawn(node, 4 * node.stats().workers):
        node.ask(actor.pid, "there?", timeout=PATIENCE_S).get()
    return node.stats()
