"""Pykka's own tests and examples pass with manifold's actors; skipped where Pykka's sources cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pykka_suite import EXAMPLES, TESTED_EXAMPLE


@pytest.mark.timeout(300)
def test_pykkas_own_tests_and_examples_pass():
    done = subprocess.run(
        [sys.executable, "-m", "tests.pykka_suite"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.stdout.startswith("skip:") and done.returncode == 0:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    for task in ("tests", *(f"examples/{name}" for name in (*EXAMPLES, TESTED_EXAMPLE))):
        assert f"{task}: ok" in done.stdout
