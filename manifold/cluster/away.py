"""The members of an audience that live on other nodes, where a replica of each node's share is kept.

Definition, changes and sends go down the same ordered link, so they need no protocol of their own to agree.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifold.core.bodies import AudienceChange
from manifold.core.pid import PID
from manifold.core.routing import node_of
from manifold.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from manifold.cluster.cluster import Cluster
    from manifold.ports import Settles

__all__ = ["Away"]


class Away:
    """One audience's members on other nodes; `number` names the audience to them."""

    def __init__(self, cluster: Cluster, number: int, left: Callable[[Sequence[int]], object] | None = None) -> None:
        self.lock = threading.Lock()
        self.number = number
        self._left = left
        self._cluster = cluster
        self._members: dict[str, set[int]] = {}  # by each node that keeps a replica

    def __len__(self) -> int:
        with self.lock:
            return sum(map(len, self._members.values()))

    def __iter__(self) -> Iterator[PID]:
        with self.lock:
            return iter([PID(node_of(place), number) for place, ids in self._members.items() for number in ids])

    def __contains__(self, pid: PID) -> bool:
        return pid.id in self._members.get(self._cluster.places.of(pid), ())

    def __del__(self) -> None:
        # Without the lock, and elsewhere: this may run inside any other code.
        self._cluster.forget_audience(self.number, list(self._members))

    def update(self, groups: Mapping[str, Sequence[PID]]) -> None:
        """Take in recipients, by node. Those on nodes that are not connected stay out. Raises Overloaded."""
        full: dict[str, int] = {}
        with self.lock:
            for node, pids in groups.items():
                if (refused := self._join(node, pids)) is not None:
                    full[node_of(node)] = refused
        if full:
            raise Overloaded(full, sum(full.values()), "the outbox")

    def _join(self, node: str, pids: Sequence[PID]) -> int | None:
        known = self._members.get(node, set())
        fresh = list(dict.fromkeys(pid.id for pid in pids if pid.id not in known))
        if not fresh:
            return None
        taken = self._cluster.change_audience(node, AudienceChange(self.number, joins=True, ids=fresh))
        if taken is None:
            return None
        if taken:
            self._members.setdefault(node, set()).update(fresh[:taken])
        return len(fresh) - taken or None

    def discard(self, pid: PID) -> None:
        """Take one out. Raises Overloaded when the outbox to its node is full."""
        with self.lock:
            if pid not in self:
                return
            change = AudienceChange(self.number, joins=False, ids=[pid.id])
            place = self._cluster.places.of(pid)
            if self._cluster.change_audience(place, change) == 0:
                raise Overloaded([pid.node], 1, "the outbox")
            self._drop(place, [pid.id])

    # For one that stands in for an audience of another node, which was granted room.

    def take_in(self, groups: Mapping[str, Sequence[int]]) -> list[int]:
        """Take in recipients by place, whatever waits there; give those that stayed out."""
        outside: list[int] = []
        with self.lock:
            for place, ids in groups.items():
                change = AudienceChange(self.number, joins=True, ids=ids)
                if self._cluster.change_audience(place, change, must_fit=False):
                    self._members.setdefault(place, set()).update(ids)
                else:
                    outside += ids
        return outside

    def take_out(self, place: str, number: int) -> None:
        """Take one out, whatever waits there."""
        with self.lock:
            if number in self._members.get(place, ()):
                change = AudienceChange(self.number, joins=False, ids=[number])
                self._cluster.change_audience(place, change, must_fit=False)
                self._drop(place, [number])

    def close(self) -> None:
        """Let go of all."""
        with self.lock:
            self._cluster.forget_audience(self.number, list(self._members))
            self._members = {}

    def counts(self) -> dict[str, int]:
        """Give how many there are on each node. Under the lock."""
        return {node: len(ids) for node, ids in self._members.items() if ids}

    def send(self, node: str, members: int, wire: bytes, receipt: Settles | None) -> int:
        """Hand a message to the members on a node; how many were shed. Under the lock.

        An offloaded one may find that the node went down since they were counted, and is back: they have left then.
        """
        if node not in self._members:
            return self._cluster.give_up(node, members, receipt)
        return self._cluster.send_audience(node, self.number, members, wire, receipt)

    def left(self, node: str, ids: Sequence[int]) -> None:
        """Members have ended; told by their node."""
        with self.lock:
            self._drop(node, ids)
            self._tell(ids)

    def lost(self, node: str) -> None:
        """A node has gone down."""
        with self.lock:
            self._tell(list(self._members.pop(node, ())))

    def _tell(self, ids: Sequence[int]) -> None:
        if self._left is not None and ids:
            self._left(ids)

    def _drop(self, node: str, ids: Sequence[int]) -> None:
        # A node whose last member has left stays: it keeps a replica, and has to hear when the audience is closed.
        self._members.get(node, set()).difference_update(ids)
