"""The gateway: what a node offers the others. It starts guilds and sessions where it lives, and reports for its node.

`manifold node --app examples.guild_presence.gateway:setup` runs a node with one; see `cluster`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import manifold
from examples.guild_presence.actors import Guild, Session
from examples.guild_presence.ledger import Ledger
from examples.guild_presence.messages import GUILDS, REPORT, SESSIONS

if TYPE_CHECKING:
    from examples.guild_presence.check import Tally

__all__ = ["NODES", "Gateway", "meet", "setup"]

NODES = "GUILD_PRESENCE_NODES"
"""The variable that tells a child process how many nodes there are."""


class Gateway(manifold.Actor):
    """Starts what it is asked for on its own node."""

    def __init__(self) -> None:
        super().__init__()
        self._ledger = Ledger()
        self._answers = {GUILDS: self._guilds, SESSIONS: self._sessions, REPORT: self._report}

    def on_receive(self, message: dict[str, Any]) -> Any:
        """Answer; see `messages`."""
        return self._answers[message["t"]](message)

    def _guilds(self, message: dict[str, Any]) -> list[manifold.PID]:
        gateways, plain_list = message["gateways"], message["plain_list"]
        return [Guild.start(name, gateways, plain_list=plain_list).pid for name in message["names"]]

    def _sessions(self, message: dict[str, Any]) -> list[manifold.PID]:
        return [Session.start(message["guild"], self._ledger).pid for _ in range(message["number"])]

    def _report(self, _message: dict[str, Any]) -> dict[str, dict[str, Any]]:
        tallies: dict[str, Tally] = self._ledger.sums()
        return {"tallies": tallies, "stats": dict(self.node.stats())}


async def meet(node: manifold.Node, nodes: int) -> None:
    """Wait until so many nodes are connected, this one included."""
    async with aclosing(node.events()) as events:  # type: ignore[type-var]
        while len(node.nodes()) < nodes:
            await anext(events)


async def setup(node: manifold.Node) -> None:
    """Set a child's node up: when it has met all others, print the gateway's PID. It stops when stdin is closed."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_if_closed)
    await meet(node, int(os.environ[NODES]))
    print(node.spawn(Gateway), flush=True)


def _stop_if_closed() -> None:
    # The parent holds the other end and never writes: so this ends with it, in whichever way it ends.
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # else it stops already: the terminal sent it a ^C
            signal.raise_signal(signal.SIGTERM)
