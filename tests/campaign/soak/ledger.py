"""What the actors of one node process have handled, in a file that outlives it, however it ends."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path

__all__ = ["ORIGINS_MAX", "Ledger", "read"]

ORIGINS_MAX = 1023
"""How many node processes a soak may start."""
_BYTES = 8 * (ORIGINS_MAX + 1)


class Ledger:
    """Counts by origin, which is the number of the node process that sent; and what came doubled or out of order."""

    def __init__(self, path: str) -> None:
        with Path(path).open("w+b") as file:
            file.truncate(_BYTES)
            self._cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
        self._lock = threading.Lock()  # several workers count at once

    def handled(self, origin: int) -> None:
        with self._lock:
            self._cells[origin] += 1

    def out_of_order(self) -> None:
        with self._lock:
            self._cells[ORIGINS_MAX] += 1


def read(path: str) -> tuple[dict[int, int], int]:
    """Give how many messages were handled by origin, and how many came doubled or out of order."""
    cells = memoryview(Path(path).read_bytes()).cast("Q")
    return {origin: count for origin, count in enumerate(cells[:ORIGINS_MAX]) if count}, cells[ORIGINS_MAX]
