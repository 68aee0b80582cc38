"""A process of the bench: it says one line when it is ready, and ends when its standard input does.

So a child ends with its driver, however that ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Self

from bench.fresh import ROOT, ChildFailed, environment

__all__ = ["Child", "until_driver_ends"]

_END_S = 15.0


class Child:
    """`python -m MODULE ARGUMENTS`; `line` is what it said."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", module, *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()
        if not self.line:
            self.close()
            msg = f"{module} did not start; it ended with {self.process.returncode}"
            raise ChildFailed(msg)

    def ask(self, line: str) -> str:
        """Say a line to it, and give the line that it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        """Have it end; kill it if it does not."""
        try:
            self.process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until_driver_ends(line: str) -> None:
    """In the child: say that it is ready, and wait until it is to end. Ctrl-C is the driver's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(line, flush=True)
    sys.stdin.read()
