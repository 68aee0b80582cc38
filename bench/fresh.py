"""Runs one function of this package in a fresh interpreter: what it measures owes nothing to what ran before.

The function takes and gives JSON values. The child is `python -m bench.fresh MODULE FUNCTION JSON-LIST`.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROOT", "ChildFailed", "environment", "in_fresh"]

ROOT = Path(__file__).resolve().parent.parent


class ChildFailed(Exception):
    """The fresh interpreter did not give a result; what it said last stands in the message."""


def in_fresh(function: Callable[..., Any], *args: Any, timeout_s: float = 900) -> Any:
    """Give what `function(*args)` returns in a new process; its node and memory are gone afterwards."""
    command = [sys.executable, "-m", "bench.fresh", function.__module__, function.__name__, json.dumps(args)]
    child = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if child.returncode:
        said = (child.stderr.strip().splitlines() or ["nothing"])[-1]
        msg = f"{function.__name__}{args} in a fresh process exited with {child.returncode}: {said}"
        raise ChildFailed(msg)
    return json.loads(child.stdout.splitlines()[-1])


def environment() -> dict[str, str]:
    """Give the environment of a child that runs modules of this package."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _main(module: str, name: str, args: str) -> None:
    result = getattr(importlib.import_module(module), name)(*json.loads(args))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
