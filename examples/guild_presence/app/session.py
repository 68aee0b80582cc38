"""A session: one WebSocket of one user in one guild. It sees to it that each event goes out once, in order.

Whenever there is doubt (no answer, a gap, the guild's actor has ended) it does the same thing: it asks the guild to be
let in, and says what it has seen last. What comes twice by that is dropped by its number.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import manifold
from examples.guild_presence.app.guild import find_guild
from examples.guild_presence.app.members import ONLINE
from examples.guild_presence.app.overview import OVERVIEW
from examples.guild_presence.app.protocol import error

if TYPE_CHECKING:
    from examples.guild_presence.app.wire import Frames, Wire

__all__ = ["COMMANDS", "RETRY_S", "Session"]

RETRY_S = 0.5
"""How long it waits for the guild's welcome before it asks again."""
COMMANDS = "supervisor"
"""The name of the actor that starts and ends nodes, if there is one."""


class Session(manifold.Actor):
    """Lives on the loop of its gateway, beside its socket."""

    def __init__(self, wire: Wire, frames: Frames, user: str, guild: str, since: tuple[int, int] | None) -> None:
        super().__init__()
        self._push = wire.push
        self._frame = frames.of
        self._wire = wire
        self._user = user
        self._guild = find_guild(guild)
        self._status = ONLINE
        self._since = since
        self._epoch, self._due = 0, 0  # nothing is due before the guild's welcome
        self._has_left = False
        self._may_have_lost = False
        self._residence: manifold.MonitorRef | None = None
        self._retry: manifold.Timer | None = None

    def on_start(self) -> None:
        """Ask to be let in."""
        self._knock()

    def on_stop(self) -> None:
        """Leave no timer behind. The guild hears of the end by itself."""
        if self._retry is not None:
            self._retry.cancel()

    def on_failure(self, *_error: Any) -> None:
        """Have the client come back: it shall not wait for what never comes."""
        self._wire.end(1011, "the session failed")

    def on_receive(self, message: Any) -> None:
        """Write an event that is due, as nearly every message is one; else see what it is."""
        if type(message) is dict:
            if message.get("seq") == self._due and message["epoch"] == self._epoch:
                self._due += 1
                self._push(self._frame(message))
            elif "op" in message:
                self._do(message)
            else:
                self._hear(message)
        elif isinstance(message, manifold.Down) and message.ref is self._residence:
            self._residence = None
            self._may_have_lost |= message.reason != "handed over"
            self._knock()

    # From the guild, and from the overview.

    def _hear(self, message: dict[str, Any]) -> None:
        if "seq" in message:
            if message["epoch"] == self._epoch and message["seq"] > self._due and self._retry is None:
                self._knock()
        elif "welcome" in message:
            self._enter(**message)
        elif message["t"] == "STRANGER":
            self._may_have_lost = True
            self._knock()
        elif message["t"] == "LATEST":
            if message["epoch"] == self._epoch and message["latest"] >= self._due and self._retry is None:
                self._knock()
        elif message["t"] == "RENAMED":
            self._user = message["user"]
        elif message["t"] == "LEFT":
            self._has_left = True
            self._wire.end(1000, "left")
        else:
            self._push(self._frame(message))

    def _knock(self) -> None:
        """Ask to be let in, now and until there is an answer. The guild does not mind to be asked twice."""
        if self._has_left:
            return
        since = (self._epoch, self._due - 1) if self._due else self._since
        join = {"op": "join", "session": self.pid, "user": self._user, "status": self._status, "since": since}
        with suppress(manifold.Overloaded, manifold.NotPlaced):
            manifold.send(self._guild, join)
        if self._retry is not None:
            self._retry.cancel()
        self._retry = manifold.send_after(RETRY_S, self.pid, {"op": "retry"})

    def _enter(self, welcome: dict[str, Any], home: manifold.PID, missed: list[dict[str, Any]]) -> None:
        """Take the guild's welcome; tell the client of it if it does not know all that it says."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._settle(home)
        is_known = welcome["t"] == "RESUMED" or (welcome["epoch"] == self._epoch and welcome["seq"] < self._due)
        if not (self._due and is_known):
            self._epoch, self._due = welcome["epoch"], welcome["seq"] + 1
            self._push(self._frame(welcome))
        elif self._may_have_lost and welcome["t"] == "RESUMED":  # the client shall say again what has not come back
            self._push(self._frame({**welcome, "seq": self._due - 1}))
        self._may_have_lost = False
        for event in missed:
            self.on_receive(event)

    def _settle(self, home: manifold.PID) -> None:
        """Hear of it when the guild's actor ends."""
        if self._residence is None or self._residence.pid != home:
            if self._residence is not None:
                self.demonitor(self._residence)
            self._residence = self.monitor(home)

    # From the client, and from itself.

    def _do(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op == "retry":
            if self._retry is not None:
                self._knock()
        elif op == "gone":
            self.stop()
        elif op == "refused":
            self._push(self._frame(error(message["text"])))
        elif op == "overview":
            self._pass_on(OVERVIEW, message)
        elif op == "command":
            self._pass_on(COMMANDS, message)
        else:
            self._status = message.get("status", self._status)
            self._pass_on(self._guild, message)

    def _pass_on(self, to: Any, message: dict[str, Any]) -> None:
        try:
            manifold.send(to, {**message, "session": self.pid})
        except manifold.Overloaded:
            self._push(self._frame(error("too much at once: not done")))
        except manifold.NotPlaced:
            self._push(self._frame(error("there is no guild node: not done")))
