"""Frames on real sockets: made once for all, in order, what comes together in one write; who does not read is cut."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from examples.guild_presence.app.wire import REST_MAX_S, UNREAD_MAX_BYTES, Frames, Wire
from tests.examples.app.support import PATIENCE_S, not_reading, served, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection


class Sockets:
    """A server whose sockets do nothing but what a test has them do."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.url = ""

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.wires.append(scope["extensions"]["wire"])
        while (await receive())["type"] != "websocket.disconnect":
            pass

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[tuple[ClientConnection, Wire]]:
        number = len(self.wires)
        async with connect(self.url, **options) as client:
            await until(lambda: len(self.wires) > number)
            yield client, self.wires[number]


@pytest.fixture
async def sockets() -> AsyncIterator[Sockets]:
    sockets = Sockets()
    async with served(sockets.serve) as url:
        sockets.url = url.replace("http", "ws")
        yield sockets


class Spy:
    """A transport whose writes are noted."""

    def __init__(self, wire: Wire) -> None:
        self.writes: list[bytes] = []
        self._transport = wire.transport
        wire.transport = self  # type: ignore[assignment]

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


MESSAGES = [
    {"t": "A", "text": "é\U0001f600<&\u2028"},
    {"t": "B", "text": "b" * 200},
    {"t": "C", "text": "c" * 70_000},
    {},
]


async def test_a_frame_is_made_once_for_all_and_is_what_was_said(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (one, first), sockets.open() as (two, second), sockets.open() as (three, third):
        for number, message in enumerate(MESSAGES, 1):
            for wire in (first, second, third):
                wire.push(frames.of(message))
            assert frames.made == number
        for client in (one, two, three):
            assert [json.loads(await client.recv()) for _ in MESSAGES] == MESSAGES


def test_an_equal_message_is_not_the_same() -> None:
    frames = Frames()
    assert frames.of({"n": 1}) == frames.of({"n": 1})
    assert frames.of({"n": 1}) != frames.of({"n": 2})
    assert frames.made == 4


async def test_what_comes_together_is_one_write_in_order(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (one, first), sockets.open() as (two, second):
        spies = Spy(first), Spy(second)
        for turn in range(3):
            for number in range(5):
                for wire in (first, second):
                    wire.push(frames.of({"n": 5 * turn + number}))
            assert [len(spy.writes) for spy in spies] == [turn] * 2
            await until(lambda: not Wire._dirty)
            assert [len(spy.writes) for spy in spies] == [turn + 1] * 2
        for client in (one, two):
            assert [json.loads(await client.recv())["n"] for _ in range(15)] == list(range(15))


async def test_what_comes_while_it_rests_is_one_write(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames()
    async with sockets.open() as (client, wire):
        spy = Spy(wire)
        rested_at = asyncio.get_running_loop().time() + REST_MAX_S
        monkeypatch.setattr(Wire, "_rested_at", rested_at)
        for number in range(5):
            wire.push(frames.of({"n": number}))
            await asyncio.sleep(0)  # a turn of the loop
        if asyncio.get_running_loop().time() < rested_at:  # else this machine is too slow to see it rest
            assert spy.writes == []
        assert [json.loads(await client.recv())["n"] for _ in range(5)] == list(range(5))
        assert asyncio.get_running_loop().time() >= rested_at


async def test_it_rests_no_longer_than_a_moment(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (client, wire):
        for number in range(20):
            wire.push(frames.of({"n": number, "text": "x" * 1_000}))
            await until(lambda: not Wire._dirty)
            assert Wire._rested_at <= asyncio.get_running_loop().time() + REST_MAX_S
        assert [json.loads(await client.recv())["n"] for _ in range(20)] == list(range(20))


async def test_the_end_comes_behind_what_was_pushed_and_nothing_behind_it(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (client, wire):
        wire.push(frames.of({"n": 1}))
        wire.end(1000, "left")
        wire.end(1012, "moved")
        assert json.loads(await client.recv()) == {"n": 1}
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1000, "left")
        wire.push(frames.of({"n": 3}))
        await until(lambda: not Wire._dirty)


async def test_pushing_to_who_has_gone_does_nothing(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (gone, wire), sockets.open() as (stays, other):
        gone.transport.abort()
        for number in range(50):
            for each in (wire, other):
                each.push(frames.of({"n": number}))
            await asyncio.sleep(0)
        await until(wire.transport.is_closing)
        wire.push(frames.of({"n": 50}))
        wire.end(1012, "moved")
        assert [json.loads(await stays.recv())["n"] for _ in range(50)] == list(range(50))
        await until(lambda: len(wire.tasks) == 1)  # of the server: what the other socket does


async def test_who_does_not_read_is_cut_off_and_delays_nobody(sockets: Sockets) -> None:
    frames = Frames()
    async with not_reading(sockets.url):
        await until(lambda: sockets.wires)
        (held,) = sockets.wires
        async with sockets.open() as (client, wire):
            took, number = [], 0
            while not held.transport.is_closing():
                frame = frames.of({"n": number, "text": "x" * 32_000})
                at = time.perf_counter()
                held.push(frame)
                wire.push(frame)
                assert held.transport.get_write_buffer_size() <= UNREAD_MAX_BYTES + 2 * len(frame)
                assert json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))["n"] == number
                took.append(time.perf_counter() - at)
                number += 1
                assert number < 2000
            print(f"cut off after {number * 32 / 1024:.1f} MiB; slowest for the other {max(took):.3f} s")
            assert sorted(took)[-2] < 1.0  # the machine itself may stand still once
            assert held.transport.get_write_buffer_size() == 0


async def test_who_reads_is_not_cut_off_by_much_at_once(sockets: Sockets) -> None:
    frames = Frames()
    async with sockets.open() as (client, wire):
        for number in range(512):  # as when as much was missed as a guild keeps, of the longest messages
            wire.push(frames.of({"n": number, "text": "\U0001f600" * 2000}))
        assert [json.loads(await client.recv())["n"] for _ in range(512)] == list(range(512))
