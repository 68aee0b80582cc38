"""What a gateway serves: the page, where a user's socket belongs, and the sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from examples.guild_presence.app.protocol import Refused, checked_name, position, read_op

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.websockets import WebSocket

    from examples.guild_presence.app.gateway import Gateway
    from examples.guild_presence.app.wire import Wire

__all__ = ["application"]

_PAGE = Path(__file__).parents[1] / "page"
_BAD = 1008
OPS_PER_S = 100.0
"""How many ops of one client are read in a second, ..."""
OPS_BURST = 200.0
"""... and how many it may say at once after a silence."""


def application(gateway: Gateway) -> Starlette:
    """Give the web application of a gateway."""
    return Starlette(
        routes=[
            Route("/", _index),
            Route("/gateway", _Find(gateway).answer),
            WebSocketRoute("/socket", _Socket(gateway).serve),
            Mount("/page", StaticFiles(directory=_PAGE, check_dir=False)),
        ]
    )


async def _index(_request: Request) -> Response:
    return FileResponse(_PAGE / "index.html")


def _is_of_this_host(request: HTTPConnection) -> bool:
    """Tell whether a page of this host asks, or no page at all: other pages may not use a visitor's browser."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        page, host = urlsplit(origin).hostname, urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return page is not None and page == host


class _Find:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: Request) -> Response:
        """Say which gateway a user's socket belongs to, and which others there are."""
        # Any page may read this: it tells nothing that is not public, and changes nothing.
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
        try:
            user = checked_name(request.query_params.get("user"), "a user")
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, 400, headers)
        name, url = await self._gateway.find(user)
        return JSONResponse({"gateway": name, "url": url, "gateways": self._gateway.urls}, headers=headers)


class _Socket:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def serve(self, socket: WebSocket) -> None:
        """Be the socket of a session until it closes."""
        asked = socket.query_params
        try:
            user, guild = checked_name(asked.get("user"), "a user"), checked_name(asked.get("guild"), "a guild")
            since = position(asked.get("epoch"), asked.get("seq"))
        except Refused as refused:
            await socket.close(_BAD, str(refused))  # not accepted yet: this is an HTTP 403
            return
        if not _is_of_this_host(socket):
            await socket.close(_BAD, "from another page")
            return
        await socket.accept()
        wire: Wire = socket.scope["extensions"]["wire"]
        pid = self._gateway.open(wire, user, guild, since)
        try:
            await self._listen(socket, pid)
        finally:
            self._gateway.close(pid)

    async def _listen(self, socket: WebSocket, pid: Any) -> None:
        pace = _Pace()
        while (message := await socket.receive())["type"] == "websocket.receive":
            try:
                op = read_op(message.get("text") or "")
            except Refused as refused:
                op = {"op": "refused", "text": str(refused)}
            self._gateway.tell(pid, op)
            await pace.keep()


class _Pace:
    """Reads no more of a client that says more than `OPS_PER_S`, until it has said less: it waits, and nobody else."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._earned = 0.0

    async def keep(self) -> None:
        """Count an op; wait if it was one too many."""
        now = self._now()
        self._earned = max(self._earned, now - OPS_BURST / OPS_PER_S) + 1 / OPS_PER_S
        if self._earned > now:
            await asyncio.sleep(self._earned - now)
