"""A node: builds everything, starts it upward, stops it downward."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal, Self

from manifold import ports
from manifold.actors import AskTimeout
from manifold.cluster.cluster import Cluster
from manifold.cluster.directory import Directory
from manifold.cluster.hub import Hub
from manifold.cluster.intake import Intake
from manifold.cluster.membership import Membership
from manifold.core.pid import PID
from manifold.core.routing import Places
from manifold.delivery.nest import Nest
from manifold.delivery.partitioner import Partitioner
from manifold.errors import NodeStopped
from manifold.hosting import Hosting
from manifold.limits import Limits
from manifold.options import addresses, check_kind, check_workers, checked_name, checked_roles, cores
from manifold.processes.crew import Crew
from manifold.processes.membership import TellingMembership

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextvars import Token
    from types import TracebackType

    from manifold.actors import Actor, Future
    from manifold.cluster.membership import NodeUp
    from manifold.core.ring import Ring
    from manifold.delivery.counts import Stats
    from manifold.delivery.receipt import Receipt
    from manifold.delivery.timers import Timer
    from manifold.errors import NodeDown
    from manifold.transport import Transport

__all__ = ["Node", "WorkerKind"]

logger = logging.getLogger("manifold")

WorkerKind = Literal["thread", "loop", "process"]


class Node(Hosting):
    """One node: actors, and the workers that run them. It runs from when it is made until `stop()`.

    `name` is letters, digits, `_`, `.` and `-`; made up if not given. `workers` is how many, by default one per CPU
    core that this process may use. `worker_kind` is `"thread"` (each worker an event loop in a thread of its own) or
    `"loop"` (one worker: the event loop that runs where the node is made, which the node then never blocks) or
    `"process"` (each worker a child process, which owns its share of the actors: handlers use every core). Then the
    classes of actors must be importable and their arguments picklable, and `on_worker_start`, a function that can be
    imported, is called once in each worker on its event loop, and awaited, before anything comes to it: there a pool
    is opened, or a task started that listens with SO_REUSEPORT. A worker that dies takes its own actors only, and is
    started again (`Limits.worker_restarts_max`).

    `listen` is where other nodes join this one: `tcp://127.0.0.1:0` (any free port), `ipc:///path`. `join` are
    addresses of any nodes of the cluster; the others are learnt from them. `cookie` (or `MANIFOLD_COOKIE`) is the
    cluster's secret: links are encrypted and authenticated with it. Listening on anything but loopback or ipc
    without one is refused. A node that joins and does not listen listens on a free port, for the others dial it back.

    `roles` are what the node takes part in as a home of `placed` actors that ask for a role; see `manifold.placed`.

    `transport` is where servers of NATS are, in the place of `listen` and `join`: `nats://host:4222`, `tls://host:4222`,
    `nats://user:password@host:4222`, several with commas between them. After a `?` there may follow, with `&` between
    them, `cluster=name` (clusters on the same servers do not meet), `credentials=file`, and for TLS `ca=file`,
    `certificate=file`, `key=file`. A server that cannot be reached is an error here, and waited for later on.

    As a context manager, sync or async, it is the current node of the block, and stops at its end. A
    `"loop"` node wants `async with`: a sync block on its own loop cannot wait for `async def` handlers.

    Raises ValueError for an option out of its range, `AddressError` among them; RuntimeError for `worker_kind="loop"`
    where no loop runs.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        workers: int | None = None,
        worker_kind: WorkerKind = "thread",
        listen: str | None = None,
        join: Iterable[str] = (),
        transport: str | None = None,
        cookie: str | bytes | None = None,
        on_worker_start: Callable[[], object] | None = None,
        roles: Iterable[str] = (),
        limits: Limits | None = None,
    ) -> None:
        check_kind(worker_kind, workers, on_worker_start)
        roles = checked_roles(roles)
        limits = Limits() if limits is None else limits
        name = f"node-{self.around.token()}" if name is None else checked_name(name)
        join = addresses(join)
        self._describe(name, f"{name}@{self.around.token()}", worker_kind, limits)
        wires = self.around.transport(self.id, listen, join, transport, cookie, limits)
        expects_others = bool(join) or transport is not None
        if worker_kind == "process":
            crew = Crew(self, name, workers or cores(), on_worker_start, limits)
            self._crew = crew
            self._furnish(crew.places, crew.cluster, TellingMembership(crew), crew.intake)
            self._inhabit(Partitioner(self, limits, self._loops(range(1)), crew.own_ids()))
            self._guide(Directory(self, roles, crew.nest, crew.tell_view, expects_others=expects_others))
        else:
            places = Places(self.id)
            self._furnish(places, Cluster(limits, places), Membership(), Intake(self))
            self._inhabit(Partitioner(self, limits, self._start_loops(worker_kind, workers)))
            self._guide(Directory(self, roles, Nest(self.local), expects_others=expects_others))
        if wires is not None:
            self._listen(wires, join)
        if self._crew is not None:
            self._start_crew(self._crew)
        if self._hub is not None:
            self._hub.start()  # last: whoever meets this node sends to it at once

    def _describe(self, name: str, node: str, worker_kind: WorkerKind, limits: Limits) -> None:
        self.name = name
        self.id = node
        self.limits = limits
        self.worker_kind = worker_kind
        self._tokens: list[Token[ports.Host | None]] = []
        self._lock = threading.Lock()
        self._stopped = False
        self._stop_until = 0.0
        self._closing: asyncio.Future[None] | None = None
        self._hub: Hub | None = None

    def _guide(self, directory: Directory) -> None:
        self.directory = directory
        self._membership.subscribe(directory)

    def _start_crew(self, crew: Crew) -> None:
        try:
            crew.start()
        except BaseException:
            self.stop()
            raise
        self.launch = self._launch

    def _start_loops(self, kind: str, workers: int | None) -> list[Any]:
        if kind == "thread":
            return self._loops(range(workers or cores()))
        if workers not in (None, 1):
            msg = f"worker_kind='loop' is one worker, the running event loop; workers={workers} does not go with it"
            raise ValueError(msg)
        try:
            return [asyncio.get_running_loop()]
        except RuntimeError:
            msg = "worker_kind='loop' lives on the running event loop; none is running here: start it in an async def"
            raise RuntimeError(msg) from None

    def _loops(self, numbers: range) -> list[Any]:
        return [self.around.loop(f"{self.name}-worker-{number}") for number in numbers]

    def _listen(self, wires: Transport, join: tuple[str, ...]) -> None:
        hub = Hub(self, self.name, self.cluster, self._membership, wires, self.limits, join)
        try:
            hub.listen()
        except BaseException:
            self.stop()
            raise
        self._hub = hub

    # Actors.

    def spawn(self, cls: type[Actor], *args: Any, **kwargs: Any) -> PID:
        """Start an actor on this node. As `cls.start(...)`, but the node is this one, and a PID is returned."""
        token = ports.current.set(self)
        try:
            return cls.start(*args, **kwargs).pid
        finally:
            ports.current.reset(token)

    def _launch(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PID:
        self._check_running()
        assert self._crew is not None
        return PID(self.id, self._crew.launch(cls, args, kwargs))

    # Sending.

    def send(
        self,
        to: Any,
        message: Any,
        *,
        pack_mode: Literal["binary"] | None = None,
        send_mode: Literal["offload"] | None = None,
        receipt: bool = False,
    ) -> Receipt | None:
        """Send from this node; see `manifold.send`."""
        return self.sender.send(to, message, pack_mode, send_mode, receipt)

    def send_after(self, delay_s: float, to: Any, message: Any) -> Timer:
        """Send from this node later; see `manifold.send_after`."""
        if not delay_s >= 0:
            msg = f"delay_s must be a number of seconds, 0 or more, not {delay_s!r}"
            raise ValueError(msg)
        recipients = self.sender.checked(to)
        return self._timers.start(delay_s, lambda: self.sender.send(recipients, message, None, None, False))

    def ask(self, pid: Any, message: Any, timeout: float | None = 5.0) -> Future[Any]:
        """Ask from this node; see `manifold.ask`."""
        return self.sender.ask(pid, message, timeout)

    async def drain(self) -> None:
        """Wait until every queue of this node is under its high-water mark, `Limits.drain_below`."""
        if not self.local.roomy():
            await self.local.relief()

    # What it is and does.

    @property
    def address(self) -> str:
        """Where other nodes join this one; empty if it does not listen."""
        return "" if self._hub is None else self._hub.address

    def nodes(self) -> list[str]:
        """Give the ids of the nodes that are connected, this one first."""
        return [self.id, *self._membership.up()]

    def events(self) -> AsyncIterator[NodeUp | NodeDown]:
        """Give `NodeUp` and `NodeDown` as they happen; first a NodeUp for each node that is connected already."""
        return self._membership.events()

    def stats(self) -> Stats:
        """Give the node's counts; see `Stats`. Cheap; from any thread.

        With worker processes those of each are as it told them last: before whatever could be compared with them (an
        answer, a receipt, a Down), and within some 50 ms.
        """
        # What was settled is read before what was sent, by each process and of them all.
        settled, crew = self.cluster.totals(), self._crew
        if crew is None:
            return self.local.stats(settled)
        counts, pending = crew.counts(), crew.pending_bytes()
        return self.local.stats(settled).plus(counts.sent, counts[3:7], counts.actors, crew.size, pending)

    def ring(self, role: str | None = None) -> Ring:
        """Give the ring of the names of the nodes that take part, or of those with a role, as this node knows it.

        It says where `placed` actors live. All connected nodes come to the same one within moments of a change.
        """
        return self.directory.view.ring(role)

    def leave(self) -> Future[None]:
        """Have the placed actors of this node go on on others; gives a future that is told when all have.

        The node keeps running, and sends as before, but no key belongs to it any more: then `stop()` loses nothing.
        `await node.leave()`, or `node.leave().get(timeout=...)` outside of its event loop. An actor that is the last of
        its role has nowhere to go, and stays until the node stops.
        """
        return self.directory.leave()

    def resize(self, workers: int) -> None:
        """Go on with another number of workers. Returns at once; actors move while messages flow, and keep their order.

        From n to n+1 workers about 1/(n+1) of the actors move. A worker that is taken away ends when the last
        actor has left it, after what that actor is just doing. Raises ValueError if `workers` is not above 0, or the
        node lives on a loop, which is always one worker; NodeStopped.
        """
        check_workers(workers)
        if self.worker_kind != "thread":
            msg = f"a node with worker_kind={self.worker_kind!r} has one worker, the running loop; it cannot be resized"
            raise ValueError(msg)
        with self._lock:
            self._check_running()
            have = len(self.local.workers)
            fresh = self._loops(range(have, workers))
            self.local.resize(fresh, workers)

    # The end.

    def stop(self) -> None:
        """Stop: what is queued is handled, then every actor stops, last started first, and its `on_stop` runs.

        What is not through after `Limits.stop_grace_s` is given up, counted as dead, and logged. Returns when the node
        has stopped; a second call does nothing. In a handler of this node it returns at once, and the node stops
        behind it. On the event loop of a `worker_kind="loop"` node it cannot wait for `async def` handlers, and gives
        them up: use `await node.aclose()` there.
        """
        if self.around.get_ident() not in self.local.worker_threads():
            self._stop(self._wait)
        elif self.worker_kind != "loop":
            self.around.thread(f"{self.name}-stop", self.stop).start()
        elif self.local.workers[0].draining:
            self._close_here()
        else:
            self._stop(self.local.work_off_here)

    async def aclose(self) -> None:
        """The same as `stop()`, without blocking the event loop it is called on."""
        if self.worker_kind != "loop" or asyncio.get_running_loop() is not self.local.workers[0].loop:
            await asyncio.to_thread(self.stop)
        else:
            await asyncio.shield(self._close_here())

    def _close_here(self) -> asyncio.Future[None]:
        """Stop on the loop that the node lives on, once, whoever asks for it, and whether they go on waiting or not."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._stop_here())
        return self._closing

    async def _stop_here(self) -> None:
        if self._begin_stop():
            if not await self.local.work_off_loop(self.limits.stop_grace_s):
                self._log_late()
            await self.local.cancel_here()
            await asyncio.to_thread(self._finish_stop)

    def _stop(self, wait: Callable[[], None]) -> None:
        if self._begin_stop():
            wait()
            self._finish_stop()

    def _begin_stop(self) -> bool:
        with self._lock:
            first, self._stopped = not self._stopped, True
        if first:
            self._stop_until = self.around.monotonic() + self.limits.stop_grace_s
            self.directory.close()
            if self._crew is None:
                self.local.close()
            else:
                self._crew.close()
        return first

    def _wait(self) -> None:
        if self.worker_kind == "loop" and not self.local.runs():
            return
        late = 0
        if self._crew is not None:
            late = self._crew.wait_empty(self._stop_until)
            self.local.close()  # last: the workers' actors may have sent to those that live here
        try:
            self.local.empty.get(timeout=max(0.0, self._stop_until - self.around.monotonic()))
        except AskTimeout:
            late = 1
        if late:
            self._log_late()
        self.local.end_threads(self._stop_until)

    def _log_late(self) -> None:
        late = len(self.local.actors) + (0 if self._crew is None else self._crew.counts().actors)
        logger.warning("node %s gives up on %d actors that have not stopped in time", self.id, late)

    def _finish_stop(self) -> None:
        if self._hub is None:
            self._membership.close()
        else:
            self._hub.close(self._stop_until)
        self.local.bury_all()
        if self._crew is not None:
            self._crew.end(self._stop_until)
        ports.hosts.pop(self.id, None)

    @property
    def is_running(self) -> bool:
        """Whether nobody has stopped it yet."""
        return not self._stopped

    def _check_running(self) -> None:
        if self._stopped:
            raise NodeStopped(self.id)

    # As a context manager.

    def __enter__(self) -> Self:
        self._tokens.append(ports.current.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ports.current.reset(self._tokens.pop())
        self.stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        ports.current.reset(self._tokens.pop())
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Node {self.id}{' (stopped)' if self._stopped else ''}>"
