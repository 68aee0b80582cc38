"""An audience of a sender, and who should be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import manifold
from manifold.errors import Overloaded

if TYPE_CHECKING:
    from tests.campaign.senders import Source

__all__ = ["Listed"]


class Listed:
    """An audience, and who should be in it."""

    def __init__(self, source: Source, pids: list[manifold.PID]) -> None:
        self._source = source
        self._seen = len(source.world.simulation.history)
        self.members: dict[manifold.PID, None] = {}
        self.audience = manifold.Audience()
        self.add(pids)

    def follow(self) -> None:
        """Take out whose node was seen to go down."""
        history = self._source.world.simulation.history
        for change in history[self._seen :]:
            if change.node == self._source.node.id and change.reason:
                self.members = {pid: None for pid in self.members if pid.node != change.other}
        self._seen = len(history)

    def add(self, pids: list[manifold.PID]) -> None:
        self.follow()
        up = self._source.node.nodes()
        self.members.update((pid, None) for pid in pids if pid.node in up)
        try:
            self.audience.update(pids)
        except Overloaded:
            self.members = dict.fromkeys(self.audience)

    def discard(self, pid: manifold.PID) -> None:
        self.follow()
        try:
            self.audience.discard(pid)
            self.members.pop(pid, None)
        except Overloaded:
            pass

    def now(self) -> list[manifold.PID]:
        """Give who is in it, having checked that they are those who should be: who has ended may still be."""
        self.follow()
        there = list(self.audience)
        book = self._source.world.book
        missing = [pid for pid in self.members if pid not in self.audience and str(pid) not in book.ended]
        surplus = [pid for pid in there if pid not in self.members]
        if missing or surplus or len(there) != len(self.audience) or len(set(there)) != len(there):
            book.fail(f"an audience of {self._source.name} lacks {missing[:3]} and has {surplus[:3]} too many")
        return there
