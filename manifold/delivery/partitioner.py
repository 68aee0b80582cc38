"""The Partitioner: the table of a node's actors, and the way into the queues of its workers.

The lock of the queues guards the table too, so that a resize, which swaps the table, falls between two sends and
never into one. Splitting a list is done before, outside of it, and again if the table was swapped meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.actors import UNPLACED, ActorDeadError, Begin, Future, Stop, registry
from manifold.actors.waiting import worker_threads
from manifold.core.hashing import SLOT_MASK, mint_id
from manifold.core.pid import PID, link
from manifold.core.routing import assign, reassign
from manifold.delivery import life, moving
from manifold.delivery.batch import Batch
from manifold.delivery.loops import CANCEL_S, LoopThread
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES, Elsewhere, Queues
from manifold.delivery.roster import Roster
from manifold.delivery.worker import Worker
from manifold.errors import NodeStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from manifold.actors import Actor
    from manifold.actors.mailbox import Inbox
    from manifold.delivery.counts import Stats
    from manifold.limits import Limits
    from manifold.ports import Host, Settles, Watcher

__all__ = ["Partitioner"]

logger = logging.getLogger("manifold")

Lanes = list[list["Actor"]]
"""Recipients by lane: 2 * worker, and 1 more for those who may be busy when their turn comes."""


class Partitioner(Queues):
    """The actors and workers of one node."""

    def __init__(
        self,
        host: Host,
        limits: Limits,
        loops: Sequence[asyncio.AbstractEventLoop | LoopThread],
        ids: Iterator[int] | None = None,
    ) -> None:
        super().__init__(host, limits)
        self.actors: dict[int, Actor] = {}
        self.epoch = 0
        self.closed = False
        self.threads: dict[Worker, LoopThread] = {}
        self.workers = [self._hire(index, loop) for index, loop in enumerate(loops)]
        self.empty: Future[None] = Future()
        self._table = assign(len(self.workers))
        self._ids = ids or map(mint_id, itertools.count(1))  # so that no actor has the id 0
        # Actors whose constructor made their PID known before they are started, or never are.
        self._unstarted: weakref.WeakValueDictionary[int, Actor] = weakref.WeakValueDictionary()

    def _hire(self, index: int, loop: asyncio.AbstractEventLoop | LoopThread) -> Worker:
        if not isinstance(loop, LoopThread):
            ident = self.host.around.get_ident()
            worker_threads.add(ident)
            return Worker(self, index, loop, ident)
        worker = Worker(self, index, loop.loop, loop.ident, loop.waker)
        self.threads[worker] = loop
        return worker

    # Actors come and go.

    def mint(self, actor: Actor) -> PID:
        """Give an actor its PID; once."""
        with self.lock:
            pid = actor._mf_pid
            if pid is None:
                pid = self._mint(actor)
                self._unstarted[pid.id] = actor
            return pid

    def _mint(self, actor: Actor) -> PID:
        return self._name(actor, next(self._ids))

    def _name(self, actor: Actor, number: int) -> PID:
        pid = actor._mf_pid = PID(self.host.id, number)
        link(pid, actor)
        return pid

    def expect(self, actor: Actor, number: int) -> None:
        """Give an actor, not started yet, the id that another process has minted for it."""
        with self.lock:
            self._unstarted[number] = actor
            self._name(actor, number)

    def run_first(self, act: Callable[[], object]) -> None:
        """Have something done by the first worker, behind what is queued there."""
        with self.lock:
            self._run(self.workers[0], act)

    def run_by(self, actor: Actor, act: Callable[[], object]) -> None:
        """Have something done by the worker of an actor that is not started yet."""
        with self.lock:
            self._run(self.worker_of(actor), act)

    def _run(self, worker: Worker, act: Callable[[], object]) -> None:
        worker.queue.append((Worker.call, act))
        self.wake(worker)

    def admit(self, actor: Actor) -> None:
        """Start an actor. One with an `on_start` is begun by its worker, before any message."""
        begins = actor._mf_begins() or actor._mf_takeover is not None
        with self.lock:
            self._check_open()
            if actor._mf_pid is None:
                self._mint(actor)
            begins |= actor._mf_lane != UNPLACED
            if not begins:
                self._place(actor)
                actor._mf_home = None if actor._mf_stands_in else self.workers[actor._mf_lane >> 1]
        if not actor._mf_stands_in:
            registry.register(actor.actor_ref)
        if begins:
            with self.lock:
                if actor._mf_lane == UNPLACED:
                    self._place(actor)
                self._queue_control(actor, Begin(), None)

    def abandon(self, actor: Actor) -> None:
        """Give up an actor whose constructor has failed: what was sent to it is dead."""
        actor._mf_abandoned = True
        with self.lock:
            self._queue_control(actor, Stop(), None)

    def _place(self, actor: Actor) -> None:
        number = actor.pid.id
        actor._mf_lane = self._lane_of(actor)
        self.actors[number] = actor
        if self._unstarted:
            self._unstarted.pop(number, None)

    def _lane_of(self, actor: Actor) -> int:
        return 2 * self._table[actor.pid.id & SLOT_MASK] + (actor._mf_stands_in or actor._mf_handles_async())

    def _expect(self, actor: Actor) -> None:
        """Somebody sends to an actor whose constructor made its PID known, and which is not started yet."""
        self._place(actor)
        self.workers[actor._mf_lane >> 1].queue.append((moving.await_birth, actor, ()))

    def find(self, pid: PID) -> Actor | None:
        """Give the running actor of a PID of this node, or None."""
        actor: Actor | None = pid._actor
        return self._find(pid.id) if actor is None else actor  # one with a `__len__` may be false

    def _find(self, number: int) -> Actor | None:
        actor = self.actors.get(number)
        return self._unstarted.get(number) if actor is None else actor

    def remove(self, actor: Actor) -> None:
        """An actor has ended: nobody finds it any more."""
        link(actor.pid, None)
        self.actors.pop(actor.pid.id, None)
        self._check_empty()

    def _check_open(self) -> None:
        if self.closed:
            msg = f"node {self.host.id} is stopped; start another"
            raise NodeStopped(msg)

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

    def behind(self, act: Callable[[], object]) -> None:
        """Do something in order with what the calling thread has offloaded: now, or when that is done."""
        if self.offload.holds():
            self.offload.put(act, HANDOFF_BYTES)
        else:
            act()

    def tell_gone(self, pid: PID, watcher: Watcher) -> None:
        """Tell `watcher` that there is no such actor; behind what it may have offloaded before it ended."""
        if self.offload.busy():
            self.offload.put(lambda: watcher.on_end(pid, life.GONE), HANDOFF_BYTES)
        else:
            watcher.on_end(pid, life.GONE)

    def control(self, actor: Actor, message: Any, reply: Any = None) -> None:
        """Queue a control message: in order with all else the calling thread sends, never shed, not counted."""
        self.behind(lambda: self._control(actor, message, reply))

    def _control(self, actor: Actor, message: Any, reply: Any) -> None:
        with self.lock:
            self._queue_control(actor, message, reply)

    def _queue_control(self, actor: Actor, message: Any, reply: Any) -> None:
        worker = self.worker_of(actor)
        worker.queue.append((Worker.one, actor, message, reply, None, 0))
        self.wake(worker)

    def worker_of(self, actor: Actor) -> Worker:
        return self.workers[self.lane(actor) >> 1]

    def threads_of(self, actor: Actor) -> set[int]:
        """Give the threads of the worker that an actor belongs to, and of the one that it has not left yet."""
        with self.lock:
            workers = [self.worker_of(actor)]
            if actor._mf_home is not None:
                workers.append(actor._mf_home)
            workers += [worker for worker in (*self.workers, *self.former) if id(actor) in worker.leaving]
        return {worker.thread for worker in workers}

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

    def lane(self, actor: Actor) -> int:
        """Give the lane of an actor; one that was not started yet gets its place."""
        if actor._mf_lane == UNPLACED:
            self._expect(actor)
        # One that ended before a resize may have the lane of a worker that is gone: any can tell that it is dead.
        return actor._mf_lane if actor._mf_lane < 2 * len(self.workers) else actor._mf_lane & 1

    # Workers come and go.

    def resize(self, loops: Sequence[LoopThread], workers: int) -> None:
        """Go on with another number of workers; `loops` are for those to be added.

        Every actor whose slot has another owner now moves: its old worker gives it up when it has done what was queued
        there, and its new one holds what comes for it until then.
        """
        with self.lock:
            self._check_open()
            everyone = [*self.workers, *map(self._hire, range(len(self.workers), workers), loops)]
            self._table = reassign(self._table, workers)
            self._relocate(everyone)
            self.workers = everyone[:workers]
            for worker in everyone[workers:]:
                self.former.append(worker)
                worker.queue.append((Worker.retire, True))
                self.wake(worker)
            # Last: who reads the epoch without the lock, and finds it the same under it, saw no half of this.
            self.epoch += 1

    def _relocate(self, everyone: Sequence[Worker]) -> None:
        leaving: dict[Worker, list[tuple[Actor, Worker]]] = {}
        coming: dict[Worker, list[Actor]] = {}
        for actor in list(self.actors.values()):  # workers take out those that end, without the lock
            lane = self._lane_of(actor)
            if lane != actor._mf_lane:
                old, new = everyone[actor._mf_lane >> 1], everyone[lane >> 1]
                leaving.setdefault(old, []).append((actor, new))
                coming.setdefault(new, []).append(actor)
                actor._mf_lane = lane
        for worker, actors in coming.items():
            worker.queue.append((moving.expect, actors))
            self.wake(worker)
        for worker, moves in leaving.items():
            worker.queue.append((moving.release, moves))
            self.wake(worker)

    def settle(self, actor: Actor, worker: Worker, inbox: Inbox, *, unborn: bool = False) -> None:
        """An actor has left its old worker: hand it to the new one, behind all that its thread sent meanwhile."""
        self.behind(lambda: self._settle(actor, worker, inbox, unborn))

    def _settle(self, actor: Actor, worker: Worker, inbox: Inbox, unborn: bool) -> None:
        with self.lock:
            worker.queue.append((moving.arrive, actor, inbox, unborn))
            self.wake(worker)

    def retired(self, worker: Worker) -> None:
        """The last actor has left a worker that is not wanted any more."""
        until = self.host.around.monotonic() + self.limits.stop_grace_s
        self.threads[worker].stop(worker.tasks, until, lambda: self._gone(worker))

    def _gone(self, worker: Worker) -> None:
        self.take_over(worker)
        del self.threads[worker]  # with it goes the file that wakes it

    def worker_threads(self) -> list[int]:
        """Give the identities of the threads that run the workers."""
        return [worker.thread for worker in self.workers]

    # The end.

    def close(self) -> None:
        """Refuse new actors, and have all there are stop after what is queued for them, last started first."""
        self.offload.flush(self.limits.stop_grace_s)
        with self.lock:
            self.closed = True
            for actor in reversed(list(self.actors.values())):
                self._queue_control(actor, Stop(), None)
            self._check_empty()

    def _check_empty(self) -> None:
        if self.closed and not self.actors and not self.empty.is_set():
            self.empty.set()

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
