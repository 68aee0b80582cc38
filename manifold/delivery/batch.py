"""What a worker gets for many recipients: a message with a list of actors, or with its part of an audience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from manifold.actors import Actor
    from manifold.delivery.worker import Worker
    from manifold.ports import Settles

__all__ = ["Batch", "Part", "PartBatch"]


class Batch:
    """One message for a list of actors, which may hold one of them twice.

    `version` is the worker's, read before the list was made: while it stands, every actor in the list is there.
    `content` is the message as it waits, perhaps encoded; so it waits on in the inboxes of those who are busy.
    """

    __slots__ = ("actors", "at", "content", "cost", "delivered", "is_async", "message", "outside", "receipt", "version")

    def __init__(
        self, actors: Sequence[Actor], content: Any, receipt: Settles | None, version: int, cost: int, is_async: bool
    ) -> None:
        self.actors = actors
        self.content = content
        self.message: Any = None
        self.receipt = receipt
        self.version = version
        self.cost = cost
        self.is_async = is_async
        self.at = 0
        self.delivered = 0
        self.outside = 0

    def open(self, worker: Worker) -> None:
        """Make ready; called before the first chunk. CodecError, and nothing is changed, if it cannot be read."""
        self.message = worker.opened(self.content)

    def close(self, worker: Worker) -> None:
        """The last chunk was handled."""

    def waiting(self) -> Sequence[Actor]:
        """Give those who have not got it yet."""
        return self.actors[self.at :]


class PartBatch(Batch):
    """One message for a worker's part of an audience, as it is when the batch comes to its turn."""

    __slots__ = ("began_at", "part")

    def __init__(self, part: Part, content: Any, receipt: Settles | None, cost: int, is_async: bool) -> None:
        super().__init__((), content, receipt, -1, cost, is_async)
        self.part = part
        self.began_at = -1

    def open(self, worker: Worker) -> None:
        super().open(worker)
        self.actors = self.part.actors
        self.began_at = worker.version
        self.version = worker.version if self.part.checked_at == worker.version else -1

    def close(self, worker: Worker) -> None:
        # Nobody was elsewhere when it began, and nobody has ended since: all of them are there.
        if not self.outside and not worker.unsettled and self.began_at == worker.version:
            self.part.checked_at = worker.version

    def waiting(self) -> Sequence[Actor]:
        return self.part.actors[self.at :]


class Part:
    """The members of an audience that live on one worker; changed on that worker alone, in the order queued.

    Members that have ended stay until the audience, which is told of it, takes them out: so at each send a part
    holds just whom the sender counted.
    """

    __slots__ = ("_places", "actors", "checked_at", "counted", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.counted = 0  # what its owner has queued; the owner's alone
        self.actors: list[Actor] = []
        # By the identity of the actor, as its class may define `==` and `hash` as it likes.
        self._places: dict[int, int] = {}
        # The worker's version at which every member was seen to be there; -1 while that is not known.
        self.checked_at = -1

    def join(self, actors: Iterable[Actor]) -> None:
        for actor in actors:
            self._places[id(actor)] = len(self.actors)
            self.actors.append(actor)
        self.checked_at = -1

    def leave(self, actor: Actor) -> None:
        """Put the last member in the place of the one that leaves: O(1)."""
        place = self._places.pop(id(actor))
        last = self.actors.pop()
        if last is not actor:
            self.actors[place] = last
            self._places[id(last)] = place

    def drop(self) -> Sequence[Actor]:
        """Forget all, and give them."""
        actors, self.actors = self.actors, []
        self._places = {}
        return actors
