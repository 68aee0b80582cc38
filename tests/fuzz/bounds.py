"""What one input may cost: memory and time in proportion to its size, whatever it claims."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager

BYTES_PER_BYTE = 128
"""A map of one entry takes two bytes on the wire and 224 in Python; nothing takes more."""
BYTES_FREE = 2_500_000
"""What lengths that are merely claimed may take."""
SECONDS = 2.0
"""Of this thread's own time: a thousand times what the slowest input takes, and less than a hang."""


@contextmanager
def bounded(size_bytes):
    """Fail if what is done with an input of this size takes more."""
    tracemalloc.start()
    begun = time.thread_time()
    try:
        yield
    finally:
        took = time.thread_time() - begun
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= BYTES_PER_BYTE * size_bytes + BYTES_FREE, f"{peak} bytes for {size_bytes}"
        assert took < SECONDS, f"{took:.1f} s for {size_bytes} bytes"
