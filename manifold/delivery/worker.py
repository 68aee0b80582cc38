"""A worker runs its share of a node's actors on one event loop: batches in the order queued, each in slices.

An idle actor's handler is called straight from the batch. That costs nothing per recipient but the call, because
what could forbid it is kept track of elsewhere: `version` counts the actors that ended or left this worker, and
`unsettled` those that are busy or arriving. A batch made at this version, with nobody unsettled, has idle
recipients only; any other is checked one by one.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from manifold import ports
from manifold.actors import CONTROL, PROXY, Begin, Unwatch, Watch
from manifold.core.codec import Sealed, decode
from manifold.delivery import life, moving
from manifold.delivery.batch import PartBatch
from manifold.delivery.busy import keep, occupy
from manifold.delivery.receipt import log_unreadable
from manifold.errors import CodecError
from manifold.ports import DELIVERED, SHED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from manifold.actors import Actor, mailbox
    from manifold.delivery.batch import Batch, Part
    from manifold.delivery.table import Table
    from manifold.delivery.waking import Waker
    from manifold.ports import Settles, Watcher

    Rest = Coroutine[Any, Any, Any] | None

__all__ = ["Worker"]

logger = logging.getLogger("manifold")

CHUNK = 512
"""Recipients between two looks at the clock, at most; fewer while handlers are slow."""

Entry = tuple[Any, ...]
"""A method of Worker, or a function that takes one first, and the other arguments."""

_SINGLY = CONTROL | PROXY


class Worker:
    """One worker of a node. All methods but `wake` and `abandon` run on its event loop's thread."""

    def __init__(
        self,
        node: Table,
        index: int,
        loop: asyncio.AbstractEventLoop,
        thread: int,
        waker: Waker | None = None,
    ) -> None:
        self.node = node
        self.index = index
        self.lanes = (2 * index, 2 * index + 1)
        self.loop = loop
        self.thread = thread
        self.queue: deque[Entry] = deque()
        self.awake = False  # under the node's lock, as is queued_bytes
        self.queued_bytes = 0
        self.done_bytes = 0
        self.counts = [0, 0, 0]
        self.version = 0
        self.unsettled = 0
        # By the identity of the actor, which is kept alive beside: its class may define `==` and `hash` as it likes.
        self.visits: dict[int, deque[moving.Visit]] = {}
        self.unborn: dict[int, tuple[Actor, mailbox.Inbox]] = {}
        self.leaving: dict[int, tuple[Actor, Worker]] = {}
        self.draining = False
        self.retiring = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.slice_s = node.limits.slice_s
        self._chunk = CHUNK
        # What was decoded last, and from what: for all in a row who are to get it.
        self._sealed: Sealed | None = None
        self._unsealed: Any = None
        self.perf_counter = node.host.around.perf_counter
        self.context = contextvars.copy_context()
        self.context.run(ports.current.set, node.host)
        self._waker = waker
        if waker is not None:
            waker.woken = partial(self.context.run, self._drain)

    def settle(self, receipt: Settles | None, cause: int, number: int) -> None:
        """Account for some recipients: in this node's counts, unless another node counted them as sent."""
        if receipt is None or receipt.own:
            self.counts[cause] += number
        if receipt is not None and number:
            receipt.settle(self.node.host.id, cause, number)

    # From any thread.

    def wake(self) -> None:
        """Have the queue worked off; to be called by whoever set `awake`."""
        try:
            if self._waker is None:
                self.loop.call_soon_threadsafe(self._drain, context=self.context)
            else:
                self._waker.wake()
        except RuntimeError:
            if not self.node.closed:  # else what still comes in is counted as dead, at the end of the stop
                logger.error("the event loop of %s is closed, but the node was not stopped", self.node.host.id)

    # The queue.

    def _drain(self) -> None:
        queue, perf_counter = self.queue, self.perf_counter
        until = perf_counter() + self.slice_s
        self.draining = True
        try:
            while perf_counter() < until:
                if queue:
                    method, *args = queue.popleft()
                    method(self, *args)
                elif self.node.rest(self):
                    self._sealed = self._unsealed = None
                    break
            else:
                self.wake()
            self.node.relieve()
        except BaseException:
            # Nothing may end a worker: what went wrong was outside of every handler.
            logger.critical("worker %d of %s went on after:", self.index, self.node.host.id, exc_info=True)
            self.wake()
        finally:
            self.draining = False

    def work_after(self, act: Callable[[], object]) -> None:
        """Do something on this thread, then handle what it has queued, right away if this worker was at rest."""
        with self.node.lock:
            rested, self.awake = not self.awake, True
        act()
        if rested:
            self._drain()

    def work_off(self) -> None:
        """Work off all that is queued, now."""
        while self.queue:
            method, *args = self.queue.popleft()
            method(self, *args)

    def call(self, act: Callable[[], object]) -> None:
        """Do something that is no message, in its turn."""
        act()

    # One message.

    def one(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None, cost: int) -> None:
        """Hand one message to one actor."""
        self.done_bytes += cost
        if actor._mf_home is self:
            self._call(actor, message, reply, receipt)
        else:
            self.defer(actor, message, reply, receipt)

    def _call(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> None:
        if (rest := self.turn(actor, message, reply, receipt)) is not None:
            occupy(self, actor, rest, None if type(message) in CONTROL else reply)

    def turn(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> Rest:
        """Give an actor its turn with a message or a control message; gives what is still to be awaited."""
        if type(message) in CONTROL:
            return life.control(self, actor, message, reply)
        if type(message) is Sealed:
            try:
                message = self.opened(message)
            except CodecError as error:
                self.refuse_one(error, reply, receipt)
                return None
        if receipt is None or reply is not None:  # counted before its answer can be seen
            self.settle(receipt, DELIVERED, 1)
            return self.handle(actor, message, reply)
        rest = self.handle(actor, message, reply)
        self.settle(receipt, DELIVERED, 1)
        return rest

    def handle(self, actor: Actor, message: Any, reply: Any) -> Rest:
        """Call the handler, and answer; or give the coroutine that is still to be awaited, and answered with."""
        try:
            result = actor._handle_receive(message) if type(message) in PROXY else actor.on_receive(message)
        except BaseException as error:  # noqa: BLE001
            return life.failed(self, actor, error, reply)
        if type(result) is CoroutineType:
            return result
        if reply is not None:
            reply.set(result)
        return None

    def opened(self, content: Any) -> Any:
        """Give a message, decoded if it waited encoded: once for all who get it in a row. CodecError if it is none."""
        if type(content) is not Sealed:
            return content
        if content is not self._sealed:
            self._unsealed = decode(content)
            self._sealed = content
        return self._unsealed

    def _refuse(self, error: CodecError, receipt: Settles | None, number: int) -> None:
        """Account for those who were to get what cannot be read."""
        if receipt is None:
            log_unreadable(error)
        else:
            receipt.unreadable(error)
        self.settle(receipt, SHED, number)

    def refuse_one(self, error: CodecError, reply: Any, receipt: Settles | None) -> None:
        self._refuse(error, receipt, 1)
        if reply is not None:
            reply.set_exception((CodecError, error, None))

    # Many.

    def batch(self, batch: Batch) -> None:
        """Hand a message to many actors, a chunk at a time."""
        if not batch.at:
            try:
                batch.open(self)
            except CodecError as error:
                self.done_bytes += batch.cost
                self._refuse(error, batch.receipt, len(batch.waiting()))
                return
        actors = batch.actors
        stop = batch.at + self._chunk
        started = self.perf_counter()
        self._chunk_of(batch, actors[batch.at : stop] if batch.at or stop < len(actors) else actors)
        self._pace(self.perf_counter() - started)
        batch.at = stop
        if stop < len(actors):
            self.queue.appendleft((Worker.batch, batch))
        else:
            self.done_bytes += batch.cost
            self.settle(batch.receipt, DELIVERED, batch.delivered)
            batch.close(self)

    def _pace(self, took: float) -> None:
        if took > self.slice_s:
            self._chunk = max(1, self._chunk // 4)
        elif self._chunk < CHUNK:
            self._chunk *= 2

    def _chunk_of(self, batch: Batch, actors: Sequence[Actor]) -> None:
        if type(batch.message) in _SINGLY:
            for actor in actors:
                self.one(actor, batch.message, None, batch.receipt, 0)
            return
        run = self._run_async if batch.is_async else self._run
        outside = run(actors, batch)
        batch.outside += outside
        if batch.receipt is None:
            self.counts[DELIVERED] += len(actors) - outside
        else:  # told once for the whole batch, for that takes locks
            batch.delivered += len(actors) - outside

    def _run_async(self, actors: Sequence[Actor], batch: Batch) -> int:
        message = batch.message
        outside = 0
        for actor in actors:
            if actor._mf_home is not self:
                outside += 1
                self.defer(actor, batch.content, None, batch.receipt)
            elif (rest := self.handle(actor, message, None)) is not None:
                occupy(self, actor, rest, None)
        return outside

    def _run(self, actors: Sequence[Actor], batch: Batch) -> int:
        """The hot loop; how many were not idle here. After an exception it goes on behind the one who raised."""
        message, version = batch.message, batch.version
        outside = 0
        waiting = iter(actors)
        while True:
            try:
                if version == self.version and not self.unsettled:
                    for actor in waiting:
                        actor.on_receive(message)
                else:
                    for actor in waiting:
                        if actor._mf_home is self:
                            actor.on_receive(message)
                        else:
                            outside += 1
                            self.defer(actor, batch.content, None, batch.receipt)
            except BaseException as error:  # noqa: BLE001
                if (rest := life.failed(self, actor, error, None)) is not None:
                    occupy(self, actor, rest, None)
            else:
                return outside

    # Audience parts.

    def parts(self, parts: Mapping[int, Part], message: Any, receipt: Settles | None, cost: int) -> None:
        """Hand a message to an audience's parts here, by lane: `parts` has those of other workers, too."""
        for lane in reversed(self.lanes):
            if (part := parts.get(lane)) is not None:
                self.queue.appendleft((Worker.batch, PartBatch(part, message, receipt, cost, bool(lane & 1))))
                cost = 0

    def join(self, part: Part, actors: Sequence[Actor], watch: Watcher | None, cost: int) -> None:
        """Take actors into an audience's part here, and see to it that the audience hears of their end."""
        self.done_bytes += cost
        part.join(actors)
        if watch is not None:
            message = Watch(watch)
            for actor in actors:
                self.one(actor, message, None, None, 0)

    def leave(self, part: Part, actor: Actor, watch: Watcher, cost: int) -> None:
        """Take one out."""
        self.done_bytes += cost
        part.leave(actor)
        self.one(actor, Unwatch(watch), None, None, 0)

    def drop(self, part: Part, watch: Watcher) -> None:
        """Forget a part altogether."""
        message = Unwatch(watch)
        for actor in part.drop():
            self.one(actor, message, None, None, 0)

    # Who comes to be idle here, and who is not.

    def come_home(self, actor: Actor, inbox: mailbox.Inbox) -> None:
        """Take an idle actor in, and hand it what waited for it next: that does not make it busy."""
        actor._mf_home = self
        self.queue.extendleft([(Worker.one, actor, *item, 0) for item in reversed(inbox)])

    def defer(self, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> None:
        """A message for an actor that is dead, busy, not here yet, or a stand-in for an ordinary Pykka actor."""
        if actor._mf_dead:
            life.dead_letter(self, actor, message, reply, receipt)
        elif (visits := self.visits.get(id(actor))) is not None:
            moving.hold(self, visits[-1].inbox, actor, (message, reply, receipt))
        elif id(actor) in self.unborn:
            moving.defer_unborn(self, actor, message, reply, receipt)
        elif type(message) is Begin:
            moving.begin(self, actor, deque())
        elif actor._mf_stands_in:
            self.forward(actor, message, reply, receipt)
        else:
            keep(self, actor, (message, reply, receipt))

    def forward(self, actor: Any, message: Any, reply: Any, receipt: Settles | None) -> None:
        if type(message) in CONTROL:
            life.control(self, actor, message, reply)
            return
        try:
            message = self.opened(message)
        except CodecError as error:
            self.refuse_one(error, reply, receipt)
            return
        if not actor.forward(message, reply):
            life.dead_letter(self, actor, message, reply, receipt)
        else:
            self.settle(receipt, DELIVERED, 1)

    # When it is no longer wanted, or the node stops.

    def retire(self, now: bool = False) -> None:  # noqa: FBT002
        """Stop the event loop once the last actor has left, if this worker is no longer wanted."""
        self.retiring |= now
        if self.retiring and not (self.leaving or self.visits or self.unborn):
            self.retiring = False
            self.node.retired(self)

    def cancel(self) -> None:
        """End handlers and hooks that are still suspended."""
        for task in list(self.tasks):
            task.cancel()

    def abandon(self) -> None:
        """Count all that still waits here as dead. Only when nothing runs on this worker any more, or never will."""
        while self.queue:
            method, *args = self.queue.popleft()
            if method is Worker.one:
                self.done_bytes += args[4]
                life.dead_letter(self, *args[:4])
            elif method is Worker.batch:
                self.done_bytes += args[0].cost
                life.dead_batch(self, args[0])
            elif method is Worker.parts:
                method(self, *args)
            elif method is moving.arrive:
                life.dead_letters(self, *args[:2])
            elif method in (Worker.join, Worker.leave):  # so that a batch behind them knows for whom it was
                method(self, *args)
        for visits in self.visits.values():
            for visit in visits:
                life.dead_letters(self, visit.actor, visit.inbox)
        for actor, inbox in self.unborn.values():
            life.dead_letters(self, actor, inbox)
