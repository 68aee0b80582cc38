"""The node as the actors of one worker process see it: what is not theirs goes up, as one write for each node."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from manifold import ports
from manifold.actors.waiting import helpers
from manifold.cluster.answers import Reply
from manifold.cluster.cluster import Cluster
from manifold.cluster.intake import Intake
from manifold.cluster.membership import Membership
from manifold.core.bodies import QUESTION_BYTES, AudienceChange, Kind, Question
from manifold.core.codec import decode, encode
from manifold.core.hashing import mint_ids
from manifold.core.link_terms import LinkError
from manifold.core.pid import PID
from manifold.core.routing import SlotPlaces
from manifold.delivery.counts import Stats
from manifold.delivery.loops import LoopThread
from manifold.delivery.nest import Nest
from manifold.delivery.partitioner import Partitioner
from manifold.node import Node
from manifold.processes.peer import PipePeer
from manifold.processes.talk import OTHERS, OWN, RELAYED, Room, Setup, Word, absent_place
from manifold.transport.pipe import Pipe, cost_of
from manifold.transport.waking import Waker
from manifold.worker.directory import UpDirectory
from manifold.worker.reports import Reports
from manifold.worker.starts import bear_actor, conceive_actor, find_class, import_main, start_actor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from manifold.delivery.worker import Worker
    from manifold.transport.pipe import Frame

__all__ = ["WorkerNode"]

logger = logging.getLogger("manifold")

_LOOK_S = 1.0
"""How often a worker looks whether its main process is still there, should the end of the pipe not have told it."""
_MUCH_BYTES = 1 << 20
_TELLING = frozenset({Kind.ANSWER, Kind.OUTCOME, Kind.DOWN})


class _Share(Partitioner):
    """The share of a node's actors that lives in one worker process."""

    host: WorkerNode

    def relieve(self) -> None:
        super().relieve()
        self.host.reports.soon()


class _UpPeer(PipePeer):
    """A conversation with the main process: counts are told before what could be compared with them."""

    def put(self, kind: int, parts: Sequence[bytes]) -> bool | None:
        if kind in _TELLING:
            self._host.reports.now()  # type: ignore[attr-defined]
        return super().put(kind, parts)


class WorkerNode(Node):
    """A node's worker process. Its main thread is the guard: it ends the process when the main process has ended, and
    reads in the place of the event loop while a handler blocks.
    """

    def __init__(self, setup: Setup, sock: socket.socket, body_bytes: int) -> None:
        self._setup = setup
        self._waker = Waker()
        self._waker.open()
        self._over = threading.Event()
        self._reading = threading.Lock()
        self._frames: deque[Frame] = deque()  # read, and not handled yet
        self._lent = 0
        self._status = 0
        self.pipe = Pipe(sock, setup.limits.outbox_max_bytes, self._write_later)
        self.pipe.read_bytes = cost_of(body_bytes)
        self._sock = sock
        self._thread = LoopThread(f"{setup.name}-worker-{setup.worker}")
        places = SlotPlaces(setup.node, setup.places)
        self._describe(setup.name, setup.node, "process", setup.limits)
        self._peers: dict[int, PipePeer] = {}
        self.reports = Reports(self.pipe, self._peers, min(_MUCH_BYTES, setup.limits.worker_queue_max_bytes // 8))
        own = {slot for slot, place in enumerate(setup.places) if place == setup.node}
        self._furnish(places, Cluster(setup.limits, places), Membership(), Intake(self))
        self._inhabit(_Share(self, setup.limits, [self._thread], mint_ids(own, setup.era)))
        self.directory = UpDirectory(self, setup.view)  # type: ignore[assignment]
        self.nest = Nest(self.local)
        self.reports.local = self.local
        for number, place in ((OWN, self.id), (RELAYED, self.id), (OTHERS, absent_place(self.id))):
            self._open(number, place)
        for number, node, address in setup.nodes:
            self._node_up(number, node, address)
        self._words: dict[int, Callable[[Frame], object]] = {
            Word.START: lambda frame: start_actor(self.nest, frame.body),
            Word.CONCEIVE: lambda frame: conceive_actor(self.nest, frame.body),
            Word.BEAR: lambda frame: bear_actor(self.nest, frame.body),
            Word.TAKE_OVER: self._on_take_over,
            Word.VIEW: self._on_view,
            Word.KNOW: self._on_know,
            Word.ROOM: self._on_room,
            Word.NODE_UP: lambda frame: self._node_up(*decode(frame.body)),  # type: ignore[misc]
            Word.NODE_DOWN: lambda frame: self._node_down(*decode(frame.body)),  # type: ignore[misc]
            Word.CLOSE: lambda _: self.local.run_first(self._begin_close),  # behind the actors that are to start
            Word.EXIT: lambda _: self._end(0),
        }
        helpers[self._thread.ident] = self._lend

    def _open(self, number: int, place: str) -> None:
        peer = _UpPeer(place, self.pipe, number, self, self.cluster.members_left, self.intake)
        self._peers[number] = peer
        if number not in (OWN, RELAYED):
            self.cluster.peers[place] = peer

    # Its life, on the main thread.

    def run(self) -> int:
        """Serve until the main process says that it is over, or has ended; the exit status."""
        worker = self.local.workers[0]
        # The loop's thread may be in the worker's context just now: this one must not enter it.
        self._thread.loop.call_soon_threadsafe(self._begin, worker, context=worker.context)
        while not self._over.is_set():
            self._guard()
        helpers.clear()
        self.local.end_threads(max(self._stop_until, time.monotonic()))
        self.local.bury_all()
        self.reports.now()
        self._flush_all(time.monotonic() + _LOOK_S)
        self.pipe.close()
        ports.hosts.pop(self.id, None)
        return self._status

    def _begin(self, worker: Worker) -> None:
        task = self._thread.loop.create_task(self._prepare())
        worker.tasks.add(task)
        task.add_done_callback(worker.tasks.discard)

    async def _prepare(self) -> None:
        try:
            if self._setup.begins_in_main:
                import_main()
            if self._setup.on_start:
                result = pickle.loads(self._setup.on_start)()  # noqa: S301
                if asyncio.iscoroutine(result):
                    await result
        except BaseException as error:  # noqa: BLE001
            self._tell(Word.FAILED, encode(f"{type(error).__name__}: {error}".encode(errors="replace").decode()))
            self._end(1)
        else:
            self._tell(Word.READY, b"")
            self._thread.loop.add_reader(self.pipe, self._read_and_work)

    def _tell(self, word: Word, body: bytes) -> None:
        with suppress(LinkError):
            self.pipe.send(OWN, word, [body], must_fit=False)

    def _guard(self) -> None:
        if self._lent and self._frames:
            self._read()
        poller = select.poll()
        poller.register(self._waker.file, select.POLLIN)
        poller.register(self._sock, select.POLLIN if self._lent else 0)
        events = poller.poll(_LOOK_S * 1000 if self._waker.sleep() else 0)
        self._waker.rise()
        for file, event in events:
            if file == self._waker.file:
                self._waker.drain()
            elif event & select.POLLIN and self._lent:
                self._read()
            elif event & ~select.POLLIN and not self._over.is_set():
                os._exit(1)
        if os.getppid() != self._setup.parent:
            os._exit(1)
        self._tell_forgotten()
        self.reports.now()

    def _tell_forgotten(self) -> None:
        forgotten = self.cluster.forgotten
        while forgotten:
            number, places = forgotten.popleft()
            for place in places:
                if (peer := self.cluster.peers.get(place)) is not None:
                    peer.put(Kind.AUDIENCE_CHANGE, AudienceChange(number, 0, ()).pack())

    def _lend(self, waits: bool) -> None:
        """A handler begins to block, or has: then the guard reads what the event loop cannot."""
        self._lent += 1 if waits else -1
        self._waker.wake()

    def _end(self, status: int) -> None:
        self._status = status
        self._over.set()
        self._waker.wake()

    def _flush_all(self, until: float) -> None:
        while not self.pipe.flush() and time.monotonic() < until:
            select.select([], [self._sock], [], 0.1)

    # What comes in, on the event loop, or the guard while that is blocked.

    def _read_and_work(self) -> None:
        """Read, and work it off without going through the event loop once more.

        The first actor of a class is constructed before others of it are made: else CPython, which lets the instances
        of a class share their keys, gives each a dict of its own, and every handler takes half as long again.
        """
        worker = self.local.workers[0]
        worker.work_after(lambda: self._read(until_new=True))
        while self._frames:
            worker.work_after(lambda: self._read(until_new=True))

    def _read(self, *, until_new: bool = False) -> None:
        """Handle what has come in; if so told, up to the first actor of a class."""
        with self._reading:
            frames = self._frames
            if not frames:
                frames.extend(self._come_in())
            is_new: object = False
            while frames and not (is_new and until_new):
                is_new = self._handle(frame := frames.popleft())
                self.pipe.handled(frame)
        self.reports.soon()

    def _come_in(self) -> list[Frame]:
        frames = self.pipe.read()
        if frames is None:
            os._exit(1)
        return frames

    def _handle(self, frame: Frame) -> object:
        """Do what a frame says; whether it has brought the first actor of a class."""
        try:
            word = self._words.get(frame.kind)
            if word is not None:
                return word(frame)
            if (peer := self._peers.get(frame.channel)) is not None:
                peer.handle(frame.kind, frame.body)
        except Exception:
            logger.critical("a frame was lost to:", exc_info=True)
        return None

    def _write_later(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._thread.loop.call_soon_threadsafe(self._watch_room)

    def _watch_room(self) -> None:
        self._thread.loop.add_writer(self.pipe, self._write)

    def _write(self) -> None:
        if self.pipe.flush():
            self._thread.loop.remove_writer(self.pipe)

    def _on_room(self, frame: Frame) -> None:
        self.pipe.told(*Room.unpack(frame.body))
        self.local.relieve()

    def _on_take_over(self, frame: Frame) -> None:
        number = int.from_bytes(frame.body[:8], "little")
        self.nest.take_over(PID(self.id, number), bytes(frame.body[8:]))

    def _on_view(self, frame: Frame) -> None:
        self.directory.view = pickle.loads(frame.body)  # type: ignore[misc]  # noqa: S301

    def _on_know(self, frame: Frame) -> None:
        question = Question.unpack(frame.body)
        own = self._peers[OWN]
        reply = Reply(question.number, lambda answer: own.put(Kind.ANSWER, answer.pack()), 1 << 20)
        try:
            find_class(*decode(frame.body[QUESTION_BYTES:]))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001
            reply.set_exception((type(error), error, error.__traceback__))
        else:
            reply.set(True)

    def _node_up(self, number: int, node: str, address: str) -> None:
        self._open(number, node)
        self._membership.joined(node, address)

    def _node_down(self, number: int, node: str, reason: str) -> None:
        peer = self._peers.pop(number)
        self.cluster.peers.pop(node, None)
        self.reports.handed_before += peer.handed
        peer.down()
        self.cluster.vacate(node)
        self._membership.left(node, reason)
        with suppress(LinkError):
            self.pipe.send(number, Word.NODE_DOWN, [], must_fit=False)

    # What differs from a node in one process.

    def inquire(self, what: str, pid: Any, reply: Any) -> None:
        if self.places.of(pid) != self.id:
            others = self._peers[OTHERS]
            self.local.behind(lambda: others.inquire(what, pid, reply))
        else:
            super().inquire(what, pid, reply)

    @property
    def address(self) -> str:
        return self._setup.address

    def stats(self) -> Stats:
        """Give the counts of this worker alone: of what its actors sent to each other. `Node.stats()` in the main
        process gives those of the whole node.
        """
        counts = self.reports.counts()
        settled = counts.delivered + counts.dead + counts.shed + counts.unreachable
        return Stats(
            counts.sent, counts.delivered, counts.dead, counts.shed, counts.unreachable, counts.sent - settled,
            counts.actors, self._setup.workers, self.local.queued_bytes(), self.pipe.writes,
        )  # fmt: skip

    def stop(self) -> None:
        """Have the main process stop the node. Returns at once."""
        if not self._over.is_set():
            self._tell(Word.STOP_NODE, b"")

    async def aclose(self) -> None:
        self.stop()

    def _begin_close(self) -> None:
        threading.Thread(target=self._close, name="close", daemon=True).start()

    def _close(self) -> None:
        """Let all that is queued be handled and the actors stop; then say so."""
        self._begin_stop()
        stopped = asyncio.run_coroutine_threadsafe(
            self.local.work_off_loop(self.limits.stop_grace_s), self._thread.loop
        )
        if not stopped.result():
            self._log_late()
        self._membership.close()
        self.reports.now()
        self._tell(Word.EMPTY, b"")
