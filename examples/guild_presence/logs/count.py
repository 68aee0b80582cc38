"""What a replay must come to, by the rules alone: no actor, no message, nothing of the library takes part."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from examples.guild_presence.logs.log import parse
from examples.guild_presence.logs.room import Room

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Expected", "expect"]


class Expected(NamedTuple):
    """What one replay of a guild's lines gives. `deliveries`: the recipients of all its events, added up."""

    events: int
    deliveries: int


def expect(lines: Iterable[str]) -> Expected:
    """Count the events of a guild's lines, and everybody who is to get each of them."""
    room: Room[None] = Room(enter=lambda _nick: None, leave=lambda _member: None)
    events = deliveries = 0
    for line in lines:
        event = parse(line)
        if event and room.apply(event):
            events += 1
            deliveries += len(room.members)
    return Expected(events, deliveries)
