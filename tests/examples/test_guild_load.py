"""`load` through the real application: the figures of the rule for logs; nothing lost, whoever comes, goes or dies."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from examples.guild_presence.app.supervisor import Supervisor
from examples.guild_presence.load import rooms
from examples.guild_presence.load.crowd import Crowd, Member, Plan
from examples.guild_presence.load.gateways import Gateways
from examples.guild_presence.load.rooms import replay
from examples.guild_presence.logs.traffic import make_up
from tests.examples.app.support import until
from tests.examples.by_hand import count_by_hand
from tests.examples.replaying import assert_as_by_hand
from tests.examples.sample_logs import EVERY_CASE, RECIPIENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from examples.guild_presence.load.client import Event
    from examples.guild_presence.load.report import CrowdReport
    from examples.guild_presence.logs.report import Report

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "x" * 40
# What the sample has not: new nicks of strangers, and nicks and texts that the application would not take.
ODD_CASES = [
    ("=== dee is now known as dee", 1),
    ("=== fay is now known as dee", 1),
    ("=== gil is now known as hal", 2),
    ("=== hal is now known as dee", 1),
    (f"[09:00] <{LONG}> hi", 2),
    (f"=== {LONG} is now known as {LONG}y", 2),
    ("[09:00] <[a] ann > a space at the end of the nick", 3),
    ("[09:00] <nick-1> a nick like those that stand for odd ones", 4),
    ("[09:00] <nick-1> ", 4),
    ("[09:00] <nick-1> \t ", 4),
    (f"[09:00] <nick-1> {'long ' * 1000}", 4),
    ('[09:00] <nick-1> bell \x07, quote ", emoji \U0001f355, separator \u2028', 4),
    (f"=== {LONG}y has left #x []", 3),
    (f"=== {LONG}y has joined #x", 4),
    ("=== nick-1 was kicked off #x by dee (odd)", 3),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app() -> AsyncIterator[Supervisor]:
    async with Supervisor(gateways=2, guild_nodes=2, node_down_after_s=5.0) as app:
        yield app


@pytest.fixture
def gateways(app: Supervisor) -> Gateways:
    return Gateways(app.urls.values())


async def test_every_case_of_the_rule(gateways: Gateways) -> None:
    odd = [line for line, _ in ODD_CASES]
    logs = {"room": EVERY_CASE, "the same room at the same time, by another name": EVERY_CASE, "odd": odd}
    report = await replay(logs, 2, gateways)
    assert_as_by_hand(report, logs, repeat=2)
    assert [guild.deliveries for guild in report.guilds[:2]] == [2 * sum(filter(None, RECIPIENTS))] * 2
    assert report.guilds[2].deliveries == 2 * sum(recipients for _, recipients in ODD_CASES)


async def test_made_up_rooms(gateways: Gateways) -> None:
    logs = make_up(4, 24, 200, seed=7)
    assert_as_by_hand(await replay(logs, 1, gateways), logs)


async def test_a_log_in_which_nothing_happens(gateways: Gateways) -> None:
    report = await replay({"quiet": ["", "=== ann has left #x"]}, 1, gateways)
    assert report.flawless
    assert report.total("lines") == report.total("ignored") == 2


def meddle(monkeypatch: pytest.MonkeyPatch, how: Callable[[Any, list[Event], Event], list[Event]]) -> list[int]:
    """Have clients that wait for nothing get other than what came; keep count of the times."""
    real = rooms._Listener.on_event
    times: list[int] = []

    def on_event(self: Any, event: Event) -> None:
        meddled = [event] if self._wanted else how(self, self.events, event)
        if meddled != [event]:
            times.append(event.seq)
        for one in meddled:
            real(self, one)

    monkeypatch.setattr(rooms._Listener, "on_event", on_event)
    return times


TALK = [f"=== {nick} has joined #x" for nick in "abcd"] + ["[09:00] <a> hi"] * 20


async def judged(gateways: Gateways) -> Report:
    report = await replay({"room": TALK}, 1, gateways)
    assert not report.flawless
    assert report.total("deliveries_expected") == count_by_hand(TALK).deliveries == 10 + 80
    return report


async def test_the_judge_sees_what_is_lost(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    times = meddle(monkeypatch, lambda _self, _got, event: [] if event.seq % 5 == 0 else [event])
    report = await judged(gateways)
    assert report.total("lost") == len(times) > 0
    assert report.total("deliveries") == 90 - len(times)
    assert report.total("duplicated") == report.total("reordered") == 0


async def test_the_judge_sees_what_is_doubled(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    times = meddle(monkeypatch, lambda _self, _got, event: [event] * (1 + (event.seq % 5 == 0)))
    report = await judged(gateways)
    assert report.total("duplicated") == len(times) > 0
    assert report.total("deliveries") == 90 + len(times)
    assert report.total("lost") == report.total("reordered") == 0


async def test_the_judge_sees_what_came_too_late(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(self: Any, got: list[Event], event: Event) -> list[Event]:
        return [event] if event.seq % 5 or not got else [event, got.pop()]

    meddle(monkeypatch, swap)
    report = await judged(gateways)
    assert report.total("reordered") > 0
    assert report.total("lost") == report.total("duplicated") == 0


async def test_the_judge_sees_what_is_not_what_was_said(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(_self: Any, _got: list[Event], event: Event) -> list[Event]:
        return [event if event.seq % 5 else replace(event, payload=event.payload.replace(b"hi", b"ho"))]

    times = meddle(monkeypatch, change)
    report = await judged(gateways)
    assert report.total("lost") == report.total("duplicated") == len(times) > 0


async def crowd_of(plan: Plan, gateways: Gateways, seconds: float, *meanwhile: Any) -> tuple[CrowdReport, Crowd]:
    """Have a crowd act, and something else happen at the same time."""
    crowd = Crowd(plan, gateways)
    try:
        await crowd.enter()
        await asyncio.gather(crowd.act(seconds), *(happens(crowd) for happens in meanwhile))
        await until(lambda: not any(member._is_opening for member in crowd.members))
        return crowd.report(), crowd
    finally:
        await crowd.close()


def assert_flawless(report: CrowdReport) -> None:
    assert report.flawless, report.verdict
    assert report.latency_p50_ms is not None
    assert report.latency_p99_ms is not None
    assert 0 < report.latency_p50_ms <= report.latency_p99_ms


async def test_a_crowd(gateways: Gateways) -> None:
    report, crowd = await crowd_of(Plan(users=40, guilds=3, rate=50, seed=3), gateways, 1.0)
    assert_flawless(report)
    assert report.connected == report.users == len(crowd.members) == 40
    assert report.reconnects == 0
    # A message is always one, and so is the coming of the first; changes of status may share one.
    assert report.events > len(crowd.sent) > 0
    assert report.deliveries > len(crowd.latencies) >= len(crowd.sent)


async def test_a_crowd_sees_what_is_lost(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Member.on_event
    times: list[int] = []

    def on_event(self: Any, event: Event) -> None:
        # Not the first, which tells where the others begin to be due, and not the last.
        if event.t == "MESSAGE_CREATE" and not times and self.spans[-1].check.received > 3:
            times.append(event.seq)
        else:
            real(self, event)

    monkeypatch.setattr(Member, "on_event", on_event)
    report, _ = await crowd_of(Plan(users=6, guilds=1, rate=50), gateways, 1.0)
    assert times
    assert (report.lost, report.duplicated, report.reordered) == (1, 0, 0)
    assert report.verdict.startswith("FAULTS: 1 lost")


async def meet(app: Supervisor, name: str) -> None:
    """Wait until all gateways know where a new one is: no user is told any more to move there."""
    users = [f"user-{number}" for number in range(40)]
    async with asyncio.timeout(60):
        homes: set[tuple[str, ...]] = set()
        while len(homes) != 1 or not any(app.urls[name] in of_all for of_all in homes):
            homes = {tuple([await Gateways([url]).find(user) for user in users]) for url in app.urls.values()}


async def test_a_gateway_that_is_killed_costs_nobody_an_event(app: Supervisor, gateways: Gateways) -> None:
    name = await app.add("gateway")
    await meet(app, name)
    victims = []

    async def kill(crowd: Crowd) -> None:
        homes = [await gateways.find(member.user) for member in crowd.members]
        victims.extend(member for member, home in zip(crowd.members, homes) if home == app.urls[name])
        await app.kill(name)
        await until(lambda: all(member.sockets > 1 for member in victims))

    report, crowd = await crowd_of(Plan(users=40, guilds=3, rate=60), gateways, 2.0, kill)
    assert_flawless(report)
    assert victims
    assert [member for member in crowd.members if member.sockets > 1] == victims
    assert report.reconnects == report.resumed == len(victims)


async def test_gateways_that_come_and_go_move_users_who_miss_nothing(app: Supervisor, gateways: Gateways) -> None:
    async def come_and_go(crowd: Crowd) -> None:
        name = await app.add("gateway")
        await until(lambda: any(member.sockets > 1 for member in crowd.members))  # told to move there
        await app.stop(name)

    report, _ = await crowd_of(Plan(users=40, guilds=3, rate=60), gateways, 2.0, come_and_go)
    assert_flawless(report)
    assert report.reconnects == report.resumed > 0


async def test_guild_nodes_that_come_and_go_take_over_all_that_guilds_know(app: Supervisor, gateways: Gateways) -> None:
    async def come_and_go(_crowd: Crowd) -> None:
        await app.stop(await app.add("guilds"))

    report, crowd = await crowd_of(Plan(users=40, guilds=12, rate=60), gateways, 2.0, come_and_go)
    assert_flawless(report)
    assert report.reconnects == 0
    assert all(len(member.spans) == 1 for member in crowd.members)


async def test_a_guild_node_that_is_killed_has_its_guilds_begin_afresh(app: Supervisor, gateways: Gateways) -> None:
    name = await app.add("guilds")

    async def kill(crowd: Crowd) -> None:
        await app.kill(name)
        await until(lambda: any(len(member.spans) > 1 for member in crowd.members))

    report, crowd = await crowd_of(Plan(users=40, guilds=12, rate=60), gateways, 2.0, kill)
    assert (report.lost, report.duplicated, report.reordered) == (0, 0, 0), report.verdict
    assert report.flawless, report.verdict
    assert report.reconnects == 0
    afresh = {member.guild for member in crowd.members if len(member.spans) > 1}
    assert 0 < len(afresh) < 12


async def test_the_command_line_uses_an_application_that_runs(app: Supervisor, tmp_path: Any) -> None:
    url = next(iter(app.urls.values()))
    log = tmp_path / "room.log"
    log.write_text("\n".join(EVERY_CASE))
    said, users, replayed = await asyncio.gather(
        run("load", "--log", log, log, "--repeat", "2", "--json", "--url", url),
        run("load", "--users", "12", "--guilds", "2", "--seconds", "0.5", "--json", "--url", url),
        run("replay", "--log", log, log, "--repeat", "2", "--json"),
    )
    assert list(said) == list(replayed)
    measured = {"seconds": 0, "deliveries_per_s": 0, "nodes": 0, "handoffs": 0}
    assert said | measured == replayed | measured
    assert said["nodes"] is said["handoffs"] is None
    assert (users["connected"], users["lost"], users["duplicated"], users["reordered"]) == (12, 0, 0, 0)


async def run(*arguments: object) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.guild_presence", *map(str, arguments),
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    figures: dict[str, Any] = json.loads(out)
    return figures
