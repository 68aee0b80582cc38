"""How a `manifold node` is started in a child process. The one rule: its stdin is a pipe, so that it ends with us."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

__all__ = ["launch"]

_ROOT = Path(__file__).parents[2]
_COOKIE = "MANIFOLD_COOKIE"
"""Of a user's settings for nodes of his own only this concerns these."""


async def launch(
    name: str, arguments: Sequence[str], variables: Mapping[str, str], *, process_group: int | None = None
) -> tuple[Process, IO[bytes]]:
    """Give the process, and the file that it writes its errors to. Raises OSError."""
    command = [sys.executable, "-m", "manifold", "node", "--name", name, "--log-level", "warning", *arguments]
    env = {name: value for name, value in os.environ.items() if name == _COOKIE or not name.startswith("MANIFOLD_")}
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - the child's as long as it lives
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            cwd=_ROOT,
            env={**env, **variables},
            process_group=process_group,
        )
    except OSError:
        errors.close()
        raise
    return process, errors
