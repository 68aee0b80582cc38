"""Sessions of one guild that are started already, by every gateway in turn: who comes in takes one without waiting.

They are asked of the gateways in blocks, so that a guild costs each a few questions, however many join it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pykka

import manifold
from examples.guild_presence.replay.messages import ANSWER_S, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pool"]

_LEAST, _MOST = 4, 256
"""Sessions in a block: as many as were taken of that gateway before, within these bounds."""


class Pool:
    """The sessions that wait to be taken. The gateways take turns, the first one begins."""

    def __init__(self, guild: str, gateways: Iterable[manifold.PID]) -> None:
        self._guild = guild
        self._turn = deque(_Share(gateway) for gateway in gateways)

    async def fill(self) -> None:
        """See to it that there is a session to be taken. A gateway that has ended has no turn any more."""
        while not self._turn[0].ready:
            try:
                await self._turn[0].ask(self._guild)
            except (manifold.NodeDown, pykka.ActorDeadError):
                self._turn.popleft()

    def take(self) -> manifold.PID:
        """Give a session of the gateway whose turn it is. To be called after `fill`."""
        share = self._turn[0]
        self._turn.rotate(-1)
        share.taken += 1
        return share.ready.popleft()


class _Share:
    """Those of one gateway."""

    def __init__(self, gateway: manifold.PID) -> None:
        self.ready: deque[manifold.PID] = deque()
        self.taken = 0
        self._gateway = gateway

    async def ask(self, guild: str) -> None:
        number = min(max(_LEAST, self.taken), _MOST)
        question = {"t": SESSIONS, "guild": guild, "number": number}
        self.ready.extend(await manifold.ask(self._gateway, question, timeout=ANSWER_S))
