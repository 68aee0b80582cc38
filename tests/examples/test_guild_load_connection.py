"""`load.connection`: messages come out as they were sent, however the stream is cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import serve
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from examples.guild_presence.load.connection import Connection, RefusedError, connect

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE_S = 30.0


def handshake_of(connection_request: bytes) -> bytes:
    server = ServerProtocol()
    server.receive_data(connection_request)
    server.send_response(server.accept(server.events_received()[0]))
    return b"".join(server.data_to_send())


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data


def feed(connection: Connection, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        view = connection.get_buffer(-1)
        view[: len(piece)] = piece
        connection.buffer_updated(len(piece))


TEXTS = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([125, 126, 127, 65535, 65536]).map(lambda size: b"x" * size)),
    max_size=6,
)


@given(TEXTS, st.data())
def test_messages_come_whole_and_in_order_however_the_stream_is_cut(texts: list[bytes], data: st.DataObject) -> None:
    async def run() -> list[bytes]:
        heard: list[bytes] = []
        connection, wire = opened(heard)
        frames = [Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts]
        frames.insert(data.draw(st.integers(0, len(frames))), Frame(Opcode.PING, b"there?").serialize(mask=False))
        stream = handshake_of(wire.written) + b"".join(frames)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(stream)), max_size=10)))
        edges = [0, *cuts, len(stream)]
        written = len(wire.written)
        feed(connection, (piece for a, b in pairwise(edges) for piece in small(stream[a:b])))
        assert connection.opened.done()
        assert len(wire.written) == written + len(Frame(Opcode.PONG, b"there?").serialize(mask=True))
        return heard

    assert asyncio.run(run()) == texts


def opened(heard: list[bytes]) -> tuple[Connection, Wire]:
    connection = Connection(ClientProtocol(parse_uri("ws://127.0.0.1:1/"), max_size=None), heard.append, heard.append)
    wire = Wire()
    connection.connection_made(wire)
    return connection, wire


def small(data: bytes) -> Iterable[bytes]:
    """Cut it to what one read may bring."""
    return (data[at : at + 65536] for at in range(0, len(data), 65536))


async def test_what_is_sent_arrives_and_both_sides_may_close() -> None:
    async def echo(socket: Any) -> None:
        async for text in socket:
            await socket.send(text) if text != '"bye"' else await socket.close(1012)

    async with asyncio.timeout(PATIENCE_S), serve(echo, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        heard: asyncio.Queue[object] = asyncio.Queue()
        for ours, code in ((True, 1000), (False, 1012)):
            connection = await connect(url, heard.put_nowait, heard.put_nowait)
            connection.send({"t": "é" * 70_000})
            assert await heard.get() == b'{"t": "' + b"\\u00e9" * 70_000 + b'"}'
            connection.close() if ours else connection.send("bye")
            assert await heard.get() == code
            assert connection.is_closed
            connection.send({"t": "nobody gets this"})
            connection.close()


async def test_a_server_that_refuses_or_hangs_up_is_an_error() -> None:
    async def refuse(socket: Any, request: Any) -> Any:
        return socket.respond(403, "no")

    async with asyncio.timeout(PATIENCE_S), serve(lambda _: None, "127.0.0.1", 0, process_request=refuse) as server:
        with pytest.raises(RefusedError, match="403"):
            await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", print, print)

    async def hang_up(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with asyncio.timeout(PATIENCE_S), await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(ConnectionResetError):
            await connect(url, print, print)
    with pytest.raises(OSError):
        await connect(url, print, print)
