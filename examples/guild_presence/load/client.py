"""One user in one guild, over one WebSocket after the other: as the page does it."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from examples.guild_presence.load.connection import RefusedError, connect

if TYPE_CHECKING:
    from examples.guild_presence.load.connection import Connection
    from examples.guild_presence.load.gateways import Gateways

__all__ = ["MESSAGE_CREATE", "Client", "Event", "decode"]

MESSAGE_CREATE = "MESSAGE_CREATE"
_NUMBERED = frozenset({"JOIN", "PRESENCE_UPDATE", "LEAVE", "NICK", "TYPING_START", MESSAGE_CREATE})
_LEFT = 1000
_TRY_S = 10.0
_PAUSES_S = (0.05, 0.1, 0.2, *[0.5] * 60)
"""How long to wait after each try to get a socket, at most, and by that how often to try."""
_CACHED = 512


@dataclass(frozen=True, slots=True)
class Event:
    """What came, as it came; equal if it says the same, down to the last byte."""

    payload: bytes
    t: str = field(compare=False)
    numbered: bool = field(compare=False)
    epoch: int = field(compare=False)
    seq: int = field(compare=False)
    body: dict[str, Any] = field(compare=False, repr=False)


@lru_cache(_CACHED)
def decode(payload: bytes) -> Event:
    """Read what came. An event comes to many clients of this process, all at about the same time: it is read once."""
    body = json.loads(payload)
    return Event(payload, body["t"], body["t"] in _NUMBERED, body.get("epoch", 0), body.get("seq", 0), body)


class Client:
    """A user in a guild. `epoch` and `seq`: of the last event, or of where it began.

    `closed` is done when it has left, or was closed, or cannot come back: no gateway has taken it for half a minute.
    """

    def __init__(self, user: str, guild: str, gateways: Gateways) -> None:
        self.user = user
        self.guild = guild
        self.epoch = self.seq = 0
        self.sockets = 0
        self.resumed = 0
        self.unanswered: dict[str, dict[str, Any]] = {}
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gateways = gateways
        self._connection: Connection | None = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_opening = False
        self._task: asyncio.Task[None] | None = None

    def on_begin(self, event: Event) -> None:
        """Called for each SNAPSHOT: the next event is the one after it."""

    def on_event(self, event: Event) -> None:
        """Called for each numbered event that comes."""

    def on_trouble(self, trouble: str) -> None:
        """Called when something was refused, or is not as it should be."""

    async def open(self, url: str | None = None) -> None:
        """Get a socket, at `url` if it is taken there; back from this the client has begun. Raises ConnectionError.

        A socket that there is already is heard no more, and closed when the other one has taken its place.
        """
        old = self._connection
        if old:
            old.hush()
        self._is_opening = True
        try:
            await self._try_and_try(url)
        finally:
            self._is_opening = False
        if old:
            old.close()

    def send(self, op: str, **said: Any) -> None:
        """Send; nothing, where there is no socket at the moment."""
        if self._connection:
            self._connection.send({"op": op, **said})

    def say(self, text: str, nonce: str) -> None:
        """Send a message, again and again until it has come back."""
        self.unanswered[nonce] = {"text": text, "nonce": nonce}
        self.send("message", text=text, nonce=nonce)

    def close(self) -> None:
        """Close the socket for good; `closed` tells when that is done."""
        if self._task:
            self._task.cancel()
        if self._connection:
            self._connection.hush()
            self._connection.on_close = self._end
            self._connection.close()
        else:
            self._end(_LEFT)

    async def _try_and_try(self, url: str | None) -> None:
        for pause_s in _PAUSES_S:
            try:
                await self._try(url)
                break
            except (OSError, RefusedError) as caught:
                error, url = caught, None
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))
        else:
            raise ConnectionError(f"{self.user} gets no socket: {error}")
        self.sockets += 1
        self._say_again()

    async def _try(self, url: str | None) -> None:
        self._begun = asyncio.get_running_loop().create_future()
        async with self._gateways.turn, asyncio.timeout(_TRY_S):
            address = url or await self._gateways.find(self.user)
            connection = await connect(self._address(address), self._hear, self._on_close)
            self._connection = connection
            try:
                await self._begun
            except BaseException:
                connection.drop()
                raise
        if connection.is_closed:
            raise ConnectionResetError("closed as soon as it had begun")

    def _address(self, url: str) -> str:
        said: dict[str, Any] = {"user": self.user, "guild": self.guild}
        if self.sockets:
            said |= {"epoch": self.epoch, "seq": self.seq}
        return f"ws{url.removeprefix('http')}/socket?{urlencode(said)}"

    def _say_again(self) -> None:
        for said in self.unanswered.values():
            self.send("message", **said)

    def _hear(self, payload: bytes) -> None:
        event = decode(payload)
        if not event.numbered:
            self._hear_other(event)
            return
        self.seq = event.seq
        if self.unanswered and event.t == MESSAGE_CREATE:
            self.unanswered.pop(event.body["nonce"], None)
        self.on_event(event)

    def _hear_other(self, event: Event) -> None:
        if event.t == "SNAPSHOT":
            self._begin(event)
        elif event.t == "RESUMED":
            self._resume(event)
        elif event.t == "MOVE":
            self._reopen(event.body["url"])
        elif event.t == "ERROR":
            self.on_trouble(f"{self.user} was refused: {event.body['text']}")

    def _begin(self, event: Event) -> None:
        self.epoch, self.seq = event.epoch, event.seq
        for message in event.body["messages"]:
            self.unanswered.pop(message["nonce"], None)
        self.on_begin(event)
        if self._begun.done():  # not the first message on its socket: the guild began afresh
            self._say_again()
        else:
            self._begun.set_result(None)

    def _resume(self, event: Event) -> None:
        if (event.epoch, event.seq) != (self.epoch, self.seq):
            self.on_trouble(f"{self.user} was to go on from {self.epoch}/{self.seq}, and does from {event}")
        if self._begun.done():  # not the first message on its socket: what was said may be lost
            self._say_again()
        else:
            self.resumed += 1
            self._begun.set_result(None)

    def _on_close(self, code: int) -> None:
        self._connection = None
        if not self._begun.done():
            self._begun.set_exception(ConnectionResetError(f"closed with {code} before it began"))
        elif code == _LEFT:
            self._end(code)
        else:
            self._reopen(None)

    def _reopen(self, url: str | None) -> None:
        if not self._is_opening:
            self._task = asyncio.get_running_loop().create_task(self.open(url))
            self._task.add_done_callback(self._reopened)

    def _reopened(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error:
            self.on_trouble(str(error))
            self._end(_LEFT)

    def _end(self, _code: int) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
