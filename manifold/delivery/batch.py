"""What a worker gets for many recipients: a message with a list of actors, or with its part of an audience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.core.codec import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from manifold.actors import Actor
    from manifold.delivery.worker import Worker
    from manifold.ports import Settles

__all__ = ["Batch", "Packed", "Part", "PartBatch", "opened"]

_CLOSED = object()


class Packed:
    """An encoded message for one worker, whose recipients share one decoded copy."""

    __slots__ = ("_data", "_message")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._message: Any = _CLOSED

    def open(self) -> Any:
        if self._message is _CLOSED:
            self._message = decode(self._data)
        return self._message


def opened(message: Any) -> Any:
    """Give the message itself, decoded if it was packed."""
    return message.open() if type(message) is Packed else message


class Batch:
    """One message for a list of actors, which may hold one of them twice.

    `version` is the worker's, read before the list was made: while it stands, every actor in the list is there.
    """

    __slots__ = ("actors", "at", "cost", "delivered", "is_async", "message", "outside", "receipt", "version")

    def __init__(
        self, actors: Sequence[Actor], message: Any, receipt: Settles | None, version: int, cost: int, is_async: bool
    ) -> None:
        self.actors = actors
        self.message = message
        self.receipt = receipt
        self.version = version
        self.cost = cost
        self.is_async = is_async
        self.at = 0
        self.delivered = 0
        self.outside = 0

    def open(self, worker: Worker) -> None:  # noqa: ARG002
        """Make ready; called before every chunk."""
        if type(self.message) is Packed:
            self.message = self.message.open()

    def close(self, worker: Worker) -> None:
        """The last chunk was handled."""

    def waiting(self) -> Sequence[Actor]:
        """Give those who have not got it yet."""
        return self.actors[self.at :]


class PartBatch(Batch):
    """One message for a worker's part of an audience, as it is when the batch comes to its turn."""

    __slots__ = ("began_at", "part")

    def __init__(self, part: Part, message: Any, receipt: Settles | None, cost: int, is_async: bool) -> None:
        super().__init__((), message, receipt, -1, cost, is_async)
        self.part = part
        self.began_at = -1

    def open(self, worker: Worker) -> None:
        super().open(worker)
        if not self.at:
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
        self._places: dict[Actor, int] = {}
        # The worker's version at which every member was seen to be there; -1 while that is not known.
        self.checked_at = -1

    def join(self, actors: Iterable[Actor]) -> None:
        for actor in actors:
            self._places[actor] = len(self.actors)
            self.actors.append(actor)
        self.checked_at = -1

    def leave(self, actor: Actor) -> None:
        """Put the last member in the place of the one that leaves: O(1)."""
        place = self._places.pop(actor)
        last = self.actors.pop()
        if last is not actor:
            self.actors[place] = last
            self._places[last] = place

    def drop(self) -> Sequence[Actor]:
        """Forget all, and give them."""
        actors, self.actors = self.actors, []
        self._places = {}
        return actors
