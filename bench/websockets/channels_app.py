"""The application with Django Channels: `python -m bench.websockets.channels_app KIND REDIS-URL`.

KIND: "consumers" has one of Channels' consumers for each socket, "layer" uses the channel layer alone. The layer is the
one over Redis's publish and subscribe, which is the faster of the two there are; it has no capacity, and drops nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings

from bench.websockets.serving import Numbers, serve

_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"


def _who(scope: Any) -> tuple[str, str]:
    query = parse_qs(scope["query_string"].decode())
    return query["user"][0], query["guild"][0]


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


class Member(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket, as the documentation of Channels writes a chat; the event's text is made once."""

    numbers: Numbers

    async def connect(self) -> None:
        self.user, self.guild = _who(self.scope)
        await self.channel_layer.group_add(self.guild, self.channel_name)
        await self.accept()
        await self.send(text_data=_text({"t": "SNAPSHOT", "guild": self.guild, "user": self.user}))

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' name
        await self.channel_layer.group_discard(self.guild, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:  # noqa: ARG002
        event = await self.numbers.event(self.guild, self.user, json.loads(text_data or ""))
        await self.channel_layer.group_send(self.guild, {"type": "guild.event", "text": _text(event)})

    async def guild_event(self, message: dict[str, Any]) -> None:
        """Hand one event on."""
        await self.send(text_data=message["text"])


class Plain:
    """The same on the layer alone: two tasks for a socket, and nothing between the layer and the server."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        layer, (user, guild) = get_channel_layer(), _who(scope)
        channel = await layer.new_channel()
        await receive()
        await layer.group_add(guild, channel)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": _text({"t": "SNAPSHOT", "guild": guild, "user": user})})
        pump = asyncio.create_task(self._pump(layer, channel, send))
        while (message := await receive())["type"] == "websocket.receive":
            event = await self.numbers.event(guild, user, json.loads(message["text"]))
            await layer.group_send(guild, {"text": _text(event)})
        pump.cancel()
        await layer.group_discard(guild, channel)

    async def _pump(self, layer: Any, channel: str, send: Any) -> None:
        while True:
            message = await layer.receive(channel)
            await send({"type": "websocket.send", "text": message["text"]})


def _main(kind: str, url: str) -> None:
    settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": _LAYER, "CONFIG": {"hosts": [url]}}})
    django.setup()
    Member.numbers = Numbers(url)
    serve(Plain(Member.numbers) if kind == "layer" else Member.as_asgi())


if __name__ == "__main__":
    _main(*sys.argv[1:])
