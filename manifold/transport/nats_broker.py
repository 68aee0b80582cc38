"""The connection to a server of NATS, kept up: what is posted is published, what comes in is kept for who polls.

nats-py is asked for one connection at a time, and for another when that is lost. Its own way of reconnecting gives up
for ever when the server refuses it, as after a change of its users, and first sends what was meant before the break.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import os
import random
import secrets
import socket
import ssl
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import nkeys  # type: ignore[import-untyped]
from nats import errors
from nats.aio.client import Client

from manifold.transport import AddressError
from manifold.transport.nats_loop import PollLoop
from manifold.transport.waking import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nats.aio.msg import Msg

    from manifold.transport.nats_url import Servers

__all__ = ["Broker"]

logger = logging.getLogger("manifold")

T = TypeVar("T")

_CONNECT_S = 2.0
_PING_S = 5  # after three without an answer the connection is given up; the answer comes behind all else that does
_PROBE_S = 2.0  # for the answer of a busy node that has the subject; that nobody has it, the server says at once
_RETRY_S = 0.5
_LOOK_S = 0.5
_FLUSH_S = 0.5
_NOBODY_LISTENS = "503"
_PAYLOAD_MIN_BYTES = 1024
_FAULTS = (OSError, errors.Error, asyncio.TimeoutError)

_EXPOSED = (
    "it lets in anybody who reaches it, and without a cookie anybody could send to the actors of this cluster. Give "
    "every node the same secret, as `cookie` or in MANIFOLD_COOKIE, or credentials that the server asks for"
)


class Broker:
    """One node's connection to the servers. All but `wake` is for one thread at a time."""

    def __init__(self, servers: Servers, subject: str, *, is_guarded: bool) -> None:
        self.received: deque[tuple[str, bytes]] = deque()
        """What came in, with the subject it was published to."""
        self.is_up = False
        self.connections = 0
        """How many connections were made so far: with each, what was on the way before may be lost."""
        self.payload_max_bytes = 0
        self._servers = servers
        self._subjects = [subject]
        self._is_guarded = is_guarded or servers.is_known
        self._found: tuple[str, ...] = ()
        self._outgoing: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._faults: list[Exception] = []
        self._lost = asyncio.Event()
        self._woken = False
        self._waker = Waker()
        self._finishing: asyncio.Task[Any] | None = None

    def listen_to(self, subject: str) -> None:
        """Take what is published to another subject, too; before `open`."""
        self._subjects.append(subject)

    # For who polls.

    def open(self) -> None:
        """Connect, and take the subject; AddressError, holding nothing, if that cannot be."""
        self._loop = PollLoop()
        self._waker.open()
        self._loop.add_reader(self._waker.file, self._rouse)
        self._loop.set_exception_handler(self._on_exception)
        try:
            self._run(self._connect_first())
        except BaseException:
            self.close()
            raise
        self._keeper = self._loop.create_task(self._keep())  # asyncio itself holds on to no task

    def post(self, subject: str, data: bytes) -> None:
        """Have it published, in the order posted; without a connection it is lost."""
        if self.is_up:
            self._outgoing.put_nowait((subject, data))

    def wait(self, timeout_s: float) -> None:
        """Publish what was posted; wait until something has come in, or has changed, or for so long."""
        if not self._waker.sleep():
            timeout_s = 0.0
        try:
            self._loop.run_for(timeout_s, self._has_news)
        finally:
            self._woken = False
            self._waker.rise()

    def publish(self) -> None:
        """Publish what was posted, as far as that takes no waiting."""
        if not self._outgoing.empty():
            self._loop.run_ready()

    def wake(self) -> None:
        """End the wait, or the next one. From any thread."""
        self._waker.wake()

    def close(self) -> None:
        """Publish what was posted, within a moment, and hang up."""
        self._run(self._finish())
        self._loop.remove_reader(self._waker.file)
        self._waker.close()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end, in a thread of its own if another loop runs in this one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop.run_until_complete(work)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._loop.run_until_complete, work).result()

    def _has_news(self) -> object:
        return self.received or self._woken

    def _rouse(self) -> None:
        self._waker.drain()
        self._woken = True

    # Inside the loop.

    async def _connect_first(self) -> None:
        self._welcome(await self._connect(is_first=True))

    async def _keep(self) -> None:
        """Publish while there is a connection, and make another when it is lost; until it is over."""
        while self._finishing is None:
            writer = asyncio.create_task(self._write())
            while self._client.is_connected and not writer.done():
                self._lost.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._lost.wait(), _LOOK_S)
            self._part()
            self._welcome(await self._reconnect())

    def _welcome(self, client: Client) -> None:
        self._client = client
        self._found = tuple(f"{uri.scheme}://{uri.netloc}" for uri in client.discovered_servers)
        self.payload_max_bytes = client.max_payload
        self.connections += 1
        self.is_up = self._woken = True

    def _part(self) -> None:
        self.is_up, self._woken = False, True
        self._outgoing = asyncio.Queue()  # what was meant for this connection is lost with it
        why = _explain(self._faults[-1]) if self._faults else "it hung up"
        logger.warning("%s: the connection to the server is lost: %s. Trying on", self._servers, why)
        self._drop()

    async def _reconnect(self) -> Client:
        while True:
            try:
                client = await self._connect()
            except AddressError as error:
                if self._finishing is not None:
                    raise asyncio.CancelledError from error
                logger.debug("%s", error)
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311
            else:
                logger.info("%s: connected again", self._servers)
                return client

    async def _write(self) -> None:
        outgoing, publish = self._outgoing, self._client.publish
        with suppress(*_FAULTS):
            while True:
                await publish(*await outgoing.get())
                outgoing.task_done()

    async def _connect(self, *, is_first: bool = False) -> Client:
        """Connect to any of the servers; AddressError tells what is wrong with each."""
        # In any order, so that the nodes spread over the servers; those that were named first.
        named, found = self._servers.urls, tuple(set(self._found) - set(self._servers.urls))
        urls = random.sample(named, len(named)) + random.sample(found, len(found))
        reasons = {}
        for url in urls:
            faults: list[Exception] = []
            self._faults = faults
            try:
                return await self._connect_to(url, faults, is_first=is_first)
            except AddressError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the other side made nats-py raise, it is no server
                # What is raised at last may say less than what was reported before.
                reasons[url] = _explain(faults[-1] if faults and isinstance(error, errors.NoServersError) else error)
                self._drop()
        if len(reasons) == 1:
            raise AddressError(*reasons.popitem())
        raise AddressError(str(self._servers), "; ".join(f"{url}: {reason}" for url, reason in reasons.items()))

    async def _connect_to(self, url: str, faults: list[Exception], *, is_first: bool) -> Client:
        async def on_error(error: Exception) -> None:
            faults[:] = [*faults[-1:], error]

        client = Client()
        self._lost.clear()
        async with asyncio.timeout(2 * _CONNECT_S + _PROBE_S):
            await client.connect(url, error_cb=on_error, **self._options(url))
            self._check(client, url)
            if is_first:
                await self._claim(client, faults)
            for subject in self._subjects:
                await client.subscribe(subject, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0)
            await self._hear(client)
        if faults:
            raise faults[-1]
        return client

    async def _hear(self, client: Client) -> None:
        """Wait until the server has answered all this. nats-py would wait on when the connection has broken."""
        answered, lost = asyncio.create_task(client.flush()), asyncio.create_task(self._lost.wait())
        await asyncio.wait({answered, lost}, return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if not answered.done():
            raise errors.ConnectionClosedError
        answered.result()

    def _options(self, url: str) -> dict[str, Any]:
        servers = self._servers
        options: dict[str, Any] = {
            "name": self._subjects[0],
            "closed_cb": self._on_closed,
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0,
            "connect_timeout": _CONNECT_S,
            "ping_interval": _PING_S,
            "tls": servers.tls,
        }
        if servers.password is not None:
            options |= {"user": self._guarded(url, servers.user), "password": self._guarded(url, servers.password)}
        elif servers.user is not None:
            options["token"] = self._guarded(url, servers.user)
        if servers.jwt is not None:
            options |= {"user_jwt_cb": self._guarded(url, servers.jwt.encode()), "signature_cb": self._sign}
        return options

    def _guarded(self, url: str, secret: T) -> Callable[[], T]:
        """Give a secret to nats-py when it is to be sent: over TLS, if that was asked for. It does not see to that."""

        def give() -> T:
            self._check_tls(url)
            return secret

        return give

    def _sign(self, nonce: str) -> bytes:
        assert self._servers.seed is not None
        key = nkeys.from_seed(bytearray(self._servers.seed.encode()))
        return base64.b64encode(key.sign(nonce.encode()))

    def _check_tls(self, url: str) -> None:
        if url.startswith("tls:") and not self._loop.is_encrypted:
            raise errors.Error("it does not offer TLS")

    def _check(self, client: Client, url: str) -> None:
        self._check_tls(url)
        if client.max_payload < _PAYLOAD_MIN_BYTES:
            raise errors.Error(f"it takes {client.max_payload} bytes at a time; {_PAYLOAD_MIN_BYTES} are needed")
        hosts = [connection.get_extra_info("peername")[0] for connection in self._loop.connections]
        if not (self._is_guarded or all(ipaddress.ip_address(host).is_loopback for host in hosts)):
            raise errors.Error(_EXPOSED)

    async def _claim(self, client: Client, faults: list[Exception]) -> None:
        """See that nobody else has the subject, who would answer. The server says at once if nobody listens there."""
        answer = self._loop.create_future()
        place = f"{self._subjects[0]}.{secrets.token_hex(8)}"
        subscription = await client.subscribe(place, future=answer)
        await client.publish(self._subjects[0], reply=place)
        await asyncio.wait({answer}, timeout=_PROBE_S)
        await subscription.unsubscribe()
        if faults:
            raise faults[-1]
        if answer.done() and (answer.result().headers or {}).get("Status") != _NOBODY_LISTENS:
            raise AddressError(f"subject://{self._subjects[0]}", "something listens there already")

    async def _finish(self) -> None:
        self._finishing = asyncio.current_task()
        if self.is_up:
            with suppress(*_FAULTS):
                async with asyncio.timeout(_FLUSH_S):
                    await self._flush()
        self.is_up = False
        while tasks := self._drop():  # again what goes on: nats-py may take the end of a task for that of a connection
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _flush(self) -> None:
        await self._outgoing.join()
        await self._client.flush()

    def _drop(self) -> list[asyncio.Task[Any]]:
        """Let go of all that runs here and is open. nats-py itself would first send what is left, be it for ever."""
        self._loop.abort_connections()
        tasks = list(asyncio.all_tasks() - {asyncio.current_task(), self._finishing})
        for task in tasks:
            task.cancel()
        return tasks

    async def _on_message(self, message: Msg) -> None:
        if message.reply:
            await message.respond(b"")  # somebody asks whether the subject is taken
        else:
            self.received.append((message.subject, message.data))

    async def _on_closed(self) -> None:
        self._lost.set()

    def _on_exception(self, _loop: object, context: dict[str, Any]) -> None:
        logger.debug("%s: %s", self._servers, context)


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}. Name the CA that signed it with ?ca=FILE"
    if isinstance(error, asyncio.TimeoutError):
        return f"nothing answers there within {_CONNECT_S:g} s"
    if isinstance(error, OSError):
        return f"it cannot be reached: {_reason(error)}"
    text = str(error).removeprefix("nats: ").strip("'\"")
    if "authorization" in text.lower():
        return "it does not let us in: it asks for credentials, or does not accept those that were given"
    if "INFO" in text:
        return "what answers there is no server of NATS"
    return text


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its host is not known"
    # asyncio puts a text of its own in the place of the system's.
    return os.strerror(error.errno) if error.errno else str(error)
