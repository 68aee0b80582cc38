"""What goes to a node's actors when they live in several processes: split by worker, and passed on unread.

The main process has one way in for what its workers send and one for what other nodes send. Both hand it on by way of
a `Cluster` whose peers are the workers, so that receipts, asks and audiences are followed as they are between nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.actors import ActorDeadError
from manifold.cluster.cluster import Cluster
from manifold.cluster.intake import Intake
from manifold.core.pid import PID
from manifold.ports import DEAD, UNREACHABLE

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from manifold.core.routing import SlotPlaces
    from manifold.limits import Limits
    from manifold.ports import Host, Settles

__all__ = ["Split", "Workers"]


class Workers(Cluster):
    """A cluster in which the workers of this node have places too."""

    def __init__(
        self, limits: Limits, places: SlotPlaces, forgotten: deque[tuple[Workers, int, Sequence[str]]]
    ) -> None:
        super().__init__(limits, places)
        self._forgotten_here = forgotten
        self._worker_below_bytes = limits.drain_below * limits.worker_queue_max_bytes

    def absence(self, place: str) -> tuple[int, str]:
        return (DEAD, "no such actor") if "/" in place else (UNREACHABLE, "node down")

    def gone(self, pid: PID) -> Exception:
        return ActorDeadError(f"{pid} not found") if pid.node == self.places.here else super().gone(pid)

    def forget_audience(self, number: int, nodes: Sequence[str]) -> None:
        here = [place for place in nodes if "/" in place]
        if here:
            self._forgotten_here.append((self, number, here))
        super().forget_audience(number, [place for place in nodes if "/" not in place])

    def roomy(self) -> bool:
        return all(
            peer.link.pending_bytes < (self._roomy_below_bytes if peer.outside else self._worker_below_bytes)
            for peer in list(self.peers.values())
        )


class Split:
    """The way in to a node, here or elsewhere. `counts` says whether this node has to count what comes as sent."""

    def __init__(self, host: Host, cluster: Workers, node: str, *, counts: bool) -> None:
        self.node = node
        self._host = host
        self._cluster = cluster
        self.counts = counts
        self._here = Intake(host) if node == host.id else None

    def take(self, ids: Sequence[int], wire: bytes | memoryview, settles: Settles) -> None:
        """Hand a message to the actors with these ids, one hand-off to each place."""
        self._count(len(ids))
        wire = bytes(wire)
        groups = dict(self._by_place(ids))
        here = groups.pop(self._host.id, ())
        for place, those in groups.items():
            self._cluster.send(place, those, wire, settles)
        if here and self._here is not None:
            self._here.take(here, wire, settles)

    def take_one(self, number: int, wire: bytes | memoryview, reply: Any, settles: Settles) -> None:
        """Hand a question to the actor with this id."""
        self._count(1)
        pid = PID(self.node, number)
        if self._here is not None and self._cluster.places.of(pid) == self._host.id:
            self._here.take_one(number, wire, reply, settles)
        else:
            self._cluster.ask(pid, bytes(wire), reply, settles)

    def give_up(self, cause: int, recipients: int, settles: Settles) -> None:
        """Account for all recipients of a message that reaches nobody."""
        self._count(recipients)
        self._host.local.give_up(cause, recipients, settles)

    def replica(self, left: Callable[[Sequence[int], int], None]) -> _Replica:
        """Give a replica for an audience whose members here live in several processes."""
        return _Replica(self, left)

    def _by_place(self, ids: Sequence[int]) -> dict[str, Sequence[int]]:
        if self._here is None:
            return {self.node: ids}
        return self._cluster.places.group_ids(ids)  # type: ignore[attr-defined, no-any-return]

    def _count(self, number: int) -> None:
        if self.counts:
            self._host.local.count_sent(number)


class _Replica:
    """The members of another's audience: those in other processes, and those (few) in this one."""

    def __init__(self, split: Split, left: Callable[[Sequence[int], int], None]) -> None:
        self._split = split
        self._away = split._cluster.audience(left)
        self._here = None if split._here is None else split._here.replica(left)

    def update(self, ids: Sequence[int], join: int) -> list[int]:
        """Take in actors, with a join of the owner's; give the ids of those that are not there."""
        groups = dict(self._split._by_place(ids))
        here = groups.pop(self._split._host.id, ())
        outside = self._away.take_in(groups, join)
        return outside if self._here is None else [*outside, *self._here.update(here, join)]

    def discard(self, ids: Sequence[int]) -> None:
        """Take some out."""
        for place, those in self._split._by_place(ids).items():
            if place == self._split._host.id and self._here is not None:
                self._here.discard(those)
            else:
                for number in those:
                    self._away.take_out(place, number)

    def send(self, wire: bytes | memoryview, settles: Settles, members: int) -> bool:
        """Hand a message to every member, of whom its sender counts so many; False, and nothing, if there are more.

        Those that it counts and that have ended meanwhile are dead.
        """
        wire = bytes(wire)
        with self._away.lock:
            counts = {place: number for place, number in self._away.counts().items() if number}
            rest = members - sum(counts.values())
            if rest < 0:
                return False
            self._split._count(members)
            for place, number in counts.items():
                self._away.send(place, number, wire, settles)
        if rest and not (self._here is not None and self._here.send(wire, settles, rest)):
            self._split._host.local.give_up(DEAD, rest, settles)
        return True

    def close(self) -> None:
        """Let go of all. What was sent still reaches them."""
        self._away.close()
        if self._here is not None:
            self._here.close()
