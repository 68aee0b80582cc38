"""Places and eras: an actor of a node is found in the process that its slot belongs to, and ids never meet."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from manifold.core.hashing import ERAS, SLOT_MASK, SLOTS, mint_id, mint_ids
from manifold.core.pid import PID
from manifold.core.routing import Places, SlotPlaces, assign, node_of

NODE = "gw@1"
TABLE = assign(4)
PLACES = SlotPlaces(NODE, [NODE if worker == 3 else f"{NODE}/{worker}" for worker in TABLE])

PIDS = st.lists(st.builds(PID, st.sampled_from([NODE, "b@2", "c@3"]), st.integers(0, 2**64 - 1)), max_size=40)


@given(PIDS)
def test_grouping_keeps_everybody_in_order_at_their_places(pids):
    for places in (PLACES, Places(NODE)):
        groups = places.group(pids)
        assert {place: [pid for pid in pids if places.of(pid) == place] for place in map(places.of, pids)} == groups


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_ids_are_grouped_as_their_pids(ids):
    groups = PLACES.group([PID(NODE, number) for number in ids])
    assert {place: [pid.id for pid in pids] for place, pids in groups.items()} == PLACES.group_ids(ids)


def test_a_place_names_its_node():
    assert [node_of(place) for place in ("a@1", "a@1/0", "a@1/")] == ["a@1"] * 3


def test_ids_of_some_slots_are_those_of_all_in_turn():
    slots = {slot for slot in range(SLOTS) if TABLE[slot] == 1}
    ids = list(islice(mint_ids(slots), 3 * len(slots)))
    assert {number & SLOT_MASK for number in ids} == slots
    every = [mint_id(serial) for serial in range(3 * SLOTS)]
    assert ids == [number for number in every if number & SLOT_MASK in slots]
    assert 0 not in islice(mint_ids(set(range(SLOTS))), 10)


def test_ids_of_different_eras_and_slots_never_meet():
    parts = [{slot for slot in range(SLOTS) if TABLE[slot] == worker} for worker in range(4)]
    minted = [number for era in (0, 1, 2, ERAS - 1) for slots in parts for number in islice(mint_ids(slots, era), 2000)]
    assert len(set(minted)) == len(minted)
    assert max(minted) < 2**64
