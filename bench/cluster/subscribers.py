"""Recipients as one writes them without this library: a subject of NATS each, or a channel of Django Channels each.

The child is `python -m bench.cluster.subscribers KIND URL RECIPIENTS`, the kind nats, channels or group. It says where
they are reached, and to a number on its standard input, when each of them has received so many: how many they are, the
least and the most one received.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from bench.contenders import WAIT_S, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["ECHO", "GROUP", "make_layer"]

GROUP = "guild"
ECHO = "echo"

_LOOK_S = 0.0005


def make_layer(url: str) -> Any:
    """Make a layer of Django Channels over Redis's publish and subscribe."""
    return importlib.import_module("channels_redis.pubsub").RedisPubSubChannelLayer(hosts=[url])


async def _subscribe(url: str, crew: list[Session]) -> list[str]:
    import nats

    client = await nats.connect(url)
    subjects = [f"user.{number}" for number in range(len(crew))]
    for subject, session in zip(subjects, crew, strict=True):
        await client.subscribe(subject, cb=_handler(session))
    await client.subscribe(ECHO, cb=_answer)
    await client.flush()
    return subjects


async def _answer(message: Any) -> None:
    await message.respond(message.data)


def _handler(session: Session) -> Callable[[Any], Coroutine[Any, Any, None]]:
    async def handle(message: Any) -> None:
        session.on_receive(msgpack.unpackb(message.data))

    return handle


async def _join(kind: str, url: str, crew: list[Session], tasks: set[asyncio.Task[None]]) -> list[str]:
    layer = make_layer(url)
    channels = [await layer.new_channel() for _ in crew]
    for channel, session in zip(channels, crew, strict=True):
        if kind == "group":
            await layer.group_add(GROUP, channel)
        tasks.add(asyncio.create_task(_consume(layer, channel, session)))
    return channels


async def _consume(layer: Any, channel: str, session: Session) -> None:
    while True:
        session.on_receive(await layer.receive(channel))


async def _serve(kind: str, url: str, recipients: int) -> None:
    crew: list[Session] = []
    for _ in range(recipients):
        Session(crew)
    tasks: set[asyncio.Task[None]] = set()
    where = await (_subscribe(url, crew) if kind == "nats" else _join(kind, url, crew, tasks))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps(where), flush=True)
    while line := await lines.readline():
        print(json.dumps(await _counts(crew, int(line))), flush=True)
    os._exit(0)  # the server may be gone, and there is nobody to whom that matters


async def _counts(crew: list[Session], sent: int) -> tuple[int, int, int]:
    until = time.monotonic() + WAIT_S
    # Polled: an event would cost every recipient something.
    while any(session.received < sent for session in crew) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)
    received = [session.received for session in crew]
    return len(received), min(received), max(received)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
