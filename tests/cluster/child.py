"""A node in a process of its own: `child.py name listen join node_down_after_s`. Says what happens, line by line.

Where `join` is a server of NATS, that is its transport, and `listen` says nothing.
"""

from __future__ import annotations

import asyncio
import sys

import manifold
from manifold.errors import NodeDown


class Echo(manifold.Actor):
    """Answers, and says what it was asked for: how many came, and whether they came as 0, 1, 2, .."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def on_receive(self, message: object) -> object:
        if message == "got":
            return self.got
        self.got.append(message)
        return message


class Silent(manifold.Actor):
    """Never answers."""

    async def on_receive(self, message: object) -> None:
        await manifold.Future()


async def main(name: str, listen: str, join: str, node_down_after_s: str) -> None:
    limits = manifold.Limits(node_down_after_s=float(node_down_after_s))
    places: dict[str, object] = {"listen": listen, "join": [join] if join else []}
    if join.startswith("nats:"):
        places = {"transport": join}
    async with manifold.Node(name, workers=1, limits=limits, **places) as node:  # type: ignore[arg-type]
        print("ready", node.id, node.address, node.spawn(Echo), node.spawn(Silent), flush=True)
        async for event in node.events():
            print("down" if isinstance(event, NodeDown) else "up", event.node, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
