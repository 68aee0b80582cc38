"""The command line: what it prints where, and one clear line for bad input."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.examples.sample_logs import EVERY_CASE, RECIPIENTS

if TYPE_CHECKING:
    from io import FileIO

ROOT = Path(__file__).parents[2]
KEYS = [
    "guilds", "lines", "events", "ignored", "deliveries_expected", "deliveries",
    "lost", "duplicated", "reordered", "seconds", "deliveries_per_s", "nodes", "handoffs",
]  # fmt: skip


def run(*arguments: str | Path, stderr: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.guild_presence", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "room.log"
    file.write_text("\n".join(EVERY_CASE))
    return file


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_json_is_all_there_is_on_stdout(log: Path, nodes: int) -> None:
    done = run("--log", log, log, "--repeat", "2", "--json", "--nodes", str(nodes))
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert list(figures) == KEYS
    assert figures["guilds"] == 2
    assert figures["lines"] == 4 * len(EVERY_CASE)
    assert figures["ignored"] == 4 * RECIPIENTS.count(None)
    assert figures["deliveries"] == figures["deliveries_expected"] == 4 * sum(filter(None, RECIPIENTS))
    assert (figures["lost"], figures["duplicated"], figures["reordered"]) == (0, 0, 0)
    assert figures["nodes"] == nodes
    assert (figures["handoffs"] > 0) == (nodes > 1)
    assert figures["handoffs"] <= nodes * figures["events"]


@pytest.mark.usefixtures("nats_server")
@pytest.mark.parametrize(
    "workers", [["process", "--workers", "2"], ["thread"], ["loop"]], ids=lambda workers: workers[0]
)
def test_json_over_nats_is_the_same(log: Path, workers: list[str]) -> None:
    asked = ("--log", log, log, "--json", "--nodes", "2")
    over_nats = run(*asked, "--transport", "nats", "--worker-kind", *workers)
    assert (over_nats.returncode, over_nats.stderr) == (0, "")
    figures, others = json.loads(over_nats.stdout), json.loads(run(*asked).stdout)
    assert list(figures) == KEYS
    measured = {"seconds": 0, "deliveries_per_s": 0, "handoffs": 0}
    assert figures | measured == others | measured


def test_summary(log: Path) -> None:
    done = run("--log", log, "--list", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "room" in done.stdout
    assert "Nothing lost, duplicated or reordered" in done.stdout


def test_summary_of_several_nodes(log: Path) -> None:
    done = run("--log", log, "--list", "--workers", "1", "--nodes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert " on 2 nodes, with " in done.stdout
    assert "Nothing lost, duplicated or reordered" in done.stdout


def test_made_up_traffic_is_the_same_for_the_same_seed() -> None:
    small = ("--guilds", "3", "--users", "20", "--lines", "100", "--json")
    asked = [("4", "1"), ("4", "1"), ("4", "3"), ("5", "1")]
    one, again, far, other = (json.loads(run(*small, "--seed", seed, "--nodes", nodes).stdout) for seed, nodes in asked)
    figures = ("lines", "events", "ignored", "deliveries_expected", "deliveries", "lost")
    assert [one[figure] for figure in figures] == [again[figure] for figure in figures]
    assert [one[figure] for figure in figures] == [far[figure] for figure in figures]
    assert one["deliveries"] != other["deliveries"]


def test_on_a_terminal_progress_and_summary_go_to_stderr_and_json_to_stdout(log: Path) -> None:
    pytest.importorskip("rich")
    terminal, theirs = pty.openpty()
    with open(terminal, "rb", buffering=0) as shows, ThreadPoolExecutor() as reading:
        reader = reading.submit(lambda: b"".join(iter(lambda: _read(shows), b"")).decode())
        try:
            done = run("--log", log, "--json", stderr=theirs)
        finally:
            os.close(theirs)
        shown = reader.result()
    assert list(json.loads(done.stdout)) == KEYS
    assert "deliveries/s" in shown
    assert "room" in shown


def _read(terminal: FileIO) -> bytes:
    """Give what a terminal shows next; nothing when nobody has the other side open any more."""
    try:
        return terminal.read(1 << 16)
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--repeat", "0"], "argument --repeat: must be from 1 to 1000000000, not 0"),
        (["--repeat", "many"], "argument --repeat: must be a whole number, not 'many'"),
        (["--repeat", "9" * 5000], "argument --repeat: must be a whole number"),
        (["--repeat", "9" * 400], "argument --repeat: must be from 1 to 1000000000, not 9"),
        (["--speed", "0"], "argument --speed: must be a number above 0, not '0'"),
        (["--speed", "-2"], "argument --speed: must be a number above 0, not '-2'"),
        (["--speed", "nan"], "argument --speed: must be a number above 0, not 'nan'"),
        (["--speed", "inf"], "argument --speed: must be a number above 0, not 'inf'"),
        (["--speed", "fast"], "argument --speed: must be a number above 0, not 'fast'"),
        (["--seed", "1.5"], "argument --seed: must be a whole number, not '1.5'"),
        (["--workers", "0"], "argument --workers: must be from 1 to 1024, not 0"),
        (["--nodes", "0"], "argument --nodes: must be from 1 to 32, not 0"),
        (["--nodes", "33"], "argument --nodes: must be from 1 to 32, not 33"),
        (["--nodes", "x"], "argument --nodes: must be a whole number, not 'x'"),
        (["--nodes"], "argument --nodes: expected one argument"),
        (["--worker-kind", "x"], "argument --worker-kind: invalid choice: 'x'"),
        (["--worker-kind", "loop", "--workers", "2"], "--worker-kind loop is one worker, and --workers 2 does not go"),
        (["--transport", "x"], "argument --transport: must be nats, or an address such as nats://host:4222, not 'x'"),
        (["--guilds", "-1"], "argument --guilds: must be from 1 to 100000, not -1"),
        (["--users", "0"], "argument --users: must be from 1 to"),
        (["--lines", "0"], "argument --lines: must be from 1 to"),
        (["--log"], "argument --log: expected at least one argument"),
        (["--log", "{log}", "--guilds", "3"], "--guilds is for made-up traffic and does not go with --log"),
        (["--log", "{log}", "--users", "3"], "--users is for made-up traffic and does not go with --log"),
        (["--log", "{log}.none"], "cannot read {log}.none: No such file or directory"),
        (["--log", "{dir}"], "cannot read {dir}: Is a directory"),
        (["--log", "{log}", "{dir}/empty"], "{dir}/empty is empty"),
        (["--log", "{dir}/binary"], "{dir}/binary is not a text file"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["{log}"], "there is no verb '{log}' (see --help)"),
        (["--rep", "2"], "unrecognized arguments: --rep 2"),
    ],
)
def test_bad_input(tmp_path: Path, log: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0")
    places = {"log": log, "dir": tmp_path}
    done = run(*(argument.format(**places) for argument in arguments), "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"guild_presence: {complaint.format(**places)}")
    assert done.stderr.count("\n") == 1


def test_help_names_the_verbs() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {verb} " in done.stdout for verb in ("serve", "load", "replay"))


def test_a_verb_that_there_is_not() -> None:
    done = run("sreve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "guild_presence: there is no verb 'sreve' (see --help)\n"


def test_help_says_how_replays_begin() -> None:
    done = run("replay", "--help")
    assert done.returncode == 0
    assert "from an empty room" in " ".join(done.stdout.split())


def test_without_rich_there_is_a_plain_summary(log: Path) -> None:
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "from examples.guild_presence.replay.cli import main\n"
        f"sys.exit(main(['--log', {str(log)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing lost, duplicated or reordered" in done.stdout
