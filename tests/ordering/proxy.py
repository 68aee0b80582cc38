"""TCP connections that really break, or are held up, by a proxy for each node.

A node of ZeroMQ is dialled through its proxy, a node of NATS dials its server through it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from manifold import surroundings, wires
from manifold.transport import parse_address
from manifold.transport.zeromq import ZeroMQ
from tests.support import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_BYTES = 1 << 16


class Proxies:
    """While `monkeypatch` holds, every node that is made is behind a proxy of its own."""

    def __init__(self, monkeypatch: Any) -> None:
        self.made: list[Proxy] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        proxies = self

        class Behind(ZeroMQ):
            """ZeroMQ, whose address is that of the proxy before it."""

            def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
                super().open(receive, connected)
                self.address = proxies.before(self.address).address

        def make_transport(node: str, listen: Any, join: Any, transport: Any, cookie: Any, limits: Any) -> Any:
            if transport is not None:
                server, _, query = transport.partition("?")
                proxy = proxies.before(server.replace("nats:", "tcp:"))
                transport = f"{proxy.address.replace('tcp:', 'nats:')}?{query}"
            made = wires.make_transport(node, listen, join, transport, cookie, limits)
            if transport is None:
                assert type(made) is ZeroMQ
                made.__class__ = Behind
            return made

        monkeypatch.setattr(surroundings.Process, "transport", staticmethod(make_transport))

    def before(self, address: str) -> Proxy:
        proxy = Proxy(parse_address(address).port, self._loop)
        self.made.append(proxy)
        return proxy

    def close(self) -> None:
        for proxy in self.made:
            proxy.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


class Proxy:
    """Passes on what comes, in both directions. Its methods are for any thread."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.broken = 0
        self.port = port
        """Where it passes what comes on to; nowhere yet, if it is 0."""
        self._loop = loop
        self._transports: set[asyncio.WriteTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), loop).result(PATIENCE_S)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def break_all(self) -> None:
        """Break every connection, in the middle of whatever was on its way."""
        self._loop.call_soon_threadsafe(self._break)

    def stall(self, for_s: float) -> None:
        """Let nothing through for a while; connections stay."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        self._loop.call_soon_threadsafe(self._loop.call_later, for_s, self._flows.set)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_S)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        self._flows.set()
        self._break()
        await asyncio.gather(*self._tasks)

    def _break(self) -> None:
        self.broken += len(self._transports) // 2
        for transport in self._transports:
            transport.abort()

    def _passes(self, data: bytes) -> bool:
        """Whether this is passed on; if not, the connection breaks."""
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
            ends = {writer.transport, far_writer.transport}
            self._transports |= ends
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
            self._transports -= ends
        except OSError:
            writer.transport.abort()  # nobody listens there any more
        finally:
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (data := await reader.read(CHUNK_BYTES)) and self._passes(data):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # broken
        finally:
            writer.transport.abort()
