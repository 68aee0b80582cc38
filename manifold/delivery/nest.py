"""Actors that are known before they begin: what is sent to them waits, until it is certain with what they begin."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from manifold.actors import HandOver, TakeOver
from manifold.errors import NodeStopped

if TYPE_CHECKING:
    from manifold.actors import Actor
    from manifold.core.pid import PID
    from manifold.delivery.partitioner import Partitioner

__all__ = ["Nest"]

logger = logging.getLogger("pykka")


class Nest:
    """Those of one process."""

    def __init__(self, local: Partitioner) -> None:
        self._local = local
        self._waiting: dict[int, tuple[Actor, tuple[Any, ...], dict[str, Any]]] = {}

    def conceive(
        self,
        cls: type[Actor],
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        number: int | None = None,
    ) -> PID:
        """Make an actor that does not begin yet, under an id that was minted for it, or a fresh one; give its PID."""
        kwargs = kwargs or {}
        actor = cls.__new__(cls, *args, **kwargs)
        if number is None:
            self._local.mint(actor)
        else:
            self._local.expect(actor, number)
        self._waiting[actor.pid.id] = actor, args, kwargs
        return actor.pid

    def bear(self, number: int, takeover: bytes | None) -> None:
        """Let it begin, with what another actor of its key has handed over, if one has. From any thread."""
        if (waiting := self._waiting.pop(number, None)) is not None:
            waiting[0]._mf_takeover = takeover
            self._local.run_by(waiting[0], lambda: self._construct(*waiting))

    def _construct(self, actor: Actor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run its constructor, where it will run, and start it."""
        try:
            actor.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            logger.exception("Unhandled exception in the constructor of %s:", actor)
            self._local.abandon(actor)
            return
        try:
            self._local.admit(actor)
        except NodeStopped:
            self._local.abandon(actor)

    def hand_over(self, pid: PID, reply: Any) -> None:
        """Have an actor end, behind what was sent to it; `reply` gets its encoded state, or a bool if it has ended."""
        if (actor := self._local.find(pid)) is None:
            reply.set(False)
        else:
            self._local.control(actor, HandOver(), reply)

    def take_over(self, pid: PID, state: bytes) -> None:
        """Give a running actor what another of its key has handed over."""
        if (actor := self._local.find(pid)) is not None:
            self._local.control(actor, TakeOver(state))
