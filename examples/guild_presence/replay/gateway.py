"""The gateways: what a node offers the others. Each starts guilds and sessions in its process, and reports for those.

A node has one; one in each worker, if those are processes, so that its sessions can share a ledger with it.
`manifold node --app examples.guild_presence.replay.gateway:setup` runs a node with them; see `cluster`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import manifold
from examples.guild_presence.replay.actors import Guild, Session
from examples.guild_presence.replay.ledger import Ledger
from examples.guild_presence.replay.messages import ANSWER_S, GUILDS, PROCESS, REPORT, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.guild_presence.logs.check import Tally

__all__ = ["NODES", "Gateway", "meet", "open_gateways", "setup"]

NODES = "GUILD_PRESENCE_NODES"
"""The variable that tells a child process how many nodes there are."""


class Gateway(manifold.Actor):
    """Starts what it is asked for in its own process."""

    def __init__(self) -> None:
        super().__init__()
        self._ledger = Ledger()
        self._answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            GUILDS: self._guilds,
            SESSIONS: self._sessions,
            REPORT: self._report,
            PROCESS: lambda _: os.getpid(),
        }

    def on_receive(self, message: dict[str, Any]) -> Any:
        """Answer; see `messages`."""
        return self._answers[message["t"]](message)

    def _guilds(self, message: dict[str, Any]) -> list[manifold.PID]:
        gateways, plain_list = message["gateways"], message["plain_list"]
        return [Guild.start(name, gateways, plain_list=plain_list).pid for name in message["names"]]

    def _sessions(self, message: dict[str, Any]) -> list[manifold.PID]:
        return [Session.start(message["guild"], self._ledger).pid for _ in range(message["number"])]

    def _report(self, _message: dict[str, Any]) -> dict[str, Tally]:
        return self._ledger.sums()


async def open_gateways(node: manifold.Node) -> list[manifold.PID]:
    """Start the gateways of a node. An actor's PID says which worker process it gets: so start until each has one."""
    number = node.stats().workers if node.worker_kind == "process" else 1
    gateways: dict[int, manifold.PID] = {}
    while len(gateways) < number:
        pid = node.spawn(Gateway)
        gateways.setdefault(await manifold.ask(pid, {"t": PROCESS}, timeout=ANSWER_S), pid)
    return list(gateways.values())


async def meet(node: manifold.Node, nodes: int) -> None:
    """Wait until so many nodes are connected, this one included."""
    async with aclosing(node.events()) as events:  # type: ignore[type-var]
        while len(node.nodes()) < nodes:
            await anext(events)


async def setup(node: manifold.Node) -> None:
    """Set a child's node up: when it has met all others, print its gateways' PIDs.

    When stdin is closed it prints what the node has counted, and stops.
    """
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), partial(_stop_if_closed, node))
    await meet(node, int(os.environ[NODES]))
    print(*await open_gateways(node), flush=True)


def _stop_if_closed(node: manifold.Node) -> None:
    # The parent holds the other end and never writes: so this ends with it, in whichever way it ends.
    if not os.read(sys.stdin.fileno(), 1):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # else it stops already: the terminal sent it a ^C
            with suppress(BrokenPipeError):  # it was killed
                print(json.dumps(dict(node.stats())), flush=True)
            signal.raise_signal(signal.SIGTERM)
