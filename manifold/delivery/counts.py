"""Counts: what was sent is delivered, dead, shed, unreachable or in flight, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

__all__ = ["Outcome", "Stats"]


class _Counts(Mapping[str, Any]):
    """Counts that can be read as attributes and as a mapping (`dict(stats)`, `stats["sent"]`)."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(field.name for field in fields(self))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(astuple(self))  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome(_Counts):
    """What became of one send on one node: how many recipients, by cause (in the order of the causes in `ports`)."""

    delivered: int = 0
    """The handler was called with it."""
    dead: int = 0
    """There was no such actor (any more)."""
    shed: int = 0
    """A full queue or mailbox dropped it."""
    unreachable: int = 0
    """The node was not connected."""


@dataclass(frozen=True, slots=True, eq=False)
class Stats(_Counts):
    """A node's counts. `sent == delivered + dead + shed + unreachable + in_flight`, at any time.

    All count recipients of messages (one send to 1,000 counts 1,000) since the node started. Stops, monitors and
    audience changes are not messages and not counted. `delivered`: the handler was called; `dead`: there was no
    such actor (any more); `shed`: a full queue or mailbox dropped it; `unreachable`: its node was not
    connected; `in_flight`: none of these yet.
    """

    sent: int
    delivered: int
    dead: int
    shed: int
    unreachable: int
    in_flight: int
    actors: int
    """Actors running on this node."""
    workers: int
    queued_bytes: int
    """What waits for the workers, counted as `Limits.worker_queue_max_bytes` counts; for worker processes with the
    bytes of the messages."""
    handoffs: int
    """Hand-offs to other nodes."""

    def plus(self, sent: int, settled: Sequence[int], actors: int, workers: int, queued_bytes: int) -> Stats:
        """Give these counts with those of worker processes added, `settled` being by cause."""
        delivered, dead, shed, unreachable = settled
        return Stats(
            self.sent + sent, self.delivered + delivered, self.dead + dead, self.shed + shed,
            self.unreachable + unreachable, self.in_flight + sent - sum(settled),
            self.actors + actors, workers, self.queued_bytes + queued_bytes, self.handoffs,
        )  # fmt: skip
