"""A roster: those members of an audience that live on one node, kept split by worker.

The owner of an audience has one for its own node; every other node with members keeps one as a replica.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from manifold.core.audience import Replica
from manifold.delivery.batch import Part
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES
from manifold.delivery.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from manifold.actors import Actor
    from manifold.core.pid import PID
    from manifold.delivery.partitioner import Partitioner
    from manifold.ports import Settles

__all__ = ["Roster"]


class _Watch:
    """Tells a roster which members have ended, as long as there is the roster."""

    __slots__ = ("_roster",)

    def __init__(self, roster: Roster) -> None:
        self._roster = weakref.ref(roster)

    def on_end(self, pid: PID, reason: str) -> None:  # noqa: ARG002
        if (roster := self._roster()) is not None:
            roster.lost(pid)


class Roster:
    """Members on this node. Its own lock is taken before the node's.

    Changes raise Overloaded when a worker's queue is full, and change nothing then. A replica has `left`, which is
    called on its worker for each member that has ended, with its id and the number of the last join; it refuses
    nothing, as its owner was granted room.
    """

    def __init__(self, node: Partitioner, left: Callable[[int, int], None] | None = None) -> None:
        self.lock = threading.Lock()
        self._replica: Replica[Actor] = Replica()
        self._node = node
        self._left = left
        self._parts: dict[int, Part] = {}
        self._epoch = node.epoch
        self._watch = _Watch(self)

    @property
    def members(self) -> dict[int, Actor]:
        """The members, by id."""
        return self._replica.members

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[PID]:
        return iter([actor.pid for actor in list(self.members.values())])

    def __del__(self) -> None:
        self._let_go()

    def update(self, pids: Iterable[PID], join: int = 0) -> list[int]:
        """Take in actors of this node, a replica with a join of its owner's; give the ids of those that have ended."""
        with self.lock:
            found = {pid.id: self._node.find(pid) for pid in pids if pid.id not in self.members}
            self._take_in([actor for actor in found.values() if actor is not None])
            return self._replica.join(found, join)

    def discard(self, number: int) -> None:
        """Take out the actor with this id, if it is in."""
        with self.lock:
            if (actor := self.members.get(number)) is not None:
                self._take_out(actor, HANDOFF_BYTES)

    def close(self) -> None:
        """Let go of all. What was sent still reaches them."""
        with self.lock:
            self.members.clear()
            self._let_go()

    def lost(self, pid: PID) -> None:
        """A member has ended; told by its worker."""
        with self.lock:
            if (actor := self.members.get(pid.id)) is None:
                return
            self._take_out(actor, 0)
            last_join = self._replica.last_join
        if self._left is not None:
            self._left(pid.id, last_join)

    def has_more_than(self, counted: int) -> bool:
        """Tell whether the sender of a message counts fewer members than there are. Under the roster's lock."""
        return self._replica.ended(counted) < 0

    def send(self, message: Any, receipt: Settles | None, counted: int, uncounted: int) -> int:
        """Queue a message for every member; how many were shed. Under the roster's lock.

        `counted` is how many members its sender counted: those that ended since are counted dead. `uncounted` of
        them are not counted as sent yet.
        """
        with self._node.lock:
            self._node.sent += uncounted
            self._node.bury(self._replica.ended(counted), receipt)
            self._follow_resize()
            return self._node.refuse(self._send_parts(message, receipt), receipt)

    def _send_parts(self, message: Any, receipt: Settles | None) -> int:
        node, parts, shed = self._node, self._parts, 0
        entry = (Worker.parts, parts, message, receipt, HANDOFF_BYTES)  # one for all workers
        for worker in node.workers:
            counted = sum(parts[lane].counted for lane in worker.lanes if lane in parts)
            if node.full(worker):
                shed += counted
            elif counted:
                node.queue_message(worker, entry, HANDOFF_BYTES, receipt, counted)
        return shed

    def _let_go(self) -> None:
        # No lock: this may run inside any other code, where the garbage collector found the roster.
        # It waits until its worker is awake anyway; one that is gone has no use for it.
        for part in self._parts.values():
            part.worker.queue.append((Worker.drop, part, self._watch))
        self._parts = {}

    # Under the roster's lock, then the node's.

    def _take_in(self, fresh: Collection[Actor]) -> None:
        if not fresh:
            return
        with self._node.lock:
            self._follow_resize()
            lanes = self._by_lane(fresh)
            if self._left is None:
                self._node.check_room({lane >> 1 for lane in lanes}, len(fresh))
            for lane, actors in lanes.items():
                self._join(lane, actors, self._watch)

    def _by_lane(self, members: Iterable[Actor]) -> dict[int, list[Actor]]:
        lanes: dict[int, list[Actor]] = {}
        for actor in members:
            lanes.setdefault(self._node.lane(actor), []).append(actor)
        return lanes

    def _join(self, lane: int, actors: list[Actor], watch: _Watch | None) -> None:
        part = self._parts.get(lane)
        if part is None:
            part = self._parts[lane] = Part(self._node.workers[lane >> 1])
        part.counted += len(actors)
        cost = HANDOFF_BYTES + RECIPIENT_BYTES * len(actors)
        self._node.queue_change(lane >> 1, (Worker.join, part, actors, watch, cost), cost)

    def _take_out(self, actor: Actor, cost: int) -> None:
        with self._node.lock:
            self._follow_resize()
            lane = self._node.lane(actor)
            if cost and self._left is None:
                self._node.check_room((lane >> 1,), 1)
            self._replica.leave(actor.pid.id)
            part = self._parts[lane]
            part.counted -= 1
            self._node.queue_change(lane >> 1, (Worker.leave, part, actor, self._watch, cost), cost)

    def _follow_resize(self) -> None:
        """After a resize: define all parts anew, by who owns which member now."""
        if self._epoch == self._node.epoch:
            return
        self._epoch = self._node.epoch
        self._parts = {}
        for lane, actors in self._by_lane(self.members.values()).items():
            self._join(lane, actors, None)
