"""`python -m bench cores`: a smoke run that measures everything, and writes what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_smoke_run_measures_every_kind_of_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "cores", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "Figures to reach" in done.stdout
    record = json.loads((tmp_path / "cores.json").read_text())
    assert set(record["handlers"]["rates"]["json"]) == {"1 thread", "1 process", "2 process"}
    assert record["costs"]["writes"] == 1
