"""The rules of the replay once more, on purpose in another way: words and sets, no patterns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

REAL_LOGS = sorted((Path(__file__).parents[3] / "shared/data/irc").glob("*.log"))
needs_real_logs = pytest.mark.skipif(not REAL_LOGS, reason="the #ubuntu logs are not in ../shared/data/irc")


class Counted(NamedTuple):
    events: int
    deliveries: int


def count_by_hand(lines: Iterable[str]) -> Counted:
    present: set[str] = set()
    events = deliveries = 0
    for line in lines:
        if _happens(line, present):
            events += 1
            deliveries += len(present)
    return Counted(events, deliveries)


def _happens(line: str, present: set[str]) -> bool:
    if line[:4] == "=== ":
        return _notice(line[4:].split(" "), present)
    head, bracket, rest = line.partition("] <")
    nick, end, _ = rest.partition("> ")
    stamped = len(head) == 6 and head[0] == "[" and head[3] == ":" and (head[1:3] + head[4:]).isdigit()
    if not (bracket and stamped and end and nick and ">" not in nick):
        return False
    present.add(nick)
    return True


def _notice(words: list[str], present: set[str]) -> bool:
    nick, *rest = words
    said = " ".join(rest)
    if not nick:
        return False
    if said.startswith("has joined #") and len(said.split()) == 3 and len(rest[2]) > 1:
        present.add(nick)
        return True
    if said.startswith("is now known as ") and rest[4]:
        present.discard(nick)
        present.add(" ".join(rest[4:]).strip())
        return True
    left = said.startswith("has left #") and len(rest[2]) > 1
    kicked = said.startswith("was kicked off #") and len(rest[3]) > 1 and len(rest) > 5 and rest[4] == "by"
    if (left or kicked) and nick in present:
        present.remove(nick)
        return True
    return False
