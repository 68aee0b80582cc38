"""Who is in an audience: as it is known from afar, by its owner (`Roll`), and where the members live (`Replica`).

What becomes of one member, and what is said of it:

| | JOIN | JOIN OF ONE ENDED | LEAVE | ENDED | LEFT | LEFT BEFORE | LOST |
|---|---|---|---|---|---|---|---|
| OUT | IN | OUT left | OUT | OUT | OUT | OUT | OUT |
| IN | IN | IN | OUT | OUT left | OUT | IN | OUT |

A replica sees the actors: JOIN OF ONE ENDED and ENDED are its alone. A roll is told: LEFT, or LOST, the whole place.

The owner numbers its joins, and `left` comes with the number of the last join that the replica had taken. So LEFT
BEFORE is known: word of a member that was let go and taken in again before the word came. To a replica both are one, as
no actor that has ended lives again. But between the two there may be one who passes joins on, with a roll of its own (a
main process, to its workers): it takes in again whom it does not know to have ended, and would count one more than an
owner that heeds the older word. So it is that wherever a message comes, it is meant for no fewer than are in there, and
whoever is not in any more has ended.

No I/O, and no locks: each is used by one thread at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Replica", "Roll"]

Actor = TypeVar("Actor")


class Roll:
    """The members of an audience by the place where they live, each with the number of the join that took it in."""

    __slots__ = ("_joins",)

    def __init__(self) -> None:
        self._joins: dict[str, dict[int, int]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._joins.values()))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((place, number) for place, joins in self._joins.items() for number in joins)

    def has(self, place: str, number: int) -> bool:
        """Tell whether an actor is in."""
        return number in self._joins.get(place, ())

    def keeps(self, place: str) -> bool:
        """Tell whether there is a replica at a place: also when the last member there has left."""
        return place in self._joins

    def places(self) -> list[str]:
        """Give the places that keep replicas."""
        return list(self._joins)

    def counts(self) -> dict[str, int]:
        """Give how many members there are, by place; only of places with any."""
        return {place: len(joins) for place, joins in self._joins.items() if joins}

    def fresh(self, place: str, ids: Iterable[int]) -> list[int]:
        """Give those of these actors that are not in, each once."""
        joins = self._joins.get(place, ())
        return list(dict.fromkeys(number for number in ids if number not in joins))

    def join(self, place: str, ids: Iterable[int], join: int) -> None:
        """Take in actors, as the place was told with this join."""
        self._joins.setdefault(place, {}).update(dict.fromkeys(ids, join))

    def leave(self, place: str, number: int) -> None:
        """Let go of an actor, as the place was told."""
        del self._joins[place][number]

    def left(self, place: str, ids: Iterable[int], join: int) -> list[int]:
        """Heed what a place says: these have ended, if they came in with this join or before; give those that leave."""
        joins = self._joins.get(place, {})
        gone = [number for number in ids if joins.get(number, join + 1) <= join]
        for number in gone:
            del joins[number]
        return gone

    def lost(self, place: str) -> tuple[list[int], int]:
        """Let go of all at a place; give them, and the last join that one of them came in with."""
        joins = self._joins.pop(place, {})
        return list(joins), max(joins.values(), default=0)

    def clear(self) -> None:
        """Let go of all."""
        self._joins = {}


class Replica(Generic[Actor]):
    """The members of an audience that live here, and the number of the last join of the owner's that was taken."""

    __slots__ = ("last_join", "members")

    def __init__(self) -> None:
        self.members: dict[int, Actor] = {}
        self.last_join = 0

    def join(self, found: Mapping[int, Actor | None], join: int) -> list[int]:
        """Take in actors; give the ids of those that have ended (None), of whom the owner is to be told.

        One that is in, and has ended, is not among these: its end is still to come.
        """
        self.last_join = join
        self.members.update({number: actor for number, actor in found.items() if actor is not None})
        return [number for number in found if number not in self.members]

    def leave(self, number: int) -> Actor | None:
        """Let go of an actor, or learn that it has ended; give it if it was in, for its owner to be told of its end."""
        return self.members.pop(number, None)

    def ended(self, counted: int) -> int:
        """Give how many have ended of those that the sender of a message counts; below 0, it counts too few."""
        return counted - len(self.members)
