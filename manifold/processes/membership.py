"""The nodes that are connected, of which the worker processes of this one hear too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.cluster.membership import Membership

if TYPE_CHECKING:
    from manifold.processes.crew import Crew

__all__ = ["TellingMembership"]


class TellingMembership(Membership):
    """Workers hear of a node before anything of it comes to them, and of its end behind all that came of it."""

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

    def joined(self, node: str, address: str) -> None:
        self._crew.node_up(node, address)
        super().joined(node, address)

    def left(self, node: str, reason: str) -> None:
        super().left(node, reason)
        self._crew.node_down(node, reason)
