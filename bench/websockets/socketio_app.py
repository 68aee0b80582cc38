"""The application with python-socketio and its Redis manager: `python -m bench.websockets.socketio_app REDIS-URL`."""

from __future__ import annotations

import sys
from typing import Any

import socketio

from bench.websockets.serving import Numbers, serve

__all__ = ["make_app"]


def make_app(url: str) -> Any:
    """Give the ASGI application: a room for each guild."""
    numbers = Numbers(url)
    # Without a time-out of the client for Redis, whose default, 5 s, ends the manager's subscription when nobody says
    # anything for so long: it subscribes again a second later, and what was published meanwhile is lost.
    manager = socketio.AsyncRedisManager(url, redis_options={"socket_timeout": None})
    server = socketio.AsyncServer(async_mode="asgi", client_manager=manager, transports=["websocket"])

    @server.event  # type: ignore[untyped-decorator]
    async def connect(sid: str, environ: Any, auth: dict[str, str]) -> None:  # noqa: ARG001 - what socketio hands over
        await server.save_session(sid, auth)
        await server.enter_room(sid, auth["guild"])

    @server.event  # type: ignore[untyped-decorator]
    async def message(sid: str, op: dict[str, Any]) -> None:
        session = await server.get_session(sid)
        event = await numbers.event(session["guild"], session["user"], op)
        await server.emit("e", event, room=session["guild"])

    return socketio.ASGIApp(server)


if __name__ == "__main__":
    # Engine.IO asks the clients itself whether they are alive.
    serve(make_app(*sys.argv[1:]), ping_s=None)
