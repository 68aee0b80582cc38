"""A PID is an immutable value: equal, hashable, ordered, copied, pickled and read back from its text."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold import PID

IDS = st.integers(0, 2**64 - 1)
PIDS = st.builds(PID, st.text(min_size=1), IDS)
BAD_TEXTS = [
    "",
    "/",
    "node",
    "node/",
    "/5",
    "node/-1",
    "node/+1",
    "node/1.5",
    "node/0x5",
    "node/1_0",
    "node/ 5",
    "node/5 ",
    "node/5\n",
    "node/five",
    "node/\u0663",
    "node/\u00b2",
    f"node/{2**64}",
    f"node/{'9' * 5000}",
]


def test_a_pid_tells_its_node_and_its_id():
    pid = PID("north@1", 7)
    assert (pid.node, pid.id) == ("north@1", 7)


@pytest.mark.parametrize("name", ["node", "id", "_actor", "other"])
def test_a_pid_cannot_be_changed(name):
    pid = PID("north@1", 7)
    with pytest.raises(AttributeError, match=name):
        setattr(pid, name, "south@1")
    with pytest.raises(AttributeError, match=name):
        delattr(pid, name)
    assert (pid.node, pid.id) == ("north@1", 7)


def test_a_pid_has_no_dict_to_pay_for():
    assert not hasattr(PID("north@1", 7), "__dict__")


@given(PIDS, PIDS)
def test_pids_are_equal_and_hash_alike_when_node_and_id_are(one, two):
    assert (one == two) is ((one.node, one.id) == (two.node, two.id))
    assert (one != two) is not (one == two)
    again = PID(one.node, one.id)
    assert again == one
    assert hash(again) == hash(one)
    assert {one: "found"}[again] == "found"


@pytest.mark.parametrize("other", [("north@1", 7), "north@1/7", 7, None, object()])
def test_a_pid_equals_nothing_but_a_pid(other):
    assert PID("north@1", 7) != other
    with pytest.raises(TypeError):
        assert PID("north@1", 7) < other


@given(PIDS, PIDS)
def test_pids_order_by_node_then_by_id(one, two):
    left, right = (one.node, one.id), (two.node, two.id)
    assert (one < two) is (left < right)
    assert (one <= two) is (left <= right)
    assert (one > two) is (left > right)
    assert (one >= two) is (left >= right)


@given(st.text(min_size=1), IDS, IDS)
def test_pids_of_one_node_order_by_id(node, one, two):
    assert (PID(node, one) < PID(node, two)) is (one < two)


@given(st.lists(PIDS))
def test_pids_sort_as_their_nodes_and_ids_do(pids):
    assert [(pid.node, pid.id) for pid in sorted(pids)] == sorted((pid.node, pid.id) for pid in pids)


@given(PIDS, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_pickled_pid_is_equal_and_hashes_alike(pid, protocol):
    loaded = pickle.loads(pickle.dumps(pid, protocol))
    assert type(loaded) is PID
    assert loaded == pid
    assert hash(loaded) == hash(pid)


@given(PIDS)
def test_copies_are_equal(pid):
    assert copy.copy(pid) == pid
    assert copy.deepcopy(pid) == pid
    assert copy.deepcopy({"at": [pid, (pid,)]}) == {"at": [pid, (pid,)]}


@given(PIDS)
def test_the_text_of_a_pid_reads_back_as_the_pid(pid):
    assert PID.parse(str(pid)) == pid


@given(PIDS)
def test_the_repr_of_a_pid_evaluates_to_it(pid):
    assert eval(repr(pid)) == pid


@given(PIDS, PIDS)
def test_different_pids_have_different_texts(one, two):
    assert (str(one) == str(two)) is (one == two)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: ascii(text)[:30])
def test_a_bad_text_is_refused_by_an_error_that_shows_it(text):
    with pytest.raises(ValueError, match="not a PID") as caught:
        PID.parse(text)
    assert text[:20] in str(caught.value) or repr(text) in str(caught.value)


@given(st.text())
def test_any_text_is_a_pid_that_writes_itself_or_a_value_error(text):
    try:
        pid = PID.parse(text)
    except ValueError:
        return
    assert PID.parse(str(pid)) == pid
    assert 0 <= pid.id < 2**64
    assert pid.node
