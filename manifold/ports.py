"""What the layers may ask of each other without knowing each other: the actors' view of the node they live on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.core.pid import PID

__all__ = ["Host", "Watcher", "current", "find_host", "host", "hosts", "set_default_host"]


class Watcher(Protocol):
    """Something that is told, once, on the actor's worker, when an actor has ended."""

    def on_end(self, pid: PID, reason: str) -> None: ...


class Host(Protocol):
    """A node, as actors, their references and their futures see it."""

    @property
    def id(self) -> str: ...

    @property
    def local(self) -> Any:
        """The Partitioner of the node."""

    @property
    def sender(self) -> Any:
        """The Sender of the node."""

    def stop(self) -> None:
        """Stop the node."""

    def mint(self, actor: Any) -> PID:
        """Give an actor that is not started yet its PID."""

    def admit(self, actor: Any) -> None:
        """Start an actor: from now on it is in the table and its worker runs it."""

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

    def thread_of(self, actor: Any) -> int | None:
        """Give the identity of the thread that runs the actor."""


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
