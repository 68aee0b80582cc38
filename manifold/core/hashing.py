"""Hash slots: an actor's id carries its slot in the low bits, so that finding its worker is one look-up.

Slots are dealt out in the order of their xxh3 hashes: every run of `SLOTS` actors started on a node covers each
slot once, so that load is even for four actors as for four million, and still hashed: neighbours in the order
of starting share nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["ERAS", "SLOTS", "SLOT_BITS", "SLOT_MASK", "SLOT_ORDER", "mint_id", "mint_ids"]

SLOT_BITS = 12
SLOTS = 1 << SLOT_BITS
SLOT_MASK = SLOTS - 1

SLOT_ORDER: tuple[int, ...] = tuple(
    sorted(range(SLOTS), key=lambda slot: xxh3_64_intdigest(slot.to_bytes(2, "little")))
)
"""All slots, in the order in which they are dealt to actors and to workers."""


def mint_id(serial: int) -> int:
    """Give the id of the actor that is the `serial`-th of its node (from 0, below 2**52)."""
    return serial << SLOT_BITS | SLOT_ORDER[serial & SLOT_MASK]


_ERA_BITS = 20
ERAS = 1 << _ERA_BITS
"""How many eras there are: parts of a node's serials, one for each process that ever mints ids of its own."""

_SERIALS = 1 << (64 - SLOT_BITS - _ERA_BITS)


def mint_ids(slots: Collection[int], era: int = 0) -> Iterator[int]:
    """Give the ids of an era whose slots are among these, in order; never 0. Ids of different eras never meet."""
    places = [place for place, slot in enumerate(SLOT_ORDER) if slot in slots]
    first = era * _SERIALS
    for block in itertools.count(first, SLOTS):
        for place in places:
            if block + place:
                yield mint_id(block + place)
