"""The ids of actors: the same on every platform, unique, 64 bits, and dealt evenly over the hash slots."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from manifold.core.hashing import SLOT_BITS, SLOT_MASK, SLOT_ORDER, SLOTS, mint_id

SERIALS = st.integers(0, 2**52 - 1)
GOLDEN = {
    0: 738,
    1: 4614,
    2: 12194,
    3: 14329,
    4095: 16774760,
    4096: 16777954,
    4097: 16781830,
    1_000_000: 4096003444,
    2**52 - 1: 18446744073709549160,
}


@pytest.mark.parametrize(("serial", "number"), GOLDEN.items())
def test_ids_are_the_golden_ones(serial, number):
    assert mint_id(serial) == number


def test_the_hash_is_the_published_one():
    assert xxh3_64_intdigest(b"") == 0x2D06800538D394C2


def test_there_are_as_many_slots_as_the_low_bits_tell():
    assert SLOTS == 1 << SLOT_BITS == SLOT_MASK + 1
    assert sorted(SLOT_ORDER) == list(range(SLOTS))


def test_slots_are_dealt_in_the_order_of_their_hashes():
    hashes = [xxh3_64_intdigest(slot.to_bytes(2, "little")) for slot in SLOT_ORDER]
    assert hashes == sorted(hashes)


@given(st.integers(0, 2**52 - 1 - SLOTS))
def test_every_run_of_serials_covers_each_slot_once(first):
    slots = [mint_id(serial) & SLOT_MASK for serial in range(first, first + SLOTS)]
    assert sorted(slots) == list(range(SLOTS))


@given(SERIALS, SERIALS)
def test_ids_of_different_serials_differ(one, two):
    assert (mint_id(one) == mint_id(two)) is (one == two)


@given(SERIALS)
def test_ids_fit_into_64_bits(serial):
    assert 0 <= mint_id(serial) < 2**64


def test_neighbours_in_the_order_of_starting_are_not_neighbours_in_slots():
    slots = [mint_id(serial) & SLOT_MASK for serial in range(SLOTS)]
    near = sum(abs(one - two) == 1 for one, two in itertools.pairwise(slots))
    assert near < SLOTS // 100
