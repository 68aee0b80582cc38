"""The table of a node's actors, and which worker runs each; a resize moves about as many as it must.

The lock of the queues guards the table too, so that a resize, which swaps the table, falls between two sends and
never into one.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any

from manifold.actors import UNPLACED, Begin, Future, Stop, registry
from manifold.actors.waiting import worker_threads
from manifold.core.hashing import SLOT_MASK, mint_id
from manifold.core.pid import PID, link
from manifold.core.routing import assign, reassign
from manifold.delivery import life, moving
from manifold.delivery.loops import LoopThread
from manifold.delivery.queues import HANDOFF_BYTES, Queues
from manifold.delivery.worker import Worker
from manifold.errors import NodeStopped

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence

    from manifold.actors import Actor
    from manifold.actors.mailbox import Inbox
    from manifold.limits import Limits
    from manifold.ports import Host, Watcher

__all__ = ["Table"]


class Table(Queues):
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

    def tell_gone(self, pid: PID, watcher: Watcher) -> None:
        """Tell `watcher` that there is no such actor; behind what it may have offloaded before it ended."""
        if self.offload.busy():
            self.offload.put(lambda: watcher.on_end(pid, life.GONE), HANDOFF_BYTES)
        else:
            watcher.on_end(pid, life.GONE)

    def _check_empty(self) -> None:
        if self.closed and not self.actors and not self.empty.is_set():
            self.empty.set()

    def _check_open(self) -> None:
        if self.closed:
            raise NodeStopped(self.host.id)

    # Where one is.

    def lane(self, actor: Actor) -> int:
        """Give the lane of an actor; one that was not started yet gets its place."""
        if actor._mf_lane == UNPLACED:
            self._expect(actor)
        # One that ended before a resize may have the lane of a worker that is gone: any can tell that it is dead.
        return actor._mf_lane if actor._mf_lane < 2 * len(self.workers) else actor._mf_lane & 1

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

    def _queue_control(self, actor: Actor, message: Any, reply: Any) -> None:
        worker = self.worker_of(actor)
        worker.queue.append((Worker.one, actor, message, reply, None, 0))
        self.wake(worker)

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
