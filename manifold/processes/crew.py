"""The worker processes of a node: one thread starts them, reads from them, and starts those again that die.

What goes to a worker is written by whoever sends it; this thread writes only what the socket did not take at once.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from manifold.actors import Future
from manifold.core.bodies import AudienceChange, Kind
from manifold.core.codec import decode, encode
from manifold.core.hashing import SLOTS, mint_ids
from manifold.core.routing import SlotPlaces, assign
from manifold.errors import ManifoldError, Overloaded
from manifold.processes import logs
from manifold.processes.classes import check_importable, pack_call
from manifold.processes.launch import check_allowed, introduce, launch, main_module
from manifold.processes.member import Member
from manifold.processes.nest import CrewNest
from manifold.processes.restarts import Restarts
from manifold.processes.split import Split, Workers
from manifold.processes.talk import Counts, Setup, Word, absent_place, worker_place
from manifold.transport.waking import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from manifold.core.pid import PID
    from manifold.core.views import View
    from manifold.limits import Limits
    from manifold.ports import Host
    from manifold.transport.pipe import Frame

__all__ = ["Crew"]

logger = logging.getLogger("manifold")

START_S = 60.0
"""How long the first start of all workers may take, `on_worker_start` included."""
END_S = 1.0
"""How long a worker that was told to exit may take, beyond the node's grace, before it is killed."""
_IDLE_S = 1.0
_BUSY_S = 0.02


class Crew:
    """The worker processes of one node."""

    def __init__(
        self, host: Host, name: str, workers: int, on_start: Callable[[], object] | None, limits: Limits
    ) -> None:
        check_allowed()
        self._host = host
        self._name = name
        self._limits = limits
        self._workers = workers
        self._on_start = _packed(on_start)
        self._table = assign(workers + 1)  # the last part is the main process's own, for those that live in it
        self.places = SlotPlaces(host.id, [self._place(index) for index in self._table])
        forgotten: deque[tuple[Workers, int, Sequence[str]]] = deque()
        self._forgotten = forgotten
        self.cluster = Workers(limits, self.places, forgotten)
        self.relayed = Workers(limits, self.places, forgotten)
        self.intake = Split(host, self.relayed, host.id, counts=False)
        self._ids = mint_ids({slot for slot in range(SLOTS) if self._table[slot] != workers})
        self._eras = itertools.count(1)
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._members: dict[int, Member] = {}
        self._restarts = [Restarts(limits.worker_restarts_max, limits.worker_restart_window_s) for _ in range(workers)]
        self._due: dict[int, float] = dict.fromkeys(range(workers), 0.0)
        self._former = Counts()
        self._nodes: dict[str, tuple[int, str]] = {}
        self._channels = itertools.count(3)
        self._known: set[type] = set()
        self._failure = ""
        self._closing = False
        self._ended = False
        self._end_at: float | None = None
        self._waker = Waker()
        self._stuck: deque[Member] = deque()
        self._owed: set[Member] = set()  # those that may have to be told of room
        self._selector = selectors.DefaultSelector()
        self._words: dict[int, Callable[[Member, Frame], None]] = {
            Word.READY: self._on_ready,
            Word.FAILED: self._on_failed,
            Word.COUNTS: self._on_counts,
            Word.LOG: lambda _, frame: logs.handle(frame.body),
            Word.EMPTY: self._on_empty,
            Word.NODE_DOWN: self._on_node_down,
            Word.STOP_NODE: lambda _m, _f: threading.Thread(target=host.stop, name=f"{name}-stop").start(),
        }
        self.nest = CrewNest(self, host.id)
        self._thread = threading.Thread(target=self._run, name=f"{name}-workers", daemon=True)

    def _place(self, index: int) -> str:
        return self._host.id if index == self._workers else worker_place(self._host.id, index)

    def own_ids(self) -> Iterator[int]:
        """Give ids for the actors that live in the main process."""
        return mint_ids({slot for slot in range(SLOTS) if self._table[slot] == self._workers})

    def start(self) -> None:
        """Start the workers, and wait until they are ready. Raises ManifoldError if they do not come up."""
        self._waker.open()
        self._selector.register(self._waker.file, selectors.EVENT_READ)
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._is_complete(), START_S)
            failure = self._failure or ("" if self._is_complete() else f"not ready after {START_S} seconds")
        if failure:
            msg = f"the workers of {self._host.id} did not start: {failure}"
            raise ManifoldError(msg)

    def _is_complete(self) -> bool:
        return len(self._members) == self._workers and all(member.is_ready for member in self._members.values())

    # From any thread.

    def launch(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Start an actor in the worker that its id falls to; give the id. Does not wait for its constructor.

        Raises TypeError for a class that cannot be imported there and arguments that cannot be pickled; Overloaded
        where no worker has room, or none runs.
        """
        return self.assign(cls, args, kwargs, Word.START)

    def assign(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], word: Word) -> int:
        """Have an actor started (START), or made and not begun yet (CONCEIVE: without waiting for its class there)."""
        data = pack_call(cls, args, kwargs)
        for _ in range(self._workers):
            with self._lock:
                number = next(self._ids)
            member = self._members.get(self._table[number & (SLOTS - 1)])
            if member is not None:
                if word is Word.START:
                    self._make_known(cls, member)
                if member.own.start(word, number, data):
                    return number
        raise Overloaded([self._host.id], 0, "every worker process")

    def _make_known(self, cls: type, member: Member) -> None:
        """See to it, the first time, that a worker process can import a class."""
        if cls in self._known:
            return
        check_importable(cls)
        future: Future[bool] = Future()
        member.own.know(cls, future)
        try:
            future.get(timeout=START_S)
        except Exception as error:
            msg = f"{cls!r} cannot be imported in a worker process: {error}"
            raise TypeError(msg) from error
        self._known.add(cls)

    def inquire(self, what: str, pid: PID, reply: Any) -> None:
        """Stop an actor of a worker, or ask whether it lives."""
        peer = self.cluster.peers.get(self.places.of(pid))
        if peer is None:
            reply.set(False)
        else:
            peer.inquire(what, pid, reply)  # type: ignore[attr-defined]

    def node_up(self, node: str, address: str) -> None:
        """Tell the workers of another node, before anything of it comes to them."""
        with self._lock:
            number = next(self._channels)
            self._nodes[node] = number, address
            for member in self._members.values():
                member.open(number, node, Split(self._host, self.cluster, node, counts=True))
                member.own.put(Word.NODE_UP, [encode([number, node, address])])

    def node_down(self, node: str, reason: str) -> None:
        """Tell the workers that it has gone down."""
        with self._lock:
            if (known := self._nodes.pop(node, None)) is not None:
                for member in self._members.values():
                    member.own.put(Word.NODE_DOWN, [encode([known[0], node, reason])])

    def tell_view(self, view: View) -> None:
        """Tell the workers by which view their node goes."""
        with self._lock:
            for member in self._members.values():
                member.own.put(Word.VIEW, [pickle.dumps(view)])

    def counts(self) -> Counts:
        """Give the counts of all workers, and of those there were."""
        with self._lock:
            members = [member.counts for member in self._members.values()]
            return Counts(*map(sum, zip(self._former, *members, strict=True)))

    def pending_bytes(self) -> int:
        """Give what waits for all workers."""
        return sum(member.pipe.pending_bytes for member in list(self._members.values()))

    def writes(self) -> int:
        """Give how many frames were written to the workers that run."""
        return sum(member.pipe.writes for member in list(self._members.values()))

    @property
    def size(self) -> int:
        """How many workers there are to be."""
        return self._workers

    def pids(self) -> list[int]:
        """Give the process ids of the workers that run, by index."""
        return [member.process.pid for _, member in sorted(self._members.items())]

    @property
    def ident(self) -> int | None:
        """The identity of the thread."""
        return self._thread.ident

    # The thread.

    def _run(self) -> None:
        while not self._ended:
            try:
                self._turn()
            except Exception:
                logger.critical("the workers' thread of %s went on after:", self._host.id, exc_info=True)
        self._selector.close()
        self._waker.close()

    def _turn(self) -> None:
        for index, at in list(self._due.items()):
            if at <= time.monotonic():
                del self._due[index]
                self._launch(index)
        self._tell_forgotten()
        self._select(self._timeout())
        self._end_late()

    def _timeout(self) -> float:
        moments = [*self._due.values(), *([] if self._end_at is None else [self._end_at])]
        until = min(moments, default=float("inf")) - time.monotonic()
        self._owed = {member for member in self._owed if member.tell_room()}
        return max(0.0, min(until, _BUSY_S if self._owed else _IDLE_S))

    def _select(self, timeout: float) -> None:
        events = self._selector.select(timeout if self._waker.sleep() else 0.0)
        self._waker.rise()
        while self._stuck:
            self._watch(self._stuck.popleft(), selectors.EVENT_READ | selectors.EVENT_WRITE)
        for key, mask in events:
            member = key.data
            if member is None:
                self._waker.drain()
                continue
            if mask & selectors.EVENT_WRITE and member.pipe.flush():
                self._watch(member, selectors.EVENT_READ)
            if mask & selectors.EVENT_READ:
                self._read(member)

    def _watch(self, member: Member, events: int) -> None:
        with suppress(KeyError, ValueError):  # it has ended
            self._selector.modify(member.pipe, events, member)

    def _wake(self, member: Member) -> None:
        self._stuck.append(member)
        self._waker.wake()

    def _read(self, member: Member) -> None:
        frames = member.pipe.read()
        if frames is None:
            self._lose(member)
            return
        self._owed.add(member)
        for frame in frames:
            try:
                self._handle(member, frame)
            except Exception:
                logger.critical("a frame of a worker of %s was lost to:", self._host.id, exc_info=True)
            member.pipe.handled(frame)

    def _handle(self, member: Member, frame: Frame) -> None:
        word = self._words.get(frame.kind)
        if word is not None:
            word(member, frame)
        elif (peer := member.peers.get(frame.channel)) is not None:
            peer.handle(frame.kind, frame.body)

    # How workers come.

    def _launch(self, index: int) -> None:
        if self._closing:
            return
        try:
            process, sock = launch(f"{self._name}-worker-{index}")
        except OSError as error:
            self._retry(index, f"it could not be started: {error}")
            return
        with self._lock:
            member = Member(
                self._host, worker_place(self._host.id, index), index, process, sock, self._limits, self._wake
            )
            member.open_all(self.cluster, self.relayed, self._nodes)
            self._selector.register(member.pipe, selectors.EVENT_READ, member)
            introduce(member.pipe, self._setup(index))
            # In this order: what comes to it comes behind that, and who has an actor started there reaches it.
            self.cluster.peers[member.place] = member.own
            self.relayed.peers[member.place] = member.relayed
            self._members[index] = member

    def _setup(self, index: int) -> Setup:
        here, there = self._host.id, absent_place(self._host.id)
        places = tuple(here if owner == index else there for owner in self._table)
        module, packed = self._on_start
        return Setup(
            self._host.id, self._name, index, self._workers, next(self._eras), places, self._limits, os.getpid(),
            main_module(), module == "__main__", packed, logs.levels(), self._host.address,  # type: ignore[attr-defined]
            [(number, node, address) for node, (number, address) in self._nodes.items()], self._host.directory.view,
        )  # fmt: skip

    def _on_ready(self, member: Member, frame: Frame) -> None:  # noqa: ARG002
        with self._changed:
            member.is_ready = True
            self._changed.notify_all()

    def _on_failed(self, member: Member, frame: Frame) -> None:
        member.failure = str(decode(frame.body))

    def _on_counts(self, member: Member, frame: Frame) -> None:
        with self._lock:
            member.count(Counts.unpack(frame.body))
        self._host.local.relieve()

    def _on_node_down(self, member: Member, frame: Frame) -> None:
        # The worker has heard of it: nothing comes on that channel any more.
        if (peer := member.peers.pop(frame.channel, None)) is not None:
            peer.down()

    # How they go.

    def _lose(self, member: Member) -> None:
        """A worker has ended: its actors are dead, and so is what was on the way to them."""
        self._selector.unregister(member.pipe)
        self._owed.discard(member)
        how = _how(member.process)
        if member.failure:
            how = f"{how}: {member.failure}"
        with self._lock:
            self._members.pop(member.index, None)
        member.own.end = member.relayed.end = f"worker process died: {how}"
        self.cluster.drop(member.own)
        self.relayed.drop(member.relayed)
        with self._lock:
            self._former = Counts(*map(sum, zip(self._former, member.final(), strict=True)))
        member.close()
        with self._changed:
            if not member.is_ready and not self._failure:
                self._failure = how
            self._changed.notify_all()
        if not self._closing:
            self._retry(member.index, how)

    def _retry(self, index: int, how: str) -> None:
        delay_s = self._restarts[index].delay_s(time.monotonic())
        if delay_s is None:
            logger.critical("worker %d of %s died (%s) once too often: it stays away", index, self._host.id, how)
            return
        logger.error("worker %d of %s died (%s); it is started again in %g s", index, self._host.id, how, delay_s)
        self._due[index] = time.monotonic() + delay_s

    def _tell_forgotten(self) -> None:
        while self._forgotten:
            cluster, number, nodes = self._forgotten.popleft()
            parts = AudienceChange(number, 0, ()).pack()
            for place in nodes:
                if (peer := cluster.peers.get(place)) is not None:
                    peer.put(Kind.AUDIENCE_CHANGE, parts)

    # The end.

    def close(self) -> None:
        """Have every worker stop its actors, behind what is queued for it; none is started again."""
        self._closing = True
        for member in list(self._members.values()):
            member.own.put(Word.CLOSE, [])

    def _on_empty(self, member: Member, frame: Frame) -> None:  # noqa: ARG002
        with self._changed:
            member.is_empty = True
            self._changed.notify_all()

    def wait_empty(self, until: float) -> int:
        """Wait until the actors of all workers have stopped; how many have not in time."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(member.is_empty for member in self._members.values()), max(0.0, until - time.monotonic())
            )
        return self.counts().actors

    def end(self, until: float) -> None:
        """End the workers, by force where they do not go, and the thread."""
        self._closing = True
        for member in list(self._members.values()):
            member.own.put(Word.EXIT, [])
        self._end_at = max(until, time.monotonic()) + END_S
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(self._end_at - time.monotonic() + 2 * END_S)

    def _end_late(self) -> None:
        if self._end_at is None:
            return
        if time.monotonic() >= self._end_at:
            for member in list(self._members.values()):
                logger.warning("worker %d of %s is stuck; it is killed", member.index, self._host.id)
                member.process.kill()
                self._lose(member)
        self._ended = not self._members


def _packed(on_start: Callable[[], object] | None) -> tuple[str, bytes]:
    if on_start is None:
        return "", b""
    if not callable(on_start):
        msg = f"on_worker_start must be a function, not {on_start!r}"
        raise TypeError(msg)
    check_importable(on_start)
    return on_start.__module__, pickle.dumps(on_start)


def _how(process: subprocess.Popen[bytes]) -> str:
    """Wait for a process that has closed its end, and say how it ended."""
    try:
        status = process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
