"""Who is present in a guild. The one rule: apply an event, and `members` are those who are to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from examples.guild_presence.logs.log import LEAVE, NICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.guild_presence.logs.log import Event

__all__ = ["Room"]

M = TypeVar("M")


class Room(Generic[M]):
    """The members of a guild by nick; what a member is, `enter` makes (from the nick) and `leave` ends."""

    def __init__(self, enter: Callable[[str], M], leave: Callable[[M], object]) -> None:
        self.members: dict[str, M] = {}
        self._enter_hook = enter
        self._leave_hook = leave

    def apply(self, event: Event) -> bool:
        """Bring the members up to date; tell whether the event goes out: False for a stranger who leaves."""
        if event.kind == LEAVE:
            return self._leave(event.nick)
        if event.kind == NICK:
            self._rename(event.nick, event.text)
        else:
            self._enter(event.nick)
        return True

    def _enter(self, nick: str) -> None:
        if nick not in self.members:
            self.members[nick] = self._enter_hook(nick)

    def _leave(self, nick: str) -> bool:
        if nick not in self.members:
            return False
        self._leave_hook(self.members.pop(nick))
        return True

    def _rename(self, old: str, new: str) -> None:
        """Who is renamed stays the same member, unless the new nick is present already: then old goes."""
        if old not in self.members or old == new:
            self._enter(new)
        elif new in self.members:
            self._leave(old)
        else:
            self.members[new] = self.members.pop(old)
