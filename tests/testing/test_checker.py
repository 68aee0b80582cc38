"""The checker finds each kind of fault, says where it is, and finds none where there is none."""

from __future__ import annotations

import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifold
import manifold.testing.checker as module
from manifold.testing import Checker, Faulty


def filled(sent: list[int], arrived: list[int], *, ended: bool = False) -> Checker:
    checker = Checker()
    for number in sent:
        checker.sending("s", ["r"], number)
    for number in arrived:
        checker.arrived("r", "s", number)
    if ended:
        checker.ended("r")
    return checker


def found(checker: Checker) -> list[tuple[str, int]]:
    return [(fault.kind, fault.sequence) for fault in checker.faults()]


def test_the_example_in_the_docstring():
    example = textwrap.dedent("    " + module.__doc__.split("\n\n    ", 1)[1].rpartition("\n\n")[0])
    space = {"manifold": manifold, "Checker": Checker}
    exec(example, space)
    assert space["checker"].total == 200


def test_what_arrives_as_sent_is_no_fault():
    checker = filled([1, 2, 2, 5], [1, 2, 2, 5])
    checker.check()
    assert checker.total == 4


@pytest.mark.parametrize(
    ("sent", "arrived", "faults"),
    [
        ([1, 2, 3], [1, 3], [("lost", 2)]),
        ([1, 2, 3], [1, 2], [("lost", 3)]),
        ([1, 2, 3], [], [("lost", 1), ("lost", 2), ("lost", 3)]),
        ([1, 1], [1], [("lost", 1)]),
        ([1, 2], [1, 1, 2], [("duplicated", 1)]),
        ([1, 2], [1, 2, 1], [("duplicated", 1)]),
        ([1, 2, 3], [2, 1, 3], [("reordered", 1)]),
        ([1, 2, 3], [3, 1, 2], [("reordered", 1), ("reordered", 2)]),
        ([2, 1], [1, 2], [("reordered", 2)]),
        ([1, 1, 2], [1, 2, 1], [("reordered", 1)]),
        ([1], [1, 7], [("stray", 7)]),
        ([], [7], [("stray", 7)]),
        ([1, 2, 3, 4], [1, 3, 2, 2], [("lost", 4), ("duplicated", 2), ("reordered", 2)]),
    ],
)
def test_each_fault_is_found(sent, arrived, faults):
    assert found(filled(sent, arrived)) == faults


def test_only_the_tail_may_be_missing_at_a_recipient_that_has_ended():
    assert found(filled([1, 2, 3], [1], ended=True)) == []
    assert found(filled([1, 2, 3], [], ended=True)) == []
    assert found(filled([1, 2, 3], [2], ended=True)) == [("lost", 1)]
    assert found(filled([1, 2, 2, 3], [1, 2], ended=True)) == []
    assert found(filled([1, 1, 2, 3], [1, 2], ended=True)) == [("lost", 1)]


def test_what_was_sent_before_its_sender_ended_the_recipient_has_to_arrive():
    checker = filled([1, 2], [1])
    checker.ending("s", "r")
    checker.sending("s", ["r"], 3)
    checker.ended("r")
    assert found(checker) == [("lost", 2)]


def test_the_message_that_ends_a_recipient_has_to_arrive_once():
    checker = filled([1, 2, 2, 3], [1])
    checker.ending("s", "r", 2)
    checker.ended("r")
    assert found(checker) == [("lost", 2)]
    checker = filled([1, 2, 2, 3], [1, 2])
    checker.ending("s", "r", 2)
    checker.ended("r")
    assert found(checker) == []


def test_a_message_handled_after_the_end_is_a_fault():
    checker = filled([1, 2], [1], ended=True)
    checker.arrived("r", "s", 2)
    assert found(checker) == [("after end", 2)]


def test_a_send_that_was_refused_is_not_expected():
    checker = filled([1, 2], [1])
    checker.not_sent("s", ["r"], 2)
    checker.check()


def test_what_is_excused_may_be_missing_and_nothing_else():
    checker = filled([1, 2, 3, 4], [1, 4])
    checker.excused("s", ["r"], 2)
    assert found(checker) == [("lost", 3)]
    checker.excused("s", ["r"], 3)
    checker.check()
    checker.arrived("r", "s", 2)  # it may have arrived all the same, but in order
    assert found(checker) == [("reordered", 2)]


def test_what_is_excused_may_not_come_twice():
    checker = filled([1, 2], [1, 2, 2])
    checker.excused("s", ["r"], 2)
    assert found(checker) == [("duplicated", 2)]


@pytest.mark.parametrize(
    ("arrived", "faults"),
    [
        ([1, 2, 3], []),
        ([1, 2], []),
        ([], []),
        ([1, 3], [("lost", 2)]),
        ([2, 1], [("reordered", 1)]),
        ([1, 1], [("duplicated", 1)]),
        ([1, 7], [("stray", 7)]),
    ],
)
def test_between_those_who_are_severed_only_the_tail_may_be_missing(arrived, faults):
    checker = filled([1, 2, 3], arrived)
    checker.severed(iter(["x", "s"]), iter(["q", "r"]))
    assert found(checker) == faults


def test_to_be_severed_holds_for_the_pair_alone_and_for_what_is_sent_later_too():
    checker = Checker()
    checker.severed(["s"], ["r"])
    checker.sending("s", ["r", "q"], 1)
    checker.sending("t", ["r"], 1)
    assert [(fault.sender, fault.recipient) for fault in checker.faults()] == [("s", "q"), ("t", "r")]


def test_what_was_sent_before_its_end_has_to_arrive_also_where_they_are_severed():
    checker = filled([1, 2], [1])
    checker.ending("s", "r")
    checker.severed(["s"], ["r"])
    assert found(checker) == [("lost", 2)]


def test_pairs_are_kept_apart():
    checker = Checker()
    checker.sending("a", ["r", "q"], 1)
    checker.sending("b", ["r"], 1)
    checker.arrived("r", "b", 1)
    checker.arrived("r", "a", 1)
    assert [(fault.sender, fault.recipient) for fault in checker.faults()] == [("a", "q")]
    assert (checker.copies("a", 1), checker.copies("b", 1), checker.total) == (1, 1, 2)
    assert (checker.total_from(["a"]), checker.total_from(["a", "b"]), checker.total_from(["c"])) == (1, 2, 0)


def test_the_error_shows_sender_recipient_note_and_what_stands_around_the_fault():
    with pytest.raises(Faulty) as caught:
        filled(list(range(100)), [n for n in range(100) if n != 50]).check("seed 7")
    text = str(caught.value)
    assert "1 lost (seed 7)" in text
    assert "lost: 50 from s to r" in text
    assert "46 47 48 49 50 51 52 53 54" in text
    assert "46 47 48 49 51 52 53 54" in text


def test_many_faults_are_counted_and_the_first_are_shown():
    with pytest.raises(Faulty, match="500 lost") as caught:
        filled(list(range(500)), []).check()
    assert len(caught.value.faults) == 500
    assert "and 480 more" in str(caught.value)


def test_it_may_be_used_from_many_threads():
    checker = Checker()

    def work(sender: int) -> None:
        for number in range(2_000):
            checker.sending(sender, ["r", "q"], number)
            checker.arrived("r", sender, number)
            checker.arrived("q", sender, number)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    checker.check()
    assert checker.total == 16_000


@given(st.lists(st.integers(0, 6), max_size=12), st.lists(st.integers(0, 6), max_size=12))
def test_it_is_content_exactly_with_what_was_sent(sent, arrived):
    sent = sorted(sent)
    assert bool(found(filled(sent, arrived))) == (arrived != sent)
