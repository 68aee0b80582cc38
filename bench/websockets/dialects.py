"""What a client says to each server and hears from it: the application's own JSON, or the same within Socket.IO."""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import urlencode

__all__ = ["DIALECTS", "Dialect"]


class Dialect(Protocol):
    """One way to put the protocol into WebSocket messages."""

    mark: int
    """Where in the payload of an event its type begins."""

    def path(self, user: str, guild: str) -> str:
        """Give the path of the handshake."""

    def greet(self, heard: bytes, user: str, guild: str) -> tuple[str, bool]:
        """Give the answer, if any, to what came before one is in the guild; and whether one is in it now."""

    def op(self, text: str, nonce: str) -> str:
        """Give what sends a message to the guild."""

    def event(self, heard: bytes) -> dict[str, Any]:
        """Give the event, or whatever else the server says; nothing where that is not of the application."""

    def answer(self, heard: bytes) -> str:
        """Give what the protocol answers to what is no event."""


class Plain:
    """JSON text, one object a message."""

    mark = len('{"t":"')

    def path(self, user: str, guild: str) -> str:
        return f"/socket?{urlencode({'user': user, 'guild': guild})}"

    def greet(self, heard: bytes, user: str, guild: str) -> tuple[str, bool]:
        said = json.loads(heard)
        return "", said["t"] == "SNAPSHOT" and (said["user"], said["guild"]) == (user, guild)

    def op(self, text: str, nonce: str) -> str:
        return json.dumps({"op": "message", "text": text, "nonce": nonce})

    def event(self, heard: bytes) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(heard)
        return said

    def answer(self, heard: bytes) -> str:  # noqa: ARG002 - nothing asks for one
        return ""


class SocketIO:
    """The same object as the argument of an event of Socket.IO, over Engine.IO's packets."""

    mark = len('42["e",{"t":"')

    def path(self, user: str, guild: str) -> str:  # noqa: ARG002 - they go into the CONNECT packet
        return "/socket.io/?EIO=4&transport=websocket"

    def greet(self, heard: bytes, user: str, guild: str) -> tuple[str, bool]:
        if heard.startswith(b"0"):
            return "40" + json.dumps({"user": user, "guild": guild}), False
        return self.answer(heard), heard.startswith(b"40")

    def op(self, text: str, nonce: str) -> str:
        return "42" + json.dumps(["message", {"text": text, "nonce": nonce}])

    def event(self, heard: bytes) -> dict[str, Any]:
        if not heard.startswith(b"42"):
            return {}
        event: dict[str, Any] = json.loads(heard[2:])[1]
        return event

    def answer(self, heard: bytes) -> str:
        return "3" if heard == b"2" else ""


DIALECTS: dict[str, type[Dialect]] = {"plain": Plain, "socketio": SocketIO}
