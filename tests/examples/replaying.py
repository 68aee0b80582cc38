"""What tests of whole replays share: how to run one, and what it must come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from examples.guild_presence.replay.driver import How, replay
from tests.examples.by_hand import count_by_hand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from examples.guild_presence.logs.report import Report

both_ways = pytest.mark.parametrize("plain_list", [False, True], ids=["audience", "list"])


def run(guilds: Mapping[str, Sequence[str]], **how: Any) -> Report:
    return replay(guilds, How(**how), lambda *_: None)


def assert_as_by_hand(report: Report, guilds: Mapping[str, Sequence[str]], repeat: int = 1) -> None:
    assert report.flawless
    for guild in report.guilds:
        counted = count_by_hand(guilds[guild.name])
        assert (guild.events, guild.deliveries) == (repeat * counted.events, repeat * counted.deliveries)
        assert guild.lines == guild.events + guild.ignored == repeat * len(guilds[guild.name])
