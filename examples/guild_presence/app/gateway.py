"""A gateway's process: a node on the loop of a web server, so that a session's actor and its socket share a thread."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pykka
import uvicorn

import manifold
from examples.guild_presence.app.child import end_with_parent
from examples.guild_presence.app.overview import start_pulse
from examples.guild_presence.app.protocol import MOVED, OP_MAX_BYTES
from examples.guild_presence.app.session import Session
from examples.guild_presence.app.web import application
from examples.guild_presence.app.wire import Frames, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ADDRESS", "ROLE", "Gateway", "setup"]

ROLE = "gateway"
ADDRESS = "GUILD_PRESENCE_ADDRESS"
"""The variable that says where to serve: host:port, 0 for any free port."""
FRONT = "front/{}"
"""The name of the actor that knows a gateway's URL, by the name of the node."""
LOOK_S = 0.25
"""How often a gateway looks whether the ring has changed."""
MOVE_S = 5.0
"""How long clients have to go elsewhere when told to; of one that stops at most half its `Limits.stop_grace_s`."""


class Front(manifold.Actor):
    """Tells other gateways where this one serves."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def on_receive(self, _message: object) -> str:
        """Answer anything with the URL."""
        return self._url


class Gateway:
    """The sessions of this process, and which gateway each user belongs to."""

    def __init__(self, node: manifold.Node, url: str) -> None:
        self._node = node
        self._frames = Frames()
        self._sessions: dict[manifold.PID, tuple[str, Wire]] = {}
        self._urls = {node.name: url}
        self._ring = manifold.Ring()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, wire: Wire, user: str, guild: str, since: tuple[int, int] | None) -> manifold.PID:
        """Start the session of a socket."""
        pid = self._node.spawn(Session, wire, self._frames, user, guild, since)
        self._sessions[pid] = user, wire
        return pid

    def close(self, pid: manifold.PID) -> None:
        """End the session of a socket that has closed."""
        del self._sessions[pid]
        self.tell(pid, {"op": "gone"})

    def tell(self, pid: manifold.PID, op: dict[str, object]) -> None:
        """Hand a session what its client wants."""
        with suppress(manifold.NodeStopped):
            self._node.send(pid, op)

    @property
    def urls(self) -> dict[str, str]:
        """Where each gateway that is known serves, by its name: who has all of them can come back when one is gone."""
        return dict(self._urls)

    async def find(self, user: str) -> tuple[str, str]:
        """Give the name of the gateway that a user belongs to, and its URL; of this one if that one is not known."""
        owner = self._owner(user)
        url = await self._url_of(owner)
        return (owner, url) if url else (self._node.name, self._urls[self._node.name])

    def _owner(self, user: str) -> str:
        ring = self._node.ring(ROLE)
        return ring.find(user) if ring.nodes else self._node.name

    async def _url_of(self, name: str) -> str | None:
        """Give where a gateway serves; None if it comes or goes this very moment."""
        if name not in self._urls:
            try:
                self._urls[name] = await manifold.ask(FRONT.format(name), "where", timeout=2.0)
            except (manifold.ManifoldError, pykka.ActorDeadError):
                return None
        return self._urls[name]

    async def keep_up(self) -> None:
        """Whenever the ring changes, learn its URLs, and send those elsewhere who belong elsewhere: about one in n."""
        while True:
            await asyncio.sleep(LOOK_S)
            ring = self._node.ring(ROLE)
            if ring != self._ring:
                self._ring = ring if await self.move() else manifold.Ring()  # look again

    async def move(self) -> bool:
        """Tell every client that belongs elsewhere where; False if a gateway does not say where it serves."""
        is_known = await self._learn()
        for user, wire in self._sessions.values():
            owner = self._owner(user)
            if owner != self._node.name and (url := self._urls.get(owner)):
                wire.push(self._frames.of({"t": "MOVE", "url": url}))
                wire.loop.call_later(MOVE_S, wire.end, MOVED, "moved")
        return is_known

    async def _learn(self) -> bool:
        """Know where each gateway of the ring serves, and no other but this; False if one does not tell."""
        names = {self._node.name, *self._node.ring(ROLE).nodes}
        for gone in self._urls.keys() - names:
            del self._urls[gone]
        return all(await asyncio.gather(*map(self._url_of, names)))

    async def empty(self) -> None:
        """Send everybody elsewhere, and wait until they have gone: not for long, and not if there is no elsewhere."""
        await self.move()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(MOVE_S, self._node.limits.stop_grace_s / 2)):
                while self._sessions and self._node.ring(ROLE).nodes:  # noqa: ASYNC110 - a ring tells nobody
                    await asyncio.sleep(0.02)


class _Server(uvicorn.Server):
    """uvicorn's, in a process whose signals are `manifold node`'s."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def setup(node: manifold.Node) -> None:
    """Set a gateway's node up: serve until it is stopped; print the URL when it serves."""
    end_with_parent()
    host, _, port = os.environ[ADDRESS].rpartition(":")
    listening = socket.create_server((host, int(port)), backlog=2048)
    # Its connections inherit it. asyncio does so itself only for sockets that were made with the protocol's number.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = f"http://{host}:{listening.getsockname()[1]}"
    gateway = Gateway(node, url)
    await manifold.register(FRONT.format(node.name), node.spawn(Front, url))
    await start_pulse(node, ROLE, url, gateway.__len__)
    server = _Server(_config(gateway))
    serving = asyncio.create_task(server.serve([listening]))
    keeping_up = asyncio.create_task(gateway.keep_up())
    print(url, flush=True)
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        keeping_up.cancel()
        await node.leave()
        await gateway.empty()
        server.should_exit = True
        await serving


def _config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        application(gateway),
        loop="none",
        http="httptools",
        ws=Wire,
        ws_max_size=OP_MAX_BYTES,
        ws_per_message_deflate=False,  # a frame that is the same for all cannot be compressed for each
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
