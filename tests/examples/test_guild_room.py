"""`room` and `count`: who is present after an event, and what a whole log comes to."""

from __future__ import annotations

import pytest
from hypothesis import example, given

from examples.guild_presence.logs.count import Expected, expect
from examples.guild_presence.logs.log import JOIN, LEAVE, MESSAGE, NICK, Event, parse, read_lines
from examples.guild_presence.logs.room import Room
from tests.examples.by_hand import REAL_LOGS, count_by_hand, needs_real_logs
from tests.examples.sample_logs import EVERY_CASE, RECIPIENTS, logs


class Recorded:
    """A room whose members are numbered in the order they came, and who notes who left."""

    def __init__(self, *nicks: str) -> None:
        self.came: list[str] = []
        self.left: list[int] = []
        self.room: Room[int] = Room(self._enter, self.left.append)
        for nick in nicks:
            self.room.apply(Event(JOIN, nick))

    def _enter(self, nick: str) -> int:
        self.came.append(nick)
        return len(self.came)


@pytest.mark.parametrize(
    ("event", "goes_out", "members", "left"),
    [
        (Event(MESSAGE, "ann", "hi"), True, {"ann": 1, "bob": 2}, []),
        (Event(MESSAGE, "cy", "hi"), True, {"ann": 1, "bob": 2, "cy": 3}, []),
        (Event(JOIN, "ann"), True, {"ann": 1, "bob": 2}, []),
        (Event(JOIN, "cy"), True, {"ann": 1, "bob": 2, "cy": 3}, []),
        (Event(LEAVE, "ann"), True, {"bob": 2}, [1]),
        (Event(LEAVE, "cy"), False, {"ann": 1, "bob": 2}, []),
        (Event(NICK, "ann", "cy"), True, {"cy": 1, "bob": 2}, []),
        (Event(NICK, "ann", "bob"), True, {"bob": 2}, [1]),
        (Event(NICK, "ann", "ann"), True, {"ann": 1, "bob": 2}, []),
        (Event(NICK, "cy", "dee"), True, {"ann": 1, "bob": 2, "dee": 3}, []),
        (Event(NICK, "cy", "bob"), True, {"ann": 1, "bob": 2}, []),
        (Event(NICK, "cy", "cy"), True, {"ann": 1, "bob": 2, "cy": 3}, []),
    ],
)
def test_the_rules(event: Event, goes_out: bool, members: dict[str, int], left: list[int]) -> None:
    recorded = Recorded("ann", "bob")
    assert recorded.room.apply(event) is goes_out
    assert recorded.room.members == members
    assert recorded.left == left


def test_every_case_line_by_line() -> None:
    recorded = Recorded()
    seen: list[int | None] = []
    for line in EVERY_CASE:
        event = parse(line)
        goes_out = event is not None and recorded.room.apply(event)
        seen.append(len(recorded.room.members) if goes_out else None)
    assert seen == RECIPIENTS


def test_every_case_counted() -> None:
    recipients = [number for number in RECIPIENTS if number is not None]
    assert expect(EVERY_CASE) == Expected(len(recipients), sum(recipients)) == count_by_hand(EVERY_CASE)


@given(logs)
@example(["=== a is now known as a", "=== a has left #x []", "=== a has left #x []"])
def test_two_ways_of_counting_agree(lines: list[str]) -> None:
    assert expect(lines) == count_by_hand(lines)


@needs_real_logs
@pytest.mark.parametrize("path", REAL_LOGS, ids=lambda path: path.stem)
def test_two_ways_of_counting_agree_on_real_logs(path) -> None:
    text = path.read_text()
    assert expect(read_lines(path)) == count_by_hand(text.removesuffix("\n").split("\n"))
