"""What actors, references and futures ask of their node, as `ports.Host` says: done here, or handed on to where it is.

A message to an actor of this process has no layer on its way: what queues it is the Partitioner's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from manifold import ports
from manifold.actors import HandOver, Stop, Unwatch, Watch
from manifold.actors.foreign import pid_of
from manifold.delivery.sender import Sender
from manifold.delivery.timers import Timers
from manifold.surroundings import PROCESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.actors import Actor
    from manifold.cluster.cluster import Cluster
    from manifold.cluster.directory import Directory
    from manifold.cluster.membership import Membership
    from manifold.core.pid import PID
    from manifold.core.routing import Places
    from manifold.delivery.partitioner import Partitioner
    from manifold.limits import Limits
    from manifold.processes.crew import Crew

__all__ = ["Hosting"]


class Hosting(ABC):
    """A node, as those see it who live on it."""

    id: str
    """Name and incarnation; another node never has it, nor this one after a restart."""

    around: ports.Surroundings = PROCESS
    limits: Limits
    directory: Directory
    launch: Callable[[type, tuple[Any, ...], dict[str, Any]], PID] | None = None
    _crew: Crew | None = None

    @abstractmethod
    def stop(self) -> None:
        """Stop the node."""

    def _furnish(self, places: Places, cluster: Cluster, membership: Membership, intake: ports.Intake) -> None:
        self.places = places
        self.cluster = cluster
        self._membership = membership
        self.intake = intake

    def _inhabit(self, local: Partitioner) -> None:
        self.local = local
        self.sender = Sender(local)
        self._timers = Timers(local)
        # The ways of a message, without a layer in between.
        self.post = local.post
        self.control = local.control
        self.mint = local.mint
        self.admit = local.admit
        self.abandon = local.abandon
        self.find = local.find
        ports.hosts[self.id] = self

    def pid_of(self, ref: Any) -> PID:
        """Give the PID of a running actor, of whichever kind; see `manifold.pid_of`."""
        return pid_of(ref, self)

    def monitor(self, pid: PID, watcher: ports.Watcher) -> None:
        """Tell `watcher` when an actor has ended; at once if there is none."""
        if self.places.of(pid) != self.id:
            self.local.behind(lambda: self.cluster.monitor(pid, watcher))
        elif (actor := self.find(pid)) is not None:
            self.control(actor, Watch(watcher))
        else:
            self.local.tell_gone(pid, watcher)

    def demonitor(self, pid: PID, watcher: ports.Watcher) -> None:
        """Take that back."""
        if self.places.of(pid) != self.id:
            self.local.behind(lambda: self.cluster.demonitor(pid, watcher))
        elif (actor := self.find(pid)) is not None:
            self.control(actor, Unwatch(watcher))

    def inquire(self, what: str, pid: PID, reply: Any) -> None:
        """Stop an actor of this node (`stop`), see whether it lives (`probe`), or have it hand over (`hand over`).

        `reply` is told whether it lived, or its encoded state; of one that is gone a bool in any case.
        """
        if self._crew is not None and self.places.of(pid) != self.id:
            crew = self._crew
            self.local.behind(lambda: crew.inquire(what, pid, reply))
        elif (actor := self.find(pid)) is None:
            reply.set(False)
        elif what == "stop":
            self.control(actor, Stop(), reply)
        elif what == "hand over":
            self.control(actor, HandOver(), reply)
        else:
            reply.set(True)

    def threads_of(self, actor: Actor) -> set[int]:
        """Give the identities of the threads that have to run before an actor answers: two, while it moves."""
        return self.local.threads_of(actor)
