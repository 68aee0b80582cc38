"""An audience of a sender, and who should be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import manifold
from manifold.errors import Overloaded

if TYPE_CHECKING:
    from tests.campaign.senders import Source

__all__ = ["Listed"]


class Listed:
    """An audience, and who should be in it: all who were taken in since when, but for those whose node went down."""

    def __init__(self, source: Source, pids: list[manifold.PID]) -> None:
        self._source = source
        self._seen = len(source.world.history)
        self.members: dict[manifold.PID, float] = {}
        self.audience = manifold.Audience()
        self.add(pids)

    def follow(self) -> None:
        """Take out whose node was seen to go down."""
        history = self._source.world.history
        seen = len(history)
        for change in history[self._seen : seen]:
            if change.node == self._source.node.id and change.reason:
                self.members = {
                    pid: since for pid, since in self.members.items() if pid.node != change.other or since > change.at
                }
        self._seen = seen

    def add(self, pids: list[manifold.PID]) -> None:
        self.follow()
        world = self._source.world
        now, seen, up = world.now, len(world.history), self._source.node.nodes()
        try:
            self.audience.update(pids)
            is_known = len(world.history) == seen
        except Overloaded:
            is_known = False
        if is_known:
            fresh = [pid for pid in pids if pid.node in up or pid in self.audience]
            self.members = dict.fromkeys(fresh, now) | self.members
        else:
            self._seen = len(world.history)  # somebody went or came meanwhile: only the audience itself knows
            self.members = {pid: self.members.get(pid, now) for pid in self.audience}

    def discard(self, pid: manifold.PID) -> None:
        self.follow()
        try:
            self.audience.discard(pid)
            self.members.pop(pid, None)
        except Overloaded:
            pass

    def now(self) -> list[manifold.PID]:
        """Give who is in it, having noted who is not that should be: who has ended may, or may not.

        A node that goes down leaves audiences in the moment before that is history.
        """
        there, node = list(self.audience), self._source.node
        up = {node.id, *node.cluster.peers}
        self.follow()
        book = self._source.world.book
        for pid in set(self.members).difference(there):
            since = self.members.pop(pid)
            if pid.node in up:
                book.lacks(node.id, self._source.name, pid, since)
        surplus = [pid for pid in there if pid not in self.members and pid in self.audience]
        if surplus or len(set(there)) != len(there):
            book.fail(f"an audience of {self._source.name} has {surplus[:3]} too many: {there}")
        return there
