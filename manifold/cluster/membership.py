"""Who is in the cluster, and who wants to know: NodeUp and NodeDown, in the order in which they happened."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from manifold.errors import NodeDown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Membership", "NodeUp"]

EVENTS_MAX = 10_000


class NodeUp(NamedTuple):
    """A node is connected. What is sent to its actors from now on reaches it."""

    node: str


class Membership:
    """The nodes that are connected, and the subscribers to changes."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._up: dict[str, str] = {}
        self._subscribers: dict[Subscriber, None] = {}
        self._closed = False

    def up(self) -> dict[str, str]:
        """Give the nodes that are connected, with their addresses."""
        with self.changed:
            return dict(self._up)

    def joined(self, node: str, address: str) -> None:
        """A node is connected."""
        with self.changed:
            self._up[node] = address
            self._tell(NodeUp(node))

    def left(self, node: str, reason: str) -> None:
        """A node is down."""
        with self.changed:
            if self._up.pop(node, None) is not None:
                self._tell(NodeDown(node, reason))

    def close(self) -> None:
        """This node stops: nobody is connected any more, and nothing more will happen."""
        for node in self.up():
            self.left(node, "this node stops")
        with self.changed:
            self._closed = True
            for subscriber in self._subscribers:
                subscriber.put(None)

    def _tell(self, event: NodeUp | NodeDown) -> None:
        self.changed.notify_all()
        for subscriber in self._subscribers:
            subscriber.put(event)

    async def events(self) -> AsyncIterator[NodeUp | NodeDown]:
        """Give first a NodeUp for each node that is connected, then every change; ends when this node stops."""
        subscriber = _Queue(asyncio.get_running_loop())
        self.subscribe(subscriber)
        try:
            while (event := await subscriber.next()) is not None:
                yield event
        finally:
            with self.changed:
                self._subscribers.pop(subscriber, None)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell a subscriber who is up, then every change, in the moment in which it happens."""
        with self.changed:
            for node in self._up:
                subscriber.put(NodeUp(node))
            self._subscribers[subscriber] = None
            if self._closed:
                subscriber.put(None)


class Subscriber(Protocol):
    """Who wants to know."""

    def put(self, event: NodeUp | NodeDown | None) -> None:
        """Hear of a change, under the lock; None when nothing more will happen."""


class _Queue:
    """One iteration over the events. One that does not keep up loses the oldest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._events: deque[NodeUp | NodeDown | None] = deque(maxlen=EVENTS_MAX)
        self._arrived = asyncio.Event()

    def put(self, event: NodeUp | NodeDown | None) -> None:
        self._events.append(event)
        with contextlib.suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def next(self) -> NodeUp | NodeDown | None:
        while not self._events:
            self._arrived.clear()
            if not self._events:
                await self._arrived.wait()
        return self._events.popleft()
