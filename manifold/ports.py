"""What the layers may ask of each other without knowing each other: the actors' view of the node they live on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from manifold.core.pid import PID
    from manifold.core.routing import Places
    from manifold.errors import CodecError
    from manifold.limits import Limits

__all__ = [
    "DEAD",
    "DELIVERED",
    "SHED",
    "UNREACHABLE",
    "Away",
    "Cluster",
    "Host",
    "Intake",
    "Nest",
    "Replica",
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

    def unreadable(self, error: CodecError) -> None:
        """Complain of a message that a worker cannot decode; who is to get it is accounted for besides."""


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

    def hand_off(self, node: str, kind: Any, body: Any, recipients: int, receipt: Settles | None) -> int:
        """Make one hand-off to a node, of a frame whose parts `body` makes; how many recipients were shed."""

    def question(self, node: str, kind: Any, body: Any, future: Any, receipt: Settles | None = None) -> None:
        """Ask a node by a frame whose parts `body` makes, given its number and that of its outcome."""

    @property
    def peers(self) -> Mapping[str, Any]:
        """The nodes that are connected."""

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


class Replica(Protocol):
    """The members of another node's audience that are reached from here."""

    def update(self, ids: Sequence[int], join: int) -> Sequence[int]:
        """Take in recipients, with the join of this number; give those that are none, or none any more."""

    def discard(self, ids: Sequence[int]) -> None:
        """Take some out."""

    def send(self, wire: bytes | memoryview, settles: Settles, members: int) -> bool:
        """Hand a message to every member, of whom its sender counts so many; False, and nothing, if there are more."""

    def close(self) -> None:
        """Let go of all. What was sent still reaches them."""


class Intake(Protocol):
    """Where what comes in for the actors of one node is handed to, still encoded."""

    node: str
    counts: bool
    """Whether this node counts as sent what is handed in here."""

    def take(self, ids: Sequence[int], wire: bytes | memoryview, settles: Settles) -> None:
        """Hand a message to the actors with these ids."""

    def take_one(self, number: int, wire: bytes | memoryview, reply: Any, settles: Settles) -> None:
        """Hand a question to the actor with this id."""

    def give_up(self, cause: int, recipients: int, settles: Settles) -> None:
        """Account for all recipients of a message that reaches nobody."""

    def replica(self, left: Callable[[Sequence[int], int], None]) -> Replica:
        """Give a replica for an audience, never refused room.

        `left` is told which members have ended, and the number of the last join that they can have come in with.
        """


class Nest(Protocol):
    """Actors that are known before they begin."""

    def conceive(self, cls: type[Any], args: tuple[Any, ...]) -> PID:
        """Make one that does not begin yet; what is sent to it waits."""

    def bear(self, number: int, takeover: bytes | None) -> None:
        """Let it begin, with what another actor of its key has handed over, if one has."""

    def hand_over(self, pid: PID, reply: Any) -> None:
        """Have an actor end, behind what was sent to it; `reply` gets its encoded state, or a bool if it has ended."""

    def take_over(self, pid: PID, state: bytes) -> None:
        """Give a running actor what another of its key has handed over."""


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

    @property
    def places(self) -> Places:
        """Where recipients are reached, seen from this process."""

    @property
    def directory(self) -> Any:
        """Where names and keys belong."""

    @property
    def intake(self) -> Intake:
        """Where what comes from other nodes is handed to."""

    @property
    def launch(self) -> Callable[[type, tuple[Any, ...], dict[str, Any]], PID] | None:
        """Starts an actor of a class with its arguments in another process; None where actors live in this one."""

    def inquire(self, what: str, pid: PID, reply: Any) -> None:
        """Stop an actor of this node (`stop`), see whether it lives (`probe`), or have it hand over (`hand over`).

        `reply` is told whether it lived, or its encoded state; of one that is gone a bool in any case.
        """

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
