"""What docs/testing.md shows is a test module that runs, without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import manifold.testing as module

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_document_is_a_test_module_that_passes(tmp_path):
    pieces = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    file = tmp_path / "test_document.py"
    file.write_text("\n\n".join(pieces))
    without = ["-p", "no:asyncio", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *without, "--timeout=60", file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no tests ran" not in ran.stdout


def test_every_public_name_is_in_it():
    text = DOCS.read_text()
    assert [name for name in module.__all__ if name not in text] == []


def test_public_names_need_neither_pytest_nor_hypothesis():
    script = "import sys, manifold.testing; assert not {'pytest', 'hypothesis', 'zmq'} & set(sys.modules), 1"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
