"""The queues of a node's workers, and the counts of all that was ever meant to go through them.

One lock guards what is queued and what is counted as sent. A worker counts for itself, without it, what it has
settled; so that is read before what was sent.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifold.actors import Future
from manifold.delivery.counts import Stats
from manifold.errors import Overloaded
from manifold.ports import DEAD, SHED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from manifold.delivery.offload import Offload
    from manifold.delivery.worker import Entry, Worker
    from manifold.limits import Limits
    from manifold.ports import Host, Settles

__all__ = ["HANDOFF_BYTES", "RECIPIENT_BYTES", "Elsewhere", "Queues"]

Elsewhere = tuple[int, int, int, int, int]
"""What became of messages to other nodes: delivered, dead, shed, unreachable; and hand-offs to them."""

HANDOFF_BYTES = 256
RECIPIENT_BYTES = 8
"""What a queued hand-off takes, and each recipient listed in it."""


class Queues:
    """The queues of one node's workers."""

    def __init__(self, host: Host, limits: Limits) -> None:
        self.host = host
        self.limits = limits
        self.lock = threading.Lock()
        self.workers: list[Worker] = []
        self.former: list[Worker] = []
        self.offload: Offload = host.around.offload(f"{host.id}-sender", limits.offload_queue_max_bytes, self.relieve)
        self.ended = False
        self.sent = 0
        self._settled = [0, 0, 0]
        self._relief: list[Future[None]] = []

    # Queueing. All under the lock.

    def queue_message(self, worker: Worker, entry: Entry, cost: int, receipt: Settles | None, recipients: int) -> None:
        """Queue a message for some recipients on one worker."""
        worker.queued_bytes += cost
        worker.queue.append(entry)
        if receipt is not None and receipt.own:
            receipt.await_thread(worker.thread, recipients)
        self.wake(worker)

    def wake(self, worker: Worker) -> None:
        """Have a worker look at its queue, if it rests."""
        if not worker.awake:
            worker.awake = True
            worker.wake()

    def queue_change(self, index: int, entry: Entry, cost: int) -> None:
        """Queue a change of an audience's part; of a node that has ended nobody would take it."""
        if self.ended:
            return
        worker = self.workers[index]
        worker.queued_bytes += cost
        worker.queue.append(entry)
        self.wake(worker)

    def check_room(self, workers: Iterable[int], changes: int) -> None:
        """Raise Overloaded if one of these workers has no room for a change."""
        if any(self.full(self.workers[index]) for index in workers):
            raise self.overloaded(changes)

    def rest(self, worker: Worker) -> bool:
        """Let a worker rest, unless something was queued meanwhile."""
        with self.lock:
            worker.awake = bool(worker.queue)
            return not worker.awake

    def refuse(self, shed: int, receipt: Settles | None) -> int:
        """Count what a full queue refused."""
        self._settle_here(receipt, SHED, shed)
        return shed

    def bury(self, dead: int, receipt: Settles | None) -> None:
        """Count what was for actors that are not there."""
        self._settle_here(receipt, DEAD, dead)

    def _settle_here(self, receipt: Settles | None, cause: int, number: int) -> None:
        if receipt is None or receipt.own:
            self._settled[cause] += number
        if receipt is not None and number:
            receipt.settle(self.host.id, cause, number)

    def holds_too_much(self, items: int) -> bool:
        """Tell whether so many held messages are as much as may wait for a worker."""
        return items * HANDOFF_BYTES >= self.limits.worker_queue_max_bytes

    def full(self, worker: Worker) -> bool:
        return worker.queued_bytes - worker.done_bytes >= self.limits.worker_queue_max_bytes

    def overloaded(self, shed: int) -> Overloaded:
        """Give the error of a send that found a queue full."""
        return Overloaded([self.host.id], shed, "a worker's queue")

    def behind(self, act: Callable[[], object]) -> None:
        """Do something in order with what the calling thread has offloaded: now, or when that is done."""
        if self.offload.holds():
            self.offload.put(act, HANDOFF_BYTES)
        else:
            act()

    # What is counted elsewhere than in a queue.

    def count_sent(self, number: int) -> None:
        """Count what will be queued, or settled, later."""
        with self.lock:
            self.sent += number

    def count_dead(self, number: int) -> None:
        """Count what was sent to actors that are not there."""
        with self.lock:
            self.sent += number
            self.bury(number, None)

    def give_up(self, cause: int, number: int, receipt: Settles | None) -> None:
        """Count what will be in no queue."""
        with self.lock:
            self._settle_here(receipt, cause, number)

    # Room.

    def queued_bytes(self) -> int:
        """Give what waits for all workers."""
        return sum(worker.queued_bytes - worker.done_bytes for worker in (*self.workers, *self.former))

    def take_over(self, worker: Worker) -> None:
        """Keep the counts of a worker that is gone."""
        with self.lock:
            if worker not in self.former:
                return
            self.former.remove(worker)
            self._settled = [before + now for before, now in zip(self._settled, worker.counts, strict=True)]

    def roomy(self) -> bool:
        """Tell whether every queue is below its high-water mark."""
        share = self.limits.drain_below
        below = share * self.limits.worker_queue_max_bytes
        offload = self.offload.queued_bytes < share * self.limits.offload_queue_max_bytes
        return (
            offload
            and self.host.cluster.roomy()
            and all(worker.queued_bytes - worker.done_bytes < below for worker in self.workers)
        )

    def relief(self) -> Future[None]:
        """Give a future that is done when there is room."""
        future: Future[None] = Future()
        with self.lock:
            self._relief.append(future)
        self.relieve()
        return future

    def relieve(self) -> None:
        """Tell those who wait for room, if there is; to be called whenever something was worked off, or given up."""
        if self._relief and (self.ended or self.roomy()):
            with self.lock:
                waiting, self._relief = self._relief, []
            for future in waiting:
                future.set(None)

    def counts(self, actors: int, elsewhere: Elsewhere) -> Stats:
        """Count."""
        with self.lock:
            return self.count(actors, elsewhere)

    def count(self, actors: int, elsewhere: Elsewhere) -> Stats:
        """Count, without the lock: only where no worker comes or goes.

        What was settled is read before what was sent, so that nothing is ever settled but not sent.
        """
        here = [worker.counts for worker in (*self.workers, *self.former)]
        delivered, dead, shed = map(sum, zip(self._settled, elsewhere[:3], *here, strict=True))
        sent = self.sent
        unreachable, handoffs = elsewhere[3:]
        in_flight = sent - delivered - dead - shed - unreachable
        return Stats(
            sent, delivered, dead, shed, unreachable, in_flight,
            actors, len(self.workers), self.queued_bytes(), handoffs,
        )  # fmt: skip
