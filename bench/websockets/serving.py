"""What the contenders' server processes share: uvicorn on a free port, numbers for a guild's events, their JSON.

Uvicorn as its documentation recommends (httptools, websockets), without compression, as the application has it. A
server process says its URL when it serves, and ends with its driver.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from typing import Any

import uvicorn
from redis import asyncio as aioredis

__all__ = ["Numbers", "serve"]

_BACKLOG = 2048
_CONNECTIONS = 1024


class Numbers:
    """Numbers a guild's events for all server processes: a counter of Redis for each guild."""

    def __init__(self, url: str) -> None:
        self._redis = aioredis.from_url(url, max_connections=_CONNECTIONS)

    async def event(self, guild: str, user: str, op: dict[str, Any]) -> dict[str, Any]:
        """Give the event of a client's message."""
        seq = await self._redis.incr(f"seq:{guild}")
        common = {"t": "MESSAGE_CREATE", "epoch": 1, "seq": seq, "user": user, "text": op["text"]}
        return {**common, "at": time.time(), "nonce": op.get("nonce")}


def serve(app: Any, *, ping_s: float | None = 20.0) -> None:
    """Serve until the driver ends; `ping_s` is how often uvicorn itself asks whether a client is alive."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=ping_s,
        lifespan="off",
        log_level="critical",
    )
    asyncio.run(_serve(uvicorn.Server(config)))


async def _serve(server: uvicorn.Server) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listening:
        # Its connections inherit it, as those of a server that uvicorn binds itself have it from asyncio.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        serving = asyncio.create_task(server.serve([listening]))
        print(json.dumps({"url": f"http://127.0.0.1:{listening.getsockname()[1]}"}), flush=True)
        await asyncio.wait([serving, asyncio.create_task(lines.read())], return_when=asyncio.FIRST_COMPLETED)
    os._exit(0)  # the clients are gone, and Redis may be
