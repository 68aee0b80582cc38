"""Actors in worker processes that are known before they begin; see `delivery.nest`, which each worker has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.core.pid import PID
from manifold.processes.talk import Word

if TYPE_CHECKING:
    from manifold.actors import Actor
    from manifold.processes.crew import Crew
    from manifold.processes.peer import WorkerPeer

__all__ = ["CrewNest"]


class CrewNest:
    """Those of one crew. What it says to a worker goes the way of messages, in order with them."""

    def __init__(self, crew: Crew, node: str) -> None:
        self._crew = crew
        self._node = node

    def conceive(self, cls: type[Actor], args: tuple[Any, ...]) -> PID:
        """Make an actor that does not begin yet, in a worker; Overloaded if none has room, or none runs."""
        return PID(self._node, self._crew.assign(cls, args, {}, Word.CONCEIVE))

    def bear(self, number: int, takeover: bytes | None) -> None:
        """Let it begin, with what another actor of its key has handed over, if one has."""
        if (peer := self._peer(number)) is not None:
            peer.put(Word.BEAR, [number.to_bytes(8, "little"), takeover or b""])

    def hand_over(self, pid: PID, reply: Any) -> None:
        """Have an actor end, behind what was sent to it; `reply` gets its encoded state, or a bool if it has ended."""
        if (peer := self._peer(pid.id)) is None:
            reply.set(False)
        else:
            peer.inquire("hand over", pid, reply)

    def take_over(self, pid: PID, state: bytes) -> None:
        """Give a running actor what another of its key has handed over."""
        if (peer := self._peer(pid.id)) is not None:
            peer.put(Word.TAKE_OVER, [pid.id.to_bytes(8, "little"), state])

    def _peer(self, number: int) -> WorkerPeer | None:
        place = self._crew.places.of(PID(self._node, number))
        return self._crew.cluster.peers.get(place)  # type: ignore[return-value]
