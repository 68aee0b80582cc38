"""What a child process does that belongs to another: it ends when that does, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Have this process stop when its stdin closes, of which the parent holds the other end, and never writes."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _end_if_closed)


def _end_if_closed() -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # else it stops already: the terminal sent it a ^C
            signal.raise_signal(signal.SIGTERM)
