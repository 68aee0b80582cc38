"""The driver: a task per guild hands its actor the log a piece at a time, the next when that is done.

So nothing piles up, however fast the log is read.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import manifold
from examples.guild_presence.actors import ANSWER_S, CLOSE, LINES, Guild
from examples.guild_presence.count import expect
from examples.guild_presence.pace import batches
from examples.guild_presence.report import GuildReport, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from examples.guild_presence.actors import Step

    OnStep = Callable[[str, int, Step], object]
    """Called with a guild's name, and of a piece of its log how many lines it has and what it came to."""

__all__ = ["BATCH_LINES", "How", "replay"]

BATCH_LINES = 256


@dataclass(frozen=True, slots=True)
class How:
    """How to replay. `speed`: times faster than the logs' clock, None for as fast as it goes."""

    repeat: int = 1
    speed: float | None = None
    plain_list: bool = False
    workers: int | None = None


def replay(guilds: Mapping[str, Sequence[str]], how: How, on_step: OnStep) -> Report:
    """Replay the logs, by name, on a node of this process, and report. Blocks until all is done."""
    report = Report([_blank(name, lines, how.repeat) for name, lines in guilds.items()])
    node = manifold.start(workers=how.workers)
    try:
        began = time.perf_counter()
        asyncio.run(_replay_all(guilds, how, report, on_step))
        report.seconds = time.perf_counter() - began
        report.handoffs = node.stats().handoffs
    finally:
        manifold.stop()
    return report


def _blank(name: str, lines: Sequence[str], repeat: int) -> GuildReport:
    expected = expect(lines)
    return GuildReport(name, lines=repeat * len(lines), deliveries_expected=repeat * expected.deliveries)


async def _replay_all(guilds: Mapping[str, Sequence[str]], how: How, report: Report, on_step: OnStep) -> None:
    async with asyncio.TaskGroup() as tasks:
        for guild in report.guilds:
            tasks.create_task(_replay_guild(guild, guilds[guild.name], how, on_step))


async def _replay_guild(report: GuildReport, lines: Sequence[str], how: How, on_step: OnStep) -> None:
    guild = Guild.start(plain_list=how.plain_list).pid
    for _ in range(how.repeat):
        await _replay_once(guild, report, lines, how, on_step)


async def _replay_once(
    guild: manifold.PID, report: GuildReport, lines: Sequence[str], how: How, on_step: OnStep
) -> None:
    began = time.monotonic()
    for due_s, batch in batches(lines, BATCH_LINES, how.speed):
        if how.speed is not None:
            await asyncio.sleep(began + due_s - time.monotonic())
        step: Step = await manifold.ask(guild, {"t": LINES, "lines": list(batch)}, timeout=ANSWER_S)
        report.events += step["events"]
        on_step(report.name, len(batch), step)
    _add(report, await manifold.ask(guild, {"t": CLOSE}, timeout=ANSWER_S))


def _add(report: GuildReport, tally: tuple[int, int, int, int]) -> None:
    received, lost, duplicated, reordered = tally
    report.deliveries += received
    report.lost += lost
    report.duplicated += duplicated
    report.reordered += reordered
