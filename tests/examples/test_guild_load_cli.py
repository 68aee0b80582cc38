"""The command line of `load`: what it prints where, and one clear line for bad input."""

from __future__ import annotations

import json
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from examples.guild_presence.__main__ import main
from examples.guild_presence.load import cli
from examples.guild_presence.load.report import CrowdReport, as_text
from tests.examples.test_guild_cli import KEYS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "room.log"
    file.write_text("=== ann has joined #x\n[09:00] <bob> hi\n")
    return file


def test_a_log_through_an_application_of_its_own(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "--log", str(log), "--repeat", "2", "--json", "--gateways", "1", "--guild-nodes", "1"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    figures = json.loads(said.out)
    assert list(figures) == KEYS
    assert (figures["lines"], figures["events"], figures["deliveries"], figures["lost"]) == (4, 4, 6, 0)
    assert figures["nodes"] == 3
    assert figures["handoffs"] > 0


def test_a_crowd_with_an_application_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        "--users",
        "9",
        "--guilds",
        "2",
        "--seconds",
        "0.5",
        "--rate",
        "40",
        "--gateways",
        "1",
        "--guild-nodes",
        "1",
    ]
    assert main(["load", *asked]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("9 of 9 users of 2 guilds connected in ")
    assert said.out.endswith(
        "Nothing lost, duplicated or reordered: everybody got exactly the events of their guild.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--users", "0"], "argument --users: must be from 1 to 1000000, not 0"),
        (["--users", "many"], "argument --users: must be a whole number, not 'many'"),
        (["--guilds", "-1"], "argument --guilds: must be from 1 to 100000, not -1"),
        (["--users", "3", "--guilds", "4"], "3 users cannot fill 4 guilds"),
        (["--seconds", "0"], "argument --seconds: must be a number above 0, not '0'"),
        (["--rate", "nan"], "argument --rate: must be a number above 0, not 'nan'"),
        (["--seed", "x"], "argument --seed: must be a whole number, not 'x'"),
        (["--gateways", "33"], "argument --gateways: must be from 1 to 32, not 33"),
        (["--guild-nodes", "0"], "argument --guild-nodes: must be from 1 to 32, not 0"),
        (["--url", "localhost:8000"], "argument --url: must be as http://host:port, not 'localhost:8000'"),
        (["--url", "https://127.0.0.1"], "argument --url: must be as http://host:port, not 'https://127.0.0.1'"),
        (["--url", "http://a:b"], "argument --url: must be as http://host:port, not 'http://a:b'"),
        (["--url", "http://a:1/x"], "argument --url: must be as http://host:port, not 'http://a:1/x'"),
        (["--url", "http://a:1", "--gateways", "2"], "--gateways is for an application to be started"),
        (["--url", "http://a:1", "--guild-nodes", "2"], "--guild-nodes is for an application to be started"),
        (["--log"], "argument --log: expected at least one argument"),
        (["--log", "{log}", "--users", "3"], "--users is for made-up users and does not go with --log"),
        (["--log", "{log}", "--seconds", "3"], "--seconds is for made-up users and does not go with --log"),
        (["--log", "{log}", "--repeat", "0"], "argument --repeat: must be from 1 to 1000000, not 0"),
        (["--repeat", "2"], "--repeat is for logs, and there is no --log"),
        (["--log", "{log}.none"], "cannot read {log}.none: No such file or directory"),
        (["--log", "{dir}/empty"], "{dir}/empty is empty"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--us", "3"], "unrecognized arguments: --us 3"),
    ],
)
def test_bad_input(
    tmp_path: Path, log: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    places = {"log": log, "dir": tmp_path}
    with pytest.raises(SystemExit) as raised:
        main(["load", *(argument.format(**places) for argument in arguments), "--json"])
    said = capsys.readouterr()
    assert (raised.value.code, said.out) == (2, "")
    assert said.err.startswith(f"guild_presence load: {complaint.format(**places)}")
    assert said.err.count("\n") == 1


def test_more_users_than_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 257))
    for asked in (["--users", "5000"], ["--log", str(log)]):
        with pytest.raises(SystemExit) as raised:
            main(["load", *asked])
        assert raised.value.code == 2
    users, logs = capsys.readouterr().err.splitlines()
    assert users == "guild_presence load: 5,256 open files are needed, and 257 allowed (ulimit -Hn)"
    assert logs == "guild_presence load: 258 open files are needed, and 257 allowed (ulimit -Hn)"


def test_as_many_files_as_are_needed_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[object] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *limit: allowed.append(limit))
    for soft, hard in ((100, 500), (100, resource.RLIM_INFINITY), (400, 500), (resource.RLIM_INFINITY,) * 2):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=(soft, hard): limits)
        cli._allow_files(400)
    assert allowed == [(resource.RLIMIT_NOFILE, (400, hard)) for hard in (500, resource.RLIM_INFINITY)]


@pytest.mark.parametrize("asked", [[], ["--log", "{log}"]], ids=["crowd", "log"])
def test_nobody_serves_there(asked: list[str], log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SystemExit) as raised:
        main(["load", *(argument.format(log=log) for argument in asked), "--url", f"http://127.0.0.1:{port}"])
    said = capsys.readouterr()
    assert (raised.value.code, said.out) == (1, "")
    assert said.err.startswith("guild_presence load: no gateway answers: [Errno 111]")
    assert said.err.count("\n") == 1


GOOD = {"users": 5, "guilds": 2, "connected": 5, "deliveries": 9}


def test_one_fault_is_enough() -> None:
    assert CrowdReport(**GOOD).flawless
    for fault in ({"lost": 1}, {"duplicated": 1}, {"reordered": 1}, {"connected": 4}, {"troubles": ["x is broken"]}):
        report = CrowdReport(**(GOOD | fault))
        assert not report.flawless
        assert report.verdict.startswith("FAULTS: ")
    assert report.verdict == "FAULTS: 0 lost, 0 duplicated, 0 reordered; x is broken."


def test_many_troubles_are_few_words() -> None:
    report = CrowdReport(**GOOD, troubles=[f"trouble {number}" for number in range(5000)])
    assert report.verdict.endswith("; trouble 0; trouble 1; trouble 2; and 4,997 more.")


def test_percentiles() -> None:
    report = CrowdReport(**GOOD)
    report.take_latencies([])
    assert report.as_json()["latency_p50_ms"] is None
    assert "no messages" in as_text(report)
    report.take_latencies([number / 1000 for number in range(100, -1, -1)])
    assert (report.as_json()["latency_p50_ms"], report.as_json()["latency_p99_ms"]) == (50.0, 99.0)
    assert "50.0 ms (median), 99.0 ms (p99)" in as_text(report)
