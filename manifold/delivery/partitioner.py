"""The Partitioner: the way into the queues of a node's workers, for one recipient and for many.

Splitting a list over the workers is done outside of the lock, and again if a resize swapped the table meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.actors import UNPLACED, ActorDeadError, Stop
from manifold.delivery import life
from manifold.delivery.batch import Batch
from manifold.delivery.loops import CANCEL_S
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES, Elsewhere
from manifold.delivery.roster import Roster
from manifold.delivery.table import Table
from manifold.delivery.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from manifold.actors import Actor
    from manifold.core.pid import PID
    from manifold.delivery.counts import Stats
    from manifold.ports import Settles

__all__ = ["Partitioner"]

logger = logging.getLogger("manifold")

Lanes = list[list["Actor"]]
"""Recipients by lane: 2 * worker, and 1 more for those who may be busy when their turn comes."""


class Partitioner(Table):
    """The way to the actors of one node."""

    # To one.

    def post(self, actor: Actor, message: Any, reply: Any = None, receipt: Settles | None = None) -> None:
        """Queue one message for one actor. Raises Overloaded, with all counted, when its worker's queue is full."""
        if self.offload.holds():
            with self.lock:
                self.sent += 1
            self.offload.put(lambda: self._post_later(actor, message, reply, receipt), HANDOFF_BYTES)
            return
        with self.lock:
            self.sent += 1
            taken = self._post(actor, message, reply, receipt)
        if not taken:
            raise self.overloaded(1)

    def _post_later(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> None:
        with self.lock:
            taken = self._post(actor, message, reply, receipt)
        if not taken and reply is not None:
            error = self.overloaded(1)
            reply.set_exception((type(error), error, None))

    def _post(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> bool:
        worker = self.worker_of(actor)
        if self.full(worker):
            self.refuse(1, receipt)
            return False
        worker.queued_bytes += HANDOFF_BYTES
        worker.queue.append((Worker.one, actor, message, reply, receipt, HANDOFF_BYTES))
        self.wake(worker)
        return True

    def control(self, actor: Actor, message: Any, reply: Any = None) -> None:
        """Queue a control message: in order with all else the calling thread sends, never shed, not counted."""
        self.behind(lambda: self._control(actor, message, reply))

    def _control(self, actor: Actor, message: Any, reply: Any) -> None:
        with self.lock:
            self._queue_control(actor, message, reply)

    # To many.

    def send_running(
        self, recipients: Sequence[PID], message: Any, receipt: Settles | None, uncounted: int
    ) -> int | None:
        """Queue a message for actors that all run here, one batch per worker; how many were shed.

        None, with nothing done, when one of the recipients is anything else. Of a `Sealed` message they get copies.
        `uncounted` is how many are not counted as sent yet.
        """
        return self._send_split(partial(self._split, recipients), message, receipt, uncounted)

    def _send_split(
        self,
        split: Callable[[int], Lanes | None],
        message: Any,
        receipt: Settles | None,
        uncounted: int,
    ) -> int | None:
        while True:
            epoch = self.epoch
            versions = [worker.version for worker in self.workers]
            if (lanes := split(len(versions))) is None:
                return None
            with self.lock:
                if epoch == self.epoch:
                    self.sent += uncounted
                    return self._queue_lanes(lanes, versions, message, receipt)

    def send(self, pids: Sequence[PID], message: Any, receipt: Settles | None) -> int:
        """The same for any PIDs of this node (copies, actors that have ended or are not started yet); not counting."""
        return self._send_found(
            lambda: [actor for pid in pids if (actor := self.find(pid)) is not None], len(pids), message, receipt
        )

    def _send_found(self, find: Callable[[], list[Actor]], number: int, message: Any, receipt: Settles | None) -> int:
        """Queue a message for those of `number` recipients that are found; how many were shed. The others are dead."""
        while True:
            epoch = self.epoch
            versions = [worker.version for worker in self.workers]
            found = find()
            if (filled := self._fill(found, len(versions))) is None:
                continue
            lanes, unplaced = filled
            with self.lock:
                if epoch == self.epoch:
                    self.bury(number - len(found), receipt)
                    shed = self._queue_lanes(lanes, versions, message, receipt)
                    return shed + sum(not self._post(actor, message, None, receipt) for actor in unplaced)

    # What comes from other nodes, where it was counted as sent. All of it has a receipt, or what stands for one.

    def take(self, ids: Sequence[int], message: Any, receipt: Settles) -> None:
        """Queue a message for the actors with these ids."""
        if self._send_split(partial(self._split_ids, ids), message, receipt, 0) is None:
            self._send_found(lambda: self._find_all(ids), len(ids), message, receipt)

    def _find_all(self, ids: Sequence[int]) -> list[Actor]:
        return [actor for number in ids if (actor := self._find(number)) is not None]

    def _split_ids(self, ids: Sequence[int], workers: int) -> Lanes | None:
        lanes: Lanes = [[] for _ in range(2 * workers)]
        try:
            for actor in map(self.actors.get, ids):
                lanes[actor._mf_lane].append(actor)  # type: ignore[union-attr, arg-type]
        except (AttributeError, IndexError):
            return None
        return lanes

    def take_one(self, number: int, message: Any, reply: Any, receipt: Settles) -> None:
        """Queue a message, or a question, for the actor with this id."""
        actor = self._find(number)
        with self.lock:
            if actor is None:
                self.bury(1, receipt)
            elif self._post(actor, message, reply, receipt):
                return
        if reply is None:
            return
        error = ActorDeadError(f"{self.host.id}/{number} not found") if actor is None else self.overloaded(1)
        reply.set_exception((type(error), error, None))

    def roster(self, left: Callable[[int, int], None]) -> Roster:
        """Give a replica for the members of another node's audience; it is never refused room."""
        return Roster(self, left)

    def _split(self, recipients: Sequence[PID], workers: int) -> Lanes | None:
        lanes: Lanes = [[] for _ in range(2 * workers)]
        node = self.host.id
        try:
            for pid in recipients:
                if pid.node is not node:
                    return None
                actor = pid._actor
                lanes[actor._mf_lane].append(actor)
        except (AttributeError, IndexError, TypeError):
            return None
        return lanes

    def _fill(self, actors: Iterable[Actor], workers: int) -> tuple[Lanes, list[Actor]] | None:
        """Give actors by lane, and those that have none yet; None if a resize came between, to look again."""
        lanes: Lanes = [[] for _ in range(2 * workers)]
        unplaced: list[Actor] = []
        try:
            for actor in actors:
                lane = actor._mf_lane
                (unplaced if lane == UNPLACED else lanes[lane]).append(actor)
        except IndexError:
            return None
        return lanes, unplaced

    def _queue_lanes(self, lanes: Lanes, versions: Sequence[int], message: Any, receipt: Settles | None) -> int:
        shed = 0
        for worker, version, plain, busying in zip(self.workers, versions, lanes[::2], lanes[1::2], strict=True):
            if not (plain or busying):
                continue
            if self.full(worker):
                shed += len(plain) + len(busying)
                continue
            for actors, is_async in ((plain, False), (busying, True)):
                if actors:
                    cost = HANDOFF_BYTES + RECIPIENT_BYTES * len(actors)
                    batch = Batch(actors, message, receipt, version, cost, is_async)
                    self.queue_message(worker, (Worker.batch, batch), cost, receipt, len(actors))
        return self.refuse(shed, receipt)

    # The end.

    def close(self) -> None:
        """Refuse new actors, and have all there are stop after what is queued for them, last started first."""
        self.offload.flush(self.limits.stop_grace_s)
        with self.lock:
            self.closed = True
            for actor in reversed(list(self.actors.values())):
                self._queue_control(actor, Stop(), None)
            self._check_empty()

    def work_off_here(self) -> None:
        """Work off the queue of the one worker, on its own thread; what is suspended is given up."""
        self.workers[0].work_off()
        self.workers[0].cancel()

    async def work_off_loop(self, timeout_s: float) -> bool:
        """Wait, on the loop of the one worker, until all have stopped; False if they have not in time."""
        worker = self.workers[0]
        try:
            async with asyncio.timeout(timeout_s):
                await self.empty
                while others := worker.tasks - {asyncio.current_task()}:
                    await asyncio.wait(others)
        except TimeoutError:
            return False
        return True

    async def cancel_here(self) -> None:
        """Cancel what is still suspended on the loop of the one worker, and give it a moment to end."""
        worker = self.workers[0]
        worker.cancel()
        if worker.tasks:
            await asyncio.wait(worker.tasks, timeout=CANCEL_S)

    def runs(self) -> bool:
        """Tell whether the workers' loops do anything at all: one that is not ours may have ended."""
        return all(worker.loop.is_running() for worker in self.workers)

    def end_threads(self, until: float) -> None:
        """End the workers' threads; handlers and hooks that are suspended have until then."""
        threads = list(self.threads.items())
        for worker, thread in threads:
            thread.stop(worker.tasks, until)
        for worker, thread in threads:
            if not thread.join(until):
                logger.warning("worker %d of %s is stuck in a handler", worker.index, self.host.id)

    def bury_all(self) -> None:
        """Count what is left as dead, for nothing runs here any more."""
        self.offload.flush(CANCEL_S)
        self.offload.close()
        self.ended = True
        for actor in list(self.actors.values()):
            life.bury(self.workers[0], actor)
        for worker in [*self.workers, *self.former]:
            worker.abandon()
        self.relieve()

    def stats(self, elsewhere: Elsewhere) -> Stats:
        """Give the node's counts."""
        return self.counts(len(self.actors), elsewhere)
