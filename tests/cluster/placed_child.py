"""A node in a process of its own that is a home of placed actors: `placed_child.py name join node_down_after_s`.

Does what it reads, line by line: `leave`; at the end of the input it stops.
"""

from __future__ import annotations

import asyncio
import sys

import manifold
from tests.cluster import placed_keeper


async def main(name: str, join: str, node_down_after_s: str) -> None:
    limits = manifold.Limits(node_down_after_s=float(node_down_after_s))
    async with manifold.Node(
        name, workers=1, roles=("home",), listen="tcp://127.0.0.1:0", join=[join], limits=limits
    ) as node:
        print("ready", node.id, placed_keeper.Keeper.__name__, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            await node.leave()
            print("left", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
