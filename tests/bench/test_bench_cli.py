"""The command line of the bench: a smoke run, and one clear line for an option that makes no sense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.fresh import ChildFailed, in_fresh
from bench.plan import CLUSTER_SECTIONS, SECTIONS

ROOT = Path(__file__).resolve().parents[2]


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "COMMAND"),
        (["nope"], "'nope'"),
        (["local", "--only", "throughput,nope"], "no section nope"),
        (["local", "--only", ","], "no section named"),
        (["local", "--rounds", "0"], "'0' is not a number of rounds"),
        (["local", "--rounds", "many"], "'many' is not a number of rounds"),
        (["local", "--quick", "--large"], "--large"),
        (["local", "--bogus"], "--bogus"),
        (["cluster", "--only", "throughput"], "no section throughput; there are fanout"),
        (["cluster", "--only", ","], "no section named"),
        (["cluster", "--rounds", "-1"], "'-1' is not a number of rounds"),
        (["cluster", "--large"], "--large"),
    ],
)
def test_a_bad_option_is_one_clear_line(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.count("\n") == 1


def test_draw_without_a_result_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_smoke_run_measures_every_section(tmp_path: Path) -> None:
    done = bench("local", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Figures to reach" in done.stdout
    record = json.loads((tmp_path / "local.json").read_text())
    assert set(SECTIONS) < set(record)
    assert not {os.uname().nodename, str(ROOT)} & set(json.dumps(record).split('"'))


def test_only_what_was_asked_for_is_measured_and_nothing_written_by_a_quick_run() -> None:
    before = sorted((ROOT / "bench" / "results").iterdir())
    done = bench("local", "--quick", "--only", "latency", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "Latency" in done.stdout
    assert "Throughput" not in done.stdout
    assert sorted((ROOT / "bench" / "results").iterdir()) == before


@pytest.mark.parametrize("section", CLUSTER_SECTIONS)
def test_a_smoke_run_of_the_cluster(section: str, tmp_path: Path) -> None:
    done = bench("cluster", "--quick", "--only", section, "--rounds", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Figures to reach" in done.stdout
    record = json.loads((tmp_path / "cluster.json").read_text())
    assert set(record) == {"machine", "versions", section}
    assert not {os.uname().nodename, str(ROOT)} & set(json.dumps(record).split('"'))


def test_without_matplotlib_it_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "bench.plots", raising=False)
    result = tmp_path / "local.json"
    result.write_text("{}")
    assert main(["draw", str(result)]) == 0
    assert capsys.readouterr().err == "no plots: matplotlib is not installed (pip install 'manifold-actors[bench]')\n"


def test_a_failed_child_says_what_it_said() -> None:
    with pytest.raises(ChildFailed, match="OverflowError"):
        in_fresh(os.kill, 1 << 80, 0)
