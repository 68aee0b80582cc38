"""What the cluster's tests need: nodes that meet, events that are kept, and ways to wait that end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import manifold
from manifold import ports
from manifold.errors import NodeDown
from tests.support import PATIENCE_S, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

DOWN_AFTER_S = 2.0
"""`node_down_after_s` where one node is to go down, and no other: a busy machine lets no thread stand still so long."""

_NUMBERS = itertools.count(1)
_TICK = threading.Event()


def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> bool:
    """Poll a condition until it holds; whether it did in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        _TICK.wait(0.002)
    return True


def stays(condition: Callable[[], Any], for_s: float) -> bool:
    """Tell whether a condition holds all the time."""
    return not until(lambda: not condition(), for_s)


class Events:
    """Keeps what `node.events()` gives, on a loop in a thread of its own."""

    def __init__(self, node: manifold.Node) -> None:
        self.all: list[Any] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(node),), daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    async def _run(self, node: manifold.Node) -> None:
        self._task = asyncio.current_task()
        self._loop.call_later(0.01, self._ready.set)
        events = node.events()
        try:
            async for event in events:
                self.all.append(event)
        except asyncio.CancelledError:
            pass
        finally:
            await events.aclose()

    def short(self) -> list[tuple[str, str]]:
        """Give them as ("up" or "down", the node's name)."""
        return [("down" if isinstance(e, NodeDown) else "up", e.node.partition("@")[0]) for e in self.all]

    def close(self) -> None:
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE_S)
        self._loop.close()


class Nodes:
    """Makes nodes, has them meet, and stops what was not stopped; over memory, tcp, or a server of NATS (its url)."""

    def __init__(self, transport: str) -> None:
        self.transport = transport.partition(":")[0]
        self.servers = f"{transport}?cluster=t{next(_NUMBERS)}"
        self.made: list[manifold.Node] = []
        self.events: list[Events] = []
        self.loops: list[tuple[asyncio.AbstractEventLoop, threading.Thread]] = []

    def fresh_address(self) -> str:
        return f"memory://n{next(_NUMBERS)}" if self.transport == "memory" else "tcp://127.0.0.1:0"

    def node(self, name: str, *, join: Any = None, listen: str | None = None, **options: Any) -> manifold.Node:
        """Make a node that joins the first one that was made."""
        if self.transport == "nats":
            options["transport"] = self.servers  # there they find each other
        else:
            first = [self.made[0].address] if self.made else []
            options |= {"listen": listen or self.fresh_address(), "join": first if join is None else join}
        if options.get("worker_kind") == "loop":
            node = self._on_a_loop(name, options)
        else:
            node = manifold.Node(name, **{"workers": 2, **options})
        self.made.append(node)
        return node

    def _on_a_loop(self, name: str, options: dict[str, Any]) -> manifold.Node:
        """Make a node that lives on an event loop, which runs in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name=f"{name}-loop", daemon=True)
        thread.start()
        self.loops.append((loop, thread))

        async def make() -> manifold.Node:
            return manifold.Node(name, **options)

        return asyncio.run_coroutine_threadsafe(make(), loop).result(PATIENCE_S)

    def together(self, *names: str, **options: Any) -> list[manifold.Node]:
        """Make nodes that all know each other."""
        nodes = [self.node(name, **options) for name in names]
        meet(*nodes)
        return nodes

    def watch(self, node: manifold.Node) -> Events:
        self.events.append(Events(node))
        return self.events[-1]

    def close(self) -> None:
        with ExitStack() as everything:  # whatever of it fails
            for loop, thread in self.loops:
                everything.callback(_end, loop, thread)
            for events in self.events:
                everything.callback(events.close)
            for node in self.made:
                everything.callback(node.stop)


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)
    loop.close()


def meet(*nodes: manifold.Node, timeout_s: float = PATIENCE_S) -> None:
    ids = {node.id for node in nodes}
    assert until(lambda: all(ids <= set(node.nodes()) for node in nodes), timeout_s), [n.nodes() for n in nodes]


def audience(node: manifold.Node, pids: Any = ()) -> manifold.Audience:
    """Make an audience owned by this node."""
    token = ports.current.set(node)
    try:
        return manifold.Audience(pids)
    finally:
        ports.current.reset(token)


def outcome(receipt: manifold.Receipt | None) -> dict[str, dict[str, int]]:
    """Wait for a receipt; what is not 0, by the name of the node."""
    assert receipt is not None
    return {
        node.partition("@")[0]: {cause: count for cause, count in counts.items() if count}
        for node, counts in receipt.get(timeout=PATIENCE_S).items()
    }


def reconciles(stats: manifold.Stats) -> bool:
    parts = (stats.delivered, stats.dead, stats.shed, stats.unreachable, stats.in_flight)
    return min(parts) >= 0 and stats.sent == sum(parts)


def quiet(node: manifold.Node) -> manifold.Stats:
    """Wait until nothing is in flight; give the stats."""
    assert until(lambda: node.stats().in_flight == 0), node.stats()
    assert reconciles(node.stats())
    return node.stats()


def record(node: manifold.Node) -> Recorder:
    """Start one recorder; the actor itself."""
    made: list[Recorder] = []

    class Known(Recorder):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    node.spawn(Known)
    return made[0]


class Lines(logging.Handler):
    """Keeps what manifold logs, at warning or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
