"""What the layers may ask of each other without knowing each other: the actors' view of the node they live on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from manifold.core.pid import PID
    from manifold.limits import Limits

__all__ = [
    "DEAD",
    "DELIVERED",
    "SHED",
    "UNREACHABLE",
    "Away",
    "Cluster",
    "Host",
    "Settles",
    "Surroundings",
    "Watcher",
    "current",
    "find_host",
    "host",
    "hosts",
    "set_default_host",
]


class Watcher(Protocol):
    """Something that is told, once, on the actor's worker, when an actor has ended."""

    def on_end(self, pid: PID, reason: str) -> None: ...


class Settles(Protocol):
    """Something that is told what became of recipients: a receipt, or what stands for one of another node."""

    own: bool
    """Whether this node counted them as sent."""

    def expect(self, recipients: int) -> None:
        """Say how many recipients there are; before any of them is settled."""

    def await_thread(self, thread: int, recipients: int) -> None:
        """Say that the worker of this thread has to account for so many; of an own one only."""

    def settle(self, node: str, cause: int, number: int) -> None:
        """Account for some of the recipients on one node."""


class Away(Protocol):
    """The members of an audience that live on other nodes."""

    lock: threading.Lock

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[PID]: ...

    def __contains__(self, pid: PID) -> bool: ...

    def update(self, groups: Mapping[str, Sequence[PID]]) -> None:
        """Take in recipients, given by node."""

    def discard(self, pid: PID) -> None:
        """Take one out."""

    def close(self) -> None:
        """Let go of all."""

    def counts(self) -> dict[str, int]:
        """Give how many there are on each node. Under the lock."""

    def send(self, node: str, members: int, wire: bytes, receipt: Settles | None) -> int:
        """Hand a message to the members on a node; how many were shed. Under the lock."""


class Cluster(Protocol):
    """The other nodes, as the sending side sees them."""

    def send(self, node: str, ids: Sequence[int], wire: bytes, receipt: Settles | None) -> int:
        """Make one hand-off to a node; how many recipients were shed. What is unreachable is counted there."""

    def ask(self, pid: PID, wire: bytes, future: Any) -> None:
        """Ask an actor of another node. The future gets the answer, or why there is none."""

    def monitor(self, pid: PID, watcher: Watcher) -> None:
        """Tell `watcher` when the actor has ended, or its node has gone down."""

    def demonitor(self, pid: PID, watcher: Watcher) -> None:
        """Take that back."""

    def roomy(self) -> bool:
        """Tell whether every outbox is below its high-water mark."""

    def audience(self) -> Away:
        """Give the other nodes' side of a new audience."""


class Surroundings(Protocol):
    """What a node takes from where it runs: time, threads, chance. Real ones, or those of `manifold.testing`."""

    def monotonic(self) -> float:
        """Give the time that periods are measured with, in seconds."""

    def time_ns(self) -> int:
        """Give the time of day."""

    def perf_counter(self) -> float:
        """Give the time that handlers are measured with, in seconds."""

    def get_ident(self) -> int:
        """Give the identity of the calling thread, above all as a sender."""

    def token(self) -> str:
        """Give a name that nobody else has: 8 hexadecimal digits."""

    def thread(self, name: str, run: Callable[[], object]) -> Thread:
        """Give a thread, to be started, that calls `run`."""

    def turns(self, name: str, turns: Callable[[], Iterator[None]]) -> Thread:
        """Give a thread, to be started, that takes all the turns; it does not keep the process alive."""

    def loop(self, name: str) -> Any:
        """Give a running event loop for a worker; a `LoopThread`, or what does the same."""

    def offload(self, name: str, max_bytes: int, relieve: Callable[[], None]) -> Any:
        """Give the `Offload` of a node."""

    def transport(
        self,
        node: str,
        listen: str | None,
        join: tuple[str, ...],
        transport: str | None,
        cookie: str | bytes | None,
        limits: Limits,
    ) -> Any:
        """Give the `Transport` of a node that its options ask for, not open yet, or None."""


class Thread(Protocol):
    """A thread as far as nodes need it."""

    def start(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


class Host(Protocol):
    """A node, as actors, their references and their futures see it."""

    @property
    def id(self) -> str: ...

    @property
    def around(self) -> Surroundings:
        """What it takes from where it runs."""

    @property
    def limits(self) -> Limits:
        """Its bounds."""

    @property
    def local(self) -> Any:
        """The Partitioner of the node."""

    @property
    def cluster(self) -> Cluster:
        """The other nodes."""

    @property
    def sender(self) -> Any:
        """The Sender of the node."""

    def stop(self) -> None:
        """Stop the node."""

    def mint(self, actor: Any) -> PID:
        """Give an actor that is not started yet its PID."""

    def admit(self, actor: Any) -> None:
        """Start an actor: from now on it is in the table and its worker runs it."""

    def abandon(self, actor: Any) -> None:
        """Give up an actor whose constructor has failed: what was sent to it is dead."""

    def post(self, actor: Any, message: Any, reply: Any = None) -> None:
        """Queue one message for an actor of this node, in order with all else this thread sends. Never blocks."""

    def control(self, actor: Any, message: Any, reply: Any = None) -> None:
        """The same for stops, monitors and the like: never shed, and not counted as sent."""

    def monitor(self, pid: PID, watcher: Watcher) -> None:
        """Tell `watcher` when the actor has ended; at once when there is none (any more)."""

    def demonitor(self, pid: PID, watcher: Watcher) -> None:
        """Take that back."""

    def find(self, pid: PID) -> Any | None:
        """Give the running actor of a PID of this node, or None."""

    def threads_of(self, actor: Any) -> set[int]:
        """Give the identities of the threads that have to run before the actor answers."""


DELIVERED, DEAD, SHED, UNREACHABLE = range(4)
"""The causes by which recipients are accounted for."""

current: ContextVar[Host | None] = ContextVar("manifold_node", default=None)
"""The node of the actor that runs here, if one does."""

hosts: dict[str, Host] = {}
"""The running nodes of this process, by id."""

_default: list[Callable[[], Host]] = []


def set_default_host(factory: Callable[[], Host]) -> None:
    """Say how the process's default node is found or started."""
    _default[:] = [factory]


def host() -> Host:
    """Give the node of the actor that runs, else the process's default node (started now, if it must be)."""
    return current.get() or _default[0]()


def find_host(pid: PID) -> Host | None:
    """Give the node of this process that a PID belongs to, or None."""
    return hosts.get(pid.node)
