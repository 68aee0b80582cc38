"""Hash slots: an actor's id carries its slot in the low bits, so that finding its worker is one look-up.

Slots are dealt out in the order of their xxh3 hashes: every run of `SLOTS` actors started on a node covers each
slot once, so that load is even for four actors as for four million, and still hashed: neighbours in the order
of starting share nothing.
"""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

__all__ = ["SLOTS", "SLOT_BITS", "SLOT_MASK", "SLOT_ORDER", "mint_id"]

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
