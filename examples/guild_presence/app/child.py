"""What a child process does that belongs to another: it ends when that does, however that ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

__all__ = ["end_with_parent"]

ORPHAN_S = 1.0
"""How long it may take to stop in order then: there is nobody left who could kill what hangs."""


def end_with_parent() -> None:
    """Have this process stop when its stdin closes, of which the parent holds the other end, and never writes."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _end_if_closed)


def _end_if_closed() -> None:
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        asyncio.get_running_loop().call_later(ORPHAN_S, os._exit, 1)
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # else it stops already
            signal.raise_signal(signal.SIGTERM)
