"""Clients that hold what comes through their sockets against the protocol, and ways to wait that never sleep."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import httpx
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples.guild_presence.app.protocol import OP_MAX_BYTES
from examples.guild_presence.app.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.asyncio.client import ClientConnection

    from examples.guild_presence.app.supervisor import Supervisor

PATIENCE_S = 60.0
"""How long anything may take before it counts as stuck: the machine is shared."""
ROOT = Path(__file__).parents[3]


class Client:
    """One device. It notes every message, when it came, and whatever was against the protocol."""

    def __init__(self, socket: ClientConnection, user: str, since: tuple[int, int] | None) -> None:
        self.user = user
        self.got: list[dict[str, Any]] = []
        self.at: list[float] = []
        self.faults: list[str] = []
        self.members: dict[str, str] = {}
        self.since = since
        """The last event it has seen: epoch and number."""
        self.code: int | None = None
        self._socket = socket
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, url: str, user: str, guild: str = "lobby", since: tuple[int, int] | None = None, **options: Any
    ) -> Self:
        """Open a socket on a gateway, and wait for the first message."""
        self = cls(await connect(socket_url(url, user, guild, since), **options), user, since)
        await self.until(lambda: self.got or self.code is not None)
        return self

    async def say(self, op: str, **what: Any) -> None:
        await self._socket.send(json.dumps({"op": op, **what}, ensure_ascii=False))

    async def say_surely(self, text: str) -> None:
        """Say something until it comes back: again after each greeting, as what was under way may be lost then."""
        before = len(self.got)
        while not self._has(text, before):
            greetings = self._greetings
            await self.say("message", text=text, nonce=text[:64])
            await self.until(lambda: self._has(text, before) or self._greetings > greetings)  # noqa: B023 - at once

    def _has(self, text: str, after: int) -> bool:
        return any(_is(message, "MESSAGE_CREATE", {"text": text}) for message in self.got[after:]) or any(
            said["text"] == text for message in self.of("SNAPSHOT")[1:] for said in message["messages"]
        )

    @property
    def _greetings(self) -> int:
        return len(self.of("SNAPSHOT")) + len(self.of("RESUMED"))

    async def send_text(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def close(self) -> None:
        await self._socket.close()
        await self._reading

    async def until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        """Wait until something holds; it is looked at after each message. Give what it gave."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (result := condition()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            others = [message for message in self.got if message["t"] != "MESSAGE_CREATE"]
            told = f"got {len(self.got)}, last {self.got[-3:]}, others {others[-8:]}, closed {self.code}, {self.faults}"
            raise AssertionError(f"{self.user} waited in vain: {told}") from None
        return result

    async def hear(self, kind: str, after: int = 0, **what: Any) -> dict[str, Any]:
        """Wait for a message of a kind with some contents, among those from number `after` on."""
        return await self.until(lambda: next((each for each in self.got[after:] if _is(each, kind, what)), None))

    async def ended(self) -> int:
        """Wait until the socket has closed; give the code."""
        await self.until(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.got if message["t"] == kind]

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.of("MESSAGE_CREATE")]

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        self.code = self._socket.close_code
        self._news.set()

    def _take(self, message: dict[str, Any]) -> None:
        self.at.append(time.monotonic())
        self.got.append(message)
        self._check(message)
        self._apply(message)
        self._news.set()

    def _check(self, message: dict[str, Any]) -> None:
        kind, place = message["t"], (message.get("epoch"), message.get("seq"))
        if len(self.got) == 1 and kind not in ("SNAPSHOT", "RESUMED"):
            self.faults.append(f"{kind} came first")
        if kind == "RESUMED" and place != self.since:
            self.faults.append(f"RESUMED at {place} instead of {self.since}")
        if kind not in ("SNAPSHOT", "RESUMED") and place[1] is not None:
            due = self.since and (self.since[0], self.since[1] + 1)
            if place != due:
                self.faults.append(f"{kind} {place} where {due} was due")
        if place[1] is not None:
            self.since = place

    def _apply(self, message: dict[str, Any]) -> None:
        if message["t"] == "SNAPSHOT":
            self.members = dict(message["members"])
        elif message["t"] in ("JOIN", "PRESENCE_UPDATE"):
            self.members.update(message["members"])
        elif message["t"] == "LEAVE":
            self.members.pop(message["user"], None)
        elif message["t"] == "NICK" and message["user"] in self.members:
            self.members[message["to"]] = self.members.pop(message["user"])


def _is(message: dict[str, Any], kind: str, what: dict[str, Any]) -> bool:
    return message["t"] == kind and all(message.get(key) == value for key, value in what.items())


def socket_url(url: str, user: str, guild: str, since: tuple[int, int] | None = None) -> str:
    place = {} if since is None else {"epoch": since[0], "seq": since[1]}
    asked = httpx.QueryParams({"user": user, "guild": guild, **place})
    return f"{url.replace('http', 'ws', 1)}/socket?{asked}"


class Clients:
    """Opens clients where they belong, closes them in the end, and sees that none was told anything wrong."""

    def __init__(self, app: Supervisor) -> None:
        self.app = app
        self.all: list[Client] = []
        self._http = httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE_S)

    async def ask(self, url: str, user: str = "anybody") -> dict[str, Any]:
        """Ask a gateway where a user belongs, and what gateways there are."""
        answer = await self._http.get(f"{url}/gateway", params={"user": user})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def home_of(self, user: str) -> str:
        """Ask a gateway where a user belongs, until it is one that runs; give the name."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                told = await self.ask(next(iter(self.app.urls.values())), user)
                gateway, url = told["gateway"], told["url"]
                if gateway in self.app.urls:  # else it has not heard yet that this one was killed
                    assert self.app.urls[gateway] == url
                    return gateway

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.all))
        await self._http.aclose()

    async def open(
        self, user: str, guild: str = "lobby", *, via: str | None = None, since: tuple[int, int] | None = None
    ) -> Client:
        """Open one where its user belongs, or on a given gateway."""
        return self.take(await Client.open(self.app.urls[via or await self.home_of(user)], user, guild, since))

    def take(self, client: Client) -> Client:
        self.all.append(client)
        return client

    async def users_of(self, gateway: str, number: int, prefix: str = "u") -> list[str]:
        """Give names of users that belong on a gateway, when another knows that it is there."""
        users: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            for tried in itertools.count():
                if len(users) == number:
                    return users
                if await self.home_of(f"{prefix}{tried}") == gateway:
                    users.append(f"{prefix}{tried}")
        raise AssertionError


@asynccontextmanager
async def clients_of(app: Supervisor) -> AsyncIterator[Clients]:
    clients = Clients(app)
    try:
        yield clients
        assert [client.faults for client in clients.all if client.faults] == []
    finally:
        await clients.close()


async def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """Wait until something holds that nobody tells of. Give what it gave."""
    end = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.005)
    return result


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                parent = int(Path(f"/proc/{entry.name}/stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


@asynccontextmanager
async def not_reading(url: str) -> AsyncIterator[None]:
    """Have a WebSocket that never reads on: its buffer is as small as the system lets it be."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, (parts.hostname, parts.port))
        asked = f"GET {parts.path or '/'}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: Upgrade\r\n"
        key = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        await loop.sock_sendall(raw, (asked + key).encode())
        assert b" 101 " in await loop.sock_recv(raw, 100)
        yield


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on this loop, its sockets as wires; give the URL."""
    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="none",
        ws=Wire,
        ws_per_message_deflate=False,
        ws_max_size=OP_MAX_BYTES,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server._serve([listening]))
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        await until(lambda: not Wire._dirty)  # written on this loop, and not left to the next test's
