"""What comes in for the actors of this process: handed to the Partitioner as it came, still encoded.

What waits in a queue so takes what its sender counted for it. A worker decodes a message when it handles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.core.codec import Sealed
from manifold.core.pid import PID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.ports import Host, Settles

__all__ = ["Intake"]


class Intake:
    """The way in. Called in the order in which the other side sent; what is taken is queued before it returns."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.node = host.id
        self.counts = False

    def take(self, ids: Sequence[int], wire: bytes | memoryview, settles: Settles) -> None:
        """Hand a message to the actors with these ids."""
        if len(ids) == 1:
            self.take_one(ids[0], wire, None, settles)
        else:
            self._host.local.take(ids, Sealed(wire), settles)

    def take_one(self, number: int, wire: bytes | memoryview, reply: Any, settles: Settles) -> None:
        """Hand a message, or a question, to the actor with this id."""
        self._host.local.take_one(number, Sealed(wire), reply, settles)

    def replica(self, left: Callable[[Sequence[int], int], None]) -> _Replica:
        """Give a replica for an audience, never refused room; `left` is told of members that have ended."""
        return _Replica(self, self._host.local.roster(lambda number, join: left([number], join)))

    def give_up(self, cause: int, recipients: int, settles: Settles) -> None:
        """Account for all recipients of a message that reaches nobody."""
        self._host.local.give_up(cause, recipients, settles)


class _Replica:
    """The members of another's audience that live in this process."""

    def __init__(self, intake: Intake, roster: Any) -> None:
        self._intake = intake
        self._roster = roster

    def update(self, ids: Sequence[int], join: int) -> Sequence[int]:
        """Take in actors, with a join of the owner's; give the ids of those that have ended."""
        ended: Sequence[int] = self._roster.update([PID(self._intake.node, number) for number in ids], join)
        return ended

    def discard(self, ids: Sequence[int]) -> None:
        """Take some out."""
        for number in ids:
            self._roster.discard(number)

    def __len__(self) -> int:
        return len(self._roster)

    def send(self, wire: bytes | memoryview, settles: Settles, members: int) -> bool:
        """Hand a message to every member, of whom its sender counts so many; False, and nothing, if there are more."""
        with self._roster.lock:
            if self._roster.has_more_than(members):
                return False
            self._roster.send(Sealed(wire), settles, members, 0)
        return True

    def close(self) -> None:
        """Let go of all. What was sent still reaches them."""
        self._roster.close()
