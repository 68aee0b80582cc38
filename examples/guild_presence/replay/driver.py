"""The driver: a task per guild hands its actor the log a piece at a time, the next when that is done.

So nothing piles up, however fast the log is read. The guilds go to the nodes in turn. What their sessions found is
asked of every gateway at the end.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pykka

import manifold
from examples.guild_presence.logs.count import expect
from examples.guild_presence.logs.pace import batches
from examples.guild_presence.logs.report import GuildReport, Report
from examples.guild_presence.replay.cluster import cluster, start_node
from examples.guild_presence.replay.messages import ANSWER_S, GUILDS, LINES, REPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from examples.guild_presence.replay.messages import Step

    OnStep = Callable[[str, int, Step], object]
    """Called with a guild's name, and of a piece of its log how many lines it has and what it came to."""

__all__ = ["BATCH_LINES", "How", "replay"]

BATCH_LINES = 256


@dataclass(frozen=True, slots=True)
class How:
    """`speed`: times faster than the logs' clock, None for as fast as it goes. `workers`: on each node.

    `transport`: where a server of NATS is, None for ZeroMQ.
    """

    repeat: int = 1
    speed: float | None = None
    plain_list: bool = False
    workers: int | None = None
    nodes: int = 1
    worker_kind: Literal["thread", "loop", "process"] = "thread"
    transport: str | None = None


def replay(guilds: Mapping[str, Sequence[str]], how: How, on_step: OnStep) -> Report:
    """Replay the logs, by name, on a node of this process and others, and report. Blocks until all is done."""
    report = Report([_blank(name, lines, how.repeat) for name, lines in guilds.items()], nodes=how.nodes)
    asyncio.run(_replay(guilds, how, report, on_step))
    return report


def _blank(name: str, lines: Sequence[str], repeat: int) -> GuildReport:
    expected = expect(lines)
    return GuildReport(name, lines=repeat * len(lines), deliveries_expected=repeat * expected.deliveries)


async def _replay(guilds: Mapping[str, Sequence[str]], how: How, report: Report, on_step: OnStep) -> None:
    async with start_node(how) as node:
        async with cluster(node, how) as nodes:
            began = time.perf_counter()
            pids = await _start_guilds(list(guilds), nodes.gateways, how)
            async with asyncio.TaskGroup() as tasks:
                for guild in report.guilds:
                    tasks.create_task(_replay_guild(pids[guild.name], guild, guilds[guild.name], how, on_step))
            report.seconds = time.perf_counter() - began
            counts = {node.name: node.stats()}  # before it asks the others
            await _gather(report, nodes.gateways)
        for name, stats in (counts | nodes.counts()).items():
            _add_up(report, name, stats)
        report.troubles += nodes.deaths()


async def _start_guilds(names: Sequence[str], gateways: Sequence[manifold.PID], how: How) -> dict[str, manifold.PID]:
    """Start the guilds, at the gateways in turn. Each shall begin with the sessions of its own."""
    pids: dict[str, manifold.PID] = {}
    for index, gateway in enumerate(gateways[: len(names)]):
        turn = [*gateways[index:], *gateways[:index]]
        theirs = names[index :: len(gateways)]
        question = {"t": GUILDS, "names": theirs, "gateways": turn, "plain_list": how.plain_list}
        pids |= zip(theirs, await manifold.ask(gateway, question, timeout=ANSWER_S), strict=True)
    return pids


async def _replay_guild(
    guild: manifold.PID, report: GuildReport, lines: Sequence[str], how: How, on_step: OnStep
) -> None:
    try:
        for _ in range(how.repeat):
            await _replay_once(guild, report, lines, how, on_step)
    except (manifold.NodeDown, pykka.ActorDeadError):
        report.lost = report.deliveries_expected  # nobody knows how far it had come


async def _replay_once(
    guild: manifold.PID, report: GuildReport, lines: Sequence[str], how: How, on_step: OnStep
) -> None:
    began = time.monotonic()
    pieces = list(batches(lines, BATCH_LINES, how.speed))
    for number, (due_s, batch) in enumerate(pieces, 1):
        if how.speed is not None:
            await asyncio.sleep(began + due_s - time.monotonic())
        question = {"t": LINES, "lines": list(batch), "last": number == len(pieces)}
        step: Step = await manifold.ask(guild, question, timeout=ANSWER_S)
        report.events += step["events"]
        report.lost += step["sent"]
        on_step(report.name, len(batch), step)


async def _gather(report: Report, gateways: Sequence[manifold.PID]) -> None:
    """Ask each gateway what its sessions found."""
    guilds = {guild.name: guild for guild in report.guilds}
    for gateway in gateways:
        try:
            tallies = await manifold.ask(gateway, {"t": REPORT}, timeout=ANSWER_S)
        except (manifold.NodeDown, pykka.ActorDeadError) as error:
            report.troubles.append(str(error))
            continue
        for name, tally in tallies.items():
            guilds[name].account(tally)


def _add_up(report: Report, node: str, stats: Mapping[str, Any]) -> None:
    """Take in what a node has counted."""
    report.handoffs += stats["handoffs"]
    if stats["sent"] != sum(stats[cause] for cause in ("delivered", "dead", "shed", "unreachable", "in_flight")):
        report.troubles.append(f"the counts of {node} do not add up: {dict(stats)}")
