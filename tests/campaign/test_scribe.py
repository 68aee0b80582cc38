"""What processes write down, read again as one book, and judged: also when one of them was killed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import manifold
from tests.campaign.book import Asked, Received
from tests.campaign.judge import Case, judge
from tests.campaign.scribe import Scribe, read

A, B = "a@1", "b@1"
PID = manifold.PID(B, 7)


class Two:
    """Node a, from which somebody sends to an actor of node b."""

    def __init__(self, place):
        self.paths = [place / "a", place / "b"]
        self.a, self.b = map(Scribe, self.paths)
        self.b.born(str(PID), awaits=False)
        self.see(B)
        self.sent = 0
        self.arrived = 0

    def see(self, other, reason=""):
        self.a.change(A, other, reason)
        self.a.told(A, other, reason)

    def send(self, number):
        self.a.sending(A, f"{A}/thread", number, [PID])
        self.sent += 1

    def get(self, number):
        self.b.arrived(str(PID), f"{A}/thread", number)
        self.arrived += 1

    def judged(self, *, is_tight=False, **counts):
        """Give what is found to be wrong, by a who has counted as it should, but for `counts`."""
        for scribe in (self.a, self.b):
            scribe.sum_up()
            scribe.close()
        book = read(self.paths)
        missing = self.sent - self.arrived
        known = {"sent": self.sent, "delivered": self.arrived, "unreachable": missing, "dead": 0, "shed": 0, **counts}
        others = {"in_flight": 0, "actors": 0, "workers": 1, "queued_bytes": 0, "handoffs": 0}
        judge(Case(book, {A: manifold.Stats(**{**others, **known})}, is_tight))
        return book.wrong


@pytest.fixture
def two(tmp_path):
    return Two(tmp_path)


def exchange(two, *numbers):
    for number in numbers:
        two.send(number)
        two.get(number)


def test_all_is_well(two):
    exchange(two, 1, 2, 3)
    assert two.judged() == []


def test_a_message_that_is_lost_between_two_that_arrive(two):
    exchange(two, 1)
    two.send(2)
    exchange(two, 3)
    assert any(line.partition(" s: ")[2].startswith("lost: 2") for line in two.judged())


def test_what_was_under_way_when_the_other_went_may_be_missing(two):
    exchange(two, 1)
    two.send(2)
    two.see(B, "silent")
    two.see(B)
    exchange(two, 3)
    assert two.judged() == []


def test_what_was_lost_before_the_other_went_and_came_may_not(two):
    exchange(two, 1)
    two.send(2)
    exchange(two, 3)
    two.see(B, "silent")
    two.see(B)
    assert any("lost: 2" in line for line in two.judged())


def test_one_who_was_about_to_send_when_the_other_went_and_came(two):
    exchange(two, 1)
    two.send(2)
    two.send(3)
    two.see(B, "silent")
    two.see(B)
    two.get(3)
    assert two.judged() == []


def test_one_that_was_killed_got_the_first_of_what_was_sent(two):
    exchange(two, 1)
    two.send(2)
    two.b.kill(B)
    two.see(B, "silent")
    assert two.judged() == []


def test_a_message_that_arrives_after_the_end(two):
    exchange(two, 1)
    two.send(2)
    two.b.kill(B)
    two.get(2)
    two.see(B, "silent")
    assert any("after it was killed" in line for line in two.judged())


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"sent": 4, "unreachable": 1}, "counts 4 as sent"),
        ({"unreachable": 1}, "does not reconcile"),
        ({"delivered": 2, "dead": 1}, "counts 2 as delivered"),
        ({"delivered": 2, "shed": 1}, "with room for all"),
        ({"delivered": 2, "in_flight": 1}, "in flight for ever"),
    ],
)
def test_counts_that_are_wrong(two, counts, said):
    exchange(two, 1, 2, 3)
    assert any(said in line for line in two.judged(**counts))


def test_one_who_left_an_audience_in_the_moment_of_a_send(two):
    exchange(two, 1)
    two.a.sending(A, f"{A}/thread", 2, [PID])
    two.a.left_meanwhile(A, f"{A}/thread", 2, 1)
    two.b.end(str(PID))
    assert two.judged() == []


def test_one_who_lacks_in_an_audience_for_nothing(two):
    two.a.lacks(A, f"{A}/thread", PID, 0.0)
    assert any("lacked" in line for line in two.judged())


def test_monitors_that_fire_twice_or_never(two):
    first, second = object(), object()
    for ref in (first, second):
        two.a.monitored(ref, f"{A}/9", PID)
    for _ in range(2):
        two.a.down(f"{A}/9", SimpleNamespace(ref=first, pid=PID, reason="stopped"))
    two.b.end(str(PID))
    wrong = two.judged()
    assert any("fired 2 times" in line for line in wrong)
    assert any("never fired" in line for line in wrong)


def test_receipts_and_questions(two):
    exchange(two, 1, 2, 3)
    two.a.receipt(Received(A, f"{A}/thread", 1, 1, lambda: {B: manifold.Outcome(delivered=1)}))
    two.a.receipt(Received(A, f"{A}/thread", 2, 1, lambda: None))
    two.a.question(Asked(A, PID, (f"{A}/thread", 3, "asked", None), 0.0, lambda: None))
    wrong = two.judged()
    assert len(wrong) == 2
    assert "for 2 is never complete" in wrong[0]
    assert "never heard" in wrong[1]


def test_a_line_that_was_cut_short(two):
    exchange(two, 1)
    with two.paths[1].open("a") as file:
        file.write('[123.4, "arri')
    assert two.judged() == []
