"""A Redis server of the bench's own: on a free port of loopback, in memory alone, and gone with the block."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["redis_server", "why_no_redis"]

_START_S = 10.0
_LOOK_S = 0.01


def why_no_redis() -> str:
    """Say what is missing to measure Redis; nothing if nothing is."""
    if shutil.which("redis-server") is None:
        return "the program redis-server is not installed"
    if find_spec("channels_redis") is None:
        return "channels_redis is not installed: pip install 'manifold-actors[bench-redis]'"
    return ""


@contextmanager
def redis_server() -> Iterator[str]:
    """Give the server's URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                msg = f"redis-server did not start within {_START_S:g} s"
                raise TimeoutError(msg) from None
            time.sleep(_LOOK_S)
        else:
            return
