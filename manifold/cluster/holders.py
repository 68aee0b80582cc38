"""Whose a node's name is. Two nodes may claim one: who is there has it, for as long as it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.core.views import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Holders"]

_CLAIMS_MAX = 1000


class Holders:
    """The nodes that hold their names, as one of them sees it, and those that claim one that is held."""

    def __init__(
        self, own: str, up: Callable[[], dict[str, str]], heard_at: Callable[[str], float], patience_s: float
    ) -> None:
        """`own` is this node's id; `up()` gives the others with their addresses, `heard_at(id)` when one spoke last.

        `patience_s`: a holder that speaks so long after another has claimed its name lives.
        """
        self._own = own
        self._up = up
        self._heard_at = heard_at
        self._patience_s = patience_s
        self._claims: dict[str, float] = {}

    def objection(self, node: str, address: str, now: float) -> str | None:
        """Say why a node at an address is not welcome, "" while that is not certain; None if it is.

        Who holds its name may have died a moment ago, and nobody knows it yet: whether it still speaks is awaited.
        """
        name = name_of(node)
        if name == name_of(self._own):
            return _taken(self._own)
        for other, at in self._up().items():
            if other != node and name_of(other) == name and at != address:
                return _taken(other) if self._heard_at(other) > self._claimed_at(node, now) + self._patience_s else ""
        self._claims.pop(node, None)
        return None

    def _claimed_at(self, node: str, now: float) -> float:
        if len(self._claims) > _CLAIMS_MAX:
            self._claims.clear()
        return self._claims.setdefault(node, now)


def _taken(holder: str) -> str:
    return f"the name {name_of(holder)!r} is that of {holder}, which is live"
