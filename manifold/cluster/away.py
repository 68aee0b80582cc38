"""The members of an audience that live on other nodes, where a replica of each node's share is kept.

Definition, changes and sends go down the same ordered link, so they need no protocol of their own to agree.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from manifold.core.audience import Roll
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
    """One audience's members on other nodes; `number` names the audience to them.

    `left` is told which members have ended, and the number of the last join that they can have come in with.
    """

    def __init__(self, cluster: Cluster, number: int, left: Callable[[Sequence[int], int], object] | None) -> None:
        self.lock = threading.Lock()
        self.number = number
        self._left = left
        self._cluster = cluster
        self._roll = Roll()
        self._joins = itertools.count(1)

    def __len__(self) -> int:
        with self.lock:
            return len(self._roll)

    def __iter__(self) -> Iterator[PID]:
        with self.lock:
            return iter([PID(node_of(place), number) for place, number in self._roll])

    def __contains__(self, pid: PID) -> bool:
        return self._roll.has(self._cluster.places.of(pid), pid.id)

    def __del__(self) -> None:
        # Without the lock, and elsewhere: this may run inside any other code.
        self._cluster.forget_audience(self.number, self._roll.places())

    def update(self, groups: Mapping[str, Sequence[PID]]) -> None:
        """Take in recipients, by node. Those on nodes that are not connected stay out. Raises Overloaded."""
        full: dict[str, int] = {}
        with self.lock:
            for node, pids in groups.items():
                fresh = self._roll.fresh(node, (pid.id for pid in pids))
                taken = self._join(node, fresh, next(self._joins)) if fresh else None
                if taken is not None and taken < len(fresh):
                    full[node_of(node)] = len(fresh) - taken
        if full:
            raise Overloaded(full, sum(full.values()), "the outbox")

    def _join(self, place: str, ids: Sequence[int], join: int, *, must_fit: bool = True) -> int | None:
        """Take in as many as the place is told of; how many. None if it is not connected."""
        taken = self._cluster.change_audience(place, AudienceChange(self.number, join, ids), must_fit=must_fit)
        if taken:
            self._roll.join(place, ids[:taken], join)
        return taken

    def discard(self, pid: PID) -> None:
        """Take one out. Raises Overloaded when the outbox to its node is full."""
        with self.lock:
            if not self._leave(self._cluster.places.of(pid), pid.id):
                raise Overloaded([pid.node], 1, "the outbox")

    def _leave(self, place: str, number: int, *, must_fit: bool = True) -> bool:
        """Take one out, if it is in; False if there is no room to say so."""
        if self._roll.has(place, number):
            change = AudienceChange(self.number, 0, [number])
            if self._cluster.change_audience(place, change, must_fit=must_fit) == 0:
                return False
            self._roll.leave(place, number)
        return True

    # For one who passes on an audience of another node, which was granted room.

    def take_in(self, groups: Mapping[str, Sequence[int]], join: int) -> list[int]:
        """Take in recipients by place, with a join of the owner's, whatever waits there; give those that stayed out."""
        with self.lock:
            taken = {place: self._join(place, ids, join, must_fit=False) or 0 for place, ids in groups.items()}
        return [number for place, ids in groups.items() for number in ids[taken[place] :]]

    def take_out(self, place: str, number: int) -> None:
        """Take one out, whatever waits there."""
        with self.lock:
            self._leave(place, number, must_fit=False)

    def close(self) -> None:
        """Let go of all."""
        with self.lock:
            self._cluster.forget_audience(self.number, self._roll.places())
            self._roll.clear()

    def counts(self) -> dict[str, int]:
        """Give how many there are on each node. Under the lock."""
        return self._roll.counts()

    def send(self, node: str, members: int, wire: bytes, receipt: Settles | None) -> int:
        """Hand a message to the members on a node; how many were shed. Under the lock.

        An offloaded one may find that the node went down since they were counted, and is back: they have left then.
        """
        if not self._roll.keeps(node):
            return self._cluster.give_up(node, members, receipt)
        return self._cluster.send_audience(node, self.number, members, wire, receipt)

    def left(self, node: str, ids: Sequence[int], join: int) -> None:
        """Members have ended that came in with this join or before; told by their node."""
        with self.lock:
            self._tell(self._roll.left(node, ids, join), join)

    def lost(self, node: str) -> None:
        """A node has gone down."""
        with self.lock:
            self._tell(*self._roll.lost(node))

    def _tell(self, ids: Sequence[int], join: int) -> None:
        if self._left is not None and ids:
            self._left(ids, join)
