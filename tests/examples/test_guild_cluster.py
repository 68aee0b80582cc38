"""The replay on several nodes: the same figures, few hand-offs; nothing hangs or is left behind, whoever dies."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import manifold
from examples.guild_presence import launch as launch_module
from examples.guild_presence.logs.log import read_lines
from examples.guild_presence.logs.traffic import make_up
from examples.guild_presence.replay import cluster as cluster_module
from examples.guild_presence.replay.cli import main
from examples.guild_presence.replay.driver import How, replay
from examples.guild_presence.replay.gateway import Gateway
from examples.guild_presence.replay.pool import Pool
from tests.cluster.support import Nodes, until
from tests.examples.by_hand import REAL_LOGS, needs_real_logs
from tests.examples.replaying import assert_as_by_hand, both_ways, run
from tests.examples.sample_logs import EVERY_CASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from examples.guild_presence.logs.report import Report

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
some_nodes = pytest.mark.parametrize("nodes", [2, 3])


def assert_few_handoffs(report: Report, nodes: int) -> None:
    assert report.nodes == nodes
    assert 0 < report.handoffs <= nodes * report.total("events")


@some_nodes
@both_ways
def test_made_up_guilds(nodes: int, *, plain_list: bool) -> None:
    guilds = make_up(5, 120, 1500, seed=5)
    report = run(guilds, nodes=nodes, plain_list=plain_list, workers=2)
    assert_as_by_hand(report, guilds)
    assert_few_handoffs(report, nodes)


@both_ways
def test_small_logs_replayed_again_and_again(*, plain_list: bool) -> None:
    guilds = {"a": EVERY_CASE, "b": [f"=== {nick} has joined #x" for nick in "abc"], "c": ["[09:00] <ann> hi"]}
    report = run(guilds, nodes=3, plain_list=plain_list, workers=1, repeat=5)
    assert_as_by_hand(report, guilds, repeat=5)
    assert_few_handoffs(report, 3)


def test_a_guild_of_one_stays_on_its_node() -> None:
    report = run({"a": ["[09:00] <ann> hi"] * 3}, nodes=2, workers=1)
    assert report.flawless
    assert report.handoffs == 1  # for sessions, which nobody came to take


def test_a_log_without_an_event() -> None:
    report = run({"a": ["", "nothing here"]}, nodes=2, workers=1)
    assert report.flawless
    assert report.handoffs == 0


def test_the_clock_of_the_log_is_kept() -> None:
    lines = ["[23:59] <ann> hi", "[23:59] <bob> hi", "[00:01] <ann> hi"]
    report = run({"a": lines, "b": lines}, nodes=2, workers=1, speed=400)
    assert report.flawless
    assert report.seconds >= 2 * 60 / 400


@needs_real_logs
@some_nodes
@both_ways
def test_the_real_logs(nodes: int, *, plain_list: bool) -> None:
    guilds = {path.name: read_lines(path) for path in REAL_LOGS}
    report = run(guilds, nodes=nodes, plain_list=plain_list)
    assert_as_by_hand(report, guilds)
    assert_few_handoffs(report, nodes)


# The pool.


@pytest.fixture
def two_nodes() -> Iterator[list[manifold.Node]]:
    made = Nodes("memory")
    yield made.together("a", "b", workers=1)
    made.close()


async def test_sessions_are_taken_from_the_nodes_in_turn(two_nodes: list[manifold.Node]) -> None:
    a, b = two_nodes
    pool = Pool("x", [node.spawn(Gateway) for node in two_nodes])
    taken = []
    for _ in range(60):
        await pool.fill()
        taken.append(pool.take())
    assert [pid.node for pid in taken] == [a.id, b.id] * 30
    assert len(set(taken)) == 60
    assert a.stats().handoffs == 4  # blocks of 4, 4, 8 and 16: 32 in all, of which 30 are taken
    assert b.stats().actors == 1 + 32


async def test_a_node_that_is_down_has_no_turn(two_nodes: list[manifold.Node]) -> None:
    a, b = two_nodes
    pool = Pool("x", [b.spawn(Gateway), a.spawn(Gateway)])
    await b.aclose()
    await asyncio.to_thread(until, lambda: a.nodes() == [a.id])
    for _ in range(10):
        await pool.fill()
        assert pool.take().node == a.id


# What happens to processes.


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every child that is started, in turn. None of them outlives its replay."""
    started: list[Any] = []
    start = cluster_module._start

    async def recording(*args: Any) -> Any:
        started.append(await start(*args))
        return started[-1]

    monkeypatch.setattr(cluster_module, "_start", recording)
    yield started
    assert all(child.process.returncode is not None for child in started)


def wound(guilds: Mapping[str, Sequence[str]], children: list[Any], number: signal.Signals, **how: Any) -> Report:
    """Replay, and send a signal to one child as soon as something is done."""
    hit: list[Any] = []

    def on_step(*_: Any) -> None:
        if not hit:
            hit.append(children[0])
            children[0].process.send_signal(number)

    report = replay(guilds, How(**how), on_step)
    assert hit
    return report


def test_a_node_that_is_killed_costs_what_was_there(children: list[Any]) -> None:
    guilds = make_up(6, 120, 6000, seed=5)
    began = time.monotonic()
    report = wound(guilds, children, signal.SIGKILL, nodes=3, workers=1)
    assert time.monotonic() - began < PATIENCE_S
    assert not report.flawless
    assert report.total("lost") > 0
    assert report.total("lost") + report.total("deliveries") == report.total("deliveries_expected")
    assert (report.total("duplicated"), report.total("reordered")) == (0, 0)
    assert report.troubles[-1] == "node-2 was killed by SIGKILL"
    whole = [guild for guild in report.guilds if guild.events + guild.ignored == guild.lines and guild.deliveries]
    assert len(whole) >= 4, "guilds on other nodes did not go on"


def test_a_node_that_stands_still_is_given_up(children: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_END_S", 0.5)
    report = wound(make_up(2, 20, 600, seed=5), children, signal.SIGSTOP, nodes=2, workers=1)
    assert not report.flawless
    assert report.total("lost") + report.total("deliveries") == report.total("deliveries_expected")
    assert children[0].process.returncode == -signal.SIGKILL


def test_children_end_with_a_replay_that_fails(children: list[Any]) -> None:
    def on_step(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        replay(make_up(2, 20, 200, seed=5), How(nodes=3, workers=1), on_step)
    assert raised.group_contains(ZeroDivisionError)
    assert len(children) == 2


def fails(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as raised:
        main(["--guilds", "2", "--users", "4", "--lines", "9", "--nodes", "3", "--json"])
    assert raised.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_a_child_that_dies_while_it_starts(
    children: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "examples.py").write_text("raise ZeroDivisionError('they are broken')")
    monkeypatch.setattr(launch_module, "_ROOT", tmp_path)
    said = fails(capsys)
    assert "ZeroDivisionError: they are broken" in said
    assert said.splitlines()[-1].startswith("guild_presence: node-")
    assert said.endswith("ended with status 2 before it was ready\n")


def test_a_child_that_never_is_ready(
    children: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    idle = tmp_path / "idle"
    idle.write_text("#!/bin/sh\nexec sleep 1000\n")
    idle.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(idle))
    monkeypatch.setattr(cluster_module, "_START_S", 0.2)
    monkeypatch.setattr(cluster_module, "_END_S", 0.2)
    assert fails(capsys) == "guild_presence: the nodes have not met within 0.2 seconds\n"


def test_a_child_that_cannot_be_started(
    children: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    assert fails(capsys).startswith("guild_presence: node-2 could not be started: [Errno 2]")


_ENDLESS = """\
from examples.guild_presence.replay.driver import How, replay
from examples.guild_presence.logs.traffic import make_up

def on_step(*_):
    if not told:
        told.append(print("under way", flush=True))

told = []
replay(make_up(3, 30, 300, seed=1), How(repeat=10**6, nodes=3, workers=1), on_step)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes as Linux does")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_children_end_with_their_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "under way\n"
        listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        assert len(listed) == 2
        ends = [os.pidfd_open(int(pid)) for pid in listed]
        parent.send_signal(number)
        try:
            for end in ends:
                assert select.select([end], [], [], PATIENCE_S)[0], "a child lives on"
            parent.wait(PATIENCE_S)
        finally:
            for end in ends:
                os.close(end)
            parent.kill()
