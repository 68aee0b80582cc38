"""An audience: a set of recipients kept split by worker, so that a send to it costs the same whatever its size."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from manifold import ports
from manifold.core.pid import PID
from manifold.delivery.batch import Packed, Part, PartBatch
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES
from manifold.delivery.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifold.actors import Actor
    from manifold.delivery.partitioner import Partitioner
    from manifold.delivery.receipt import Receipt

__all__ = ["Audience"]


class _Watch:
    """Tells an audience which members have ended, as long as there is the audience."""

    __slots__ = ("_audience",)

    def __init__(self, audience: Audience) -> None:
        self._audience = weakref.ref(audience)

    def on_end(self, pid: PID, reason: str) -> None:  # noqa: ARG002
        if (audience := self._audience()) is not None:
            audience._lost(pid)


class Audience:
    """A set of recipients that is sent to again and again: `manifold.send(audience, message)`.

    A send reaches exactly those who are in it at that moment, in order with all else its owner sends. It costs the
    sender the same however many they are. Changes cost O(1) each. Members that stop leave by themselves, a moment
    after they have stopped. It belongs to the node on which it was made, and to one sender.

    Changes raise TypeError for what is no PID, Overloaded when the queue of a worker is full, and ValueError once the
    audience is closed; then nothing was changed.
    """

    def __init__(self, pids: Iterable[PID] = ()) -> None:
        self._node: Partitioner = ports.host().local
        self._lock = threading.Lock()
        self._members: dict[int, Actor] = {}
        self._parts: dict[int, Part] = {}
        self._epoch = self._node.epoch
        self._closed = False
        self._watch = _Watch(self)
        self.update(pids)

    def add(self, pid: PID) -> None:
        """Take in a recipient. One that is in already, or has stopped, changes nothing."""
        self.update((pid,))

    def discard(self, pid: PID) -> None:
        """Take out a recipient. One that is not in changes nothing."""
        _check(pid)
        self._node.offload.catch_up()
        with self._lock:
            self._check_open()
            if pid.node == self._node.host.id and (actor := self._members.get(pid.id)) is not None:
                self._take_out(actor, HANDOFF_BYTES)

    def update(self, pids: Iterable[PID]) -> None:
        """Take in many recipients."""
        pids = list(pids)
        for pid in pids:
            _check(pid)
        self._node.offload.catch_up()
        with self._lock:
            self._check_open()
            here = self._node.host.id
            found = {pid.id: self._node.find(pid) for pid in pids if pid.node == here and pid.id not in self._members}
            fresh = {number: actor for number, actor in found.items() if actor is not None}
            if fresh:
                self._take_in(fresh)

    def close(self) -> None:
        """Let go of all recipients. What was sent still reaches them. Closing twice is no error."""
        self._node.offload.catch_up()
        with self._lock:
            if not self._closed:
                self._closed = True
                self._members.clear()
                self._let_go()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, pid: object) -> bool:
        return type(pid) is PID and pid.id in self._members and pid.node == self._node.host.id

    def __iter__(self) -> Iterator[PID]:
        return iter([actor.pid for actor in list(self._members.values())])

    def __repr__(self) -> str:
        return f"<Audience of {len(self)}{', closed' if self._closed else ''}>"

    def __del__(self) -> None:
        if hasattr(self, "_parts"):
            self._let_go()

    def _let_go(self) -> None:
        # No lock: this may run inside any other code, where the garbage collector found the audience.
        for lane, part in self._parts.items():
            self._node.leave_behind(lane >> 1, (Worker.drop, part, self._watch))
        self._parts = {}

    def _check_open(self) -> None:
        if self._closed:
            msg = "this audience is closed"
            raise ValueError(msg)

    # Under the audience's lock, then the node's.

    def _take_in(self, fresh: dict[int, Actor]) -> None:
        with self._node.lock:
            self._follow_resize()
            lanes: dict[int, list[Actor]] = {}
            for actor in fresh.values():
                lanes.setdefault(self._node.lane(actor), []).append(actor)
            self._node.check_room({lane >> 1 for lane in lanes}, len(fresh))
            self._members.update(fresh)
            for lane, actors in lanes.items():
                self._join(lane, actors, self._watch)

    def _join(self, lane: int, actors: list[Actor], watch: _Watch | None) -> None:
        part = self._parts.get(lane)
        if part is None:
            part = self._parts[lane] = Part()
        part.counted += len(actors)
        cost = HANDOFF_BYTES + RECIPIENT_BYTES * len(actors)
        self._node.queue_change(lane >> 1, (Worker.join, part, actors, watch, cost), cost)

    def _take_out(self, actor: Actor, cost: int) -> None:
        with self._node.lock:
            self._follow_resize()
            lane = self._node.lane(actor)
            if cost:
                self._node.check_room((lane >> 1,), 1)
            del self._members[actor.pid.id]
            part = self._parts[lane]
            part.counted -= 1
            self._node.queue_change(lane >> 1, (Worker.leave, part, actor, self._watch, cost), cost)

    def _follow_resize(self) -> None:
        """After a resize: define all parts anew, by who owns which member now."""
        if self._epoch == self._node.epoch:
            return
        self._epoch = self._node.epoch
        lanes: dict[int, list[Actor]] = {}
        for actor in self._members.values():
            lanes.setdefault(self._node.lane(actor), []).append(actor)
        self._parts = {}
        for lane, actors in lanes.items():
            self._join(lane, actors, None)

    def _lost(self, pid: PID) -> None:
        """A member has ended; told by its worker."""
        with self._lock:
            if (actor := self._members.get(pid.id)) is not None:
                self._take_out(actor, 0)

    def _count(self, receipt: Receipt | None) -> int:
        """Give the number of members, of a send that is queued later."""
        self._check_open()
        if receipt is not None:
            receipt.expect(len(self._members))
        return len(self._members)

    def _send(self, message: Any, receipt: Receipt | None, data: bytes | None) -> int:
        """Queue a message for every member; how many were shed."""
        with self._lock, self._node.lock:
            self._node.sent += self._count(receipt)
            return self._queue(message, receipt, data)

    def _send_counted(self, message: Any, receipt: Receipt | None, data: bytes | None, counted: int) -> None:
        """The same, of a send that was counted when there were `counted` members. Some may have ended since."""
        with self._lock, self._node.lock:
            self._node.bury(counted - len(self._members), receipt)
            self._queue(message, receipt, data)

    def _queue(self, message: Any, receipt: Receipt | None, data: bytes | None) -> int:
        self._follow_resize()
        shed = sum(self._send_part(lane, part, message, receipt, data) for lane, part in self._parts.items())
        return self._node.refuse(shed, receipt)

    def _send_part(self, lane: int, part: Part, message: Any, receipt: Receipt | None, data: bytes | None) -> int:
        worker = self._node.workers[lane >> 1]
        if self._node.full(worker):
            return part.counted
        if part.counted:
            content = message if data is None else Packed(data)
            self._node.queue_batch(worker, PartBatch(part, content, receipt, HANDOFF_BYTES, bool(lane & 1)))
            self._node.wake(worker)
        return 0


def _check(pid: object) -> None:
    if type(pid) is not PID:
        msg = f"an audience takes PIDs, not {pid!r}"
        raise TypeError(msg)
