"""Guilds and traffic that are made up, as log lines. The one rule: the same arguments give the same lines."""

from __future__ import annotations

from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guild_lines", "guild_sizes", "make_up", "make_up_text"]

_WORDS = ("hello", "anyone", "there", "how", "do", "i", "install", "this", "thanks", "that", "worked", "try")
_LINES_PER_MINUTE = 12
# Of 100 lines so many are each of these.
_TALK, _COME_OR_GO, _RENAME, _ACTION = 88, 8, 2, 2


def make_up(guilds: int, users: int, lines: int, seed: int) -> dict[str, list[str]]:
    """Make guilds by name; they share the users as Zipf has it, and the lines according to their users.

    Each guild begins with all of its users joining: those lines come on top of `lines`.
    """
    made = {}
    for rank, size in enumerate(guild_sizes(guilds, users, Random(seed)), 1):
        random = Random(f"{seed}/{rank}")
        made[f"guild-{rank}"] = list(guild_lines(size, round(lines * size / users), random))
    return made


def guild_sizes(guilds: int, users: int, random: Random) -> list[int]:
    """Let each user choose a guild, that of rank r with a chance in proportion to 1/r; none stays empty."""
    weights = list(accumulate(1 / rank for rank in range(1, guilds + 1)))
    sizes = [0] * guilds
    for chosen in random.choices(range(guilds), cum_weights=weights, k=users):
        sizes[chosen] += 1
    return [max(1, size) for size in sizes]


def guild_lines(size: int, lines: int, random: Random) -> Iterator[str]:
    """Give one guild's log: `size` users join, then `lines` lines in which they talk, come, go and rename."""
    nicks = [f"user{number}" for number in range(size)]
    present = set(nicks)
    yield from (f"=== {nick} has joined #made-up" for nick in nicks)
    for number in range(lines):
        at = number // _LINES_PER_MINUTE % (24 * 60)
        yield _line(nicks, present, f"[{at // 60:02}:{at % 60:02}]", random)


def make_up_text(random: Random) -> str:
    """Say something."""
    return " ".join(random.choices(_WORDS, k=random.randint(1, 12)))


def _line(nicks: list[str], present: set[str], clock: str, random: Random) -> str:
    who = random.randrange(len(nicks))
    nick = nicks[who]
    what = random.choices("tcra", weights=(_TALK, _COME_OR_GO, _RENAME, _ACTION))[0]
    if what == "c":
        present ^= {nick}
        return f"=== {nick} has {'joined' if nick in present else 'left'} #made-up"
    text = make_up_text(random)
    if what == "a":
        return f"{clock}  * {nick} {text}"
    present.add(nick)
    if what == "t":
        return f"{clock} <{nick}> {text}"
    present.remove(nick)
    nicks[who] = nick.removesuffix("_away") if nick.endswith("_away") else f"{nick}_away"
    present.add(nicks[who])
    return f"=== {nick} is now known as {nicks[who]}"
