"""A node in a process of its own, which may be killed at any moment: what came and what was sent is in a file by then.

`child.py label listen join members file node_down_after_s` is node b, and prints its id, its address, the PIDs of its
members, and that of one who sends. The file gets a line for each message that is handled, and for each that is about to
be sent, in one write that outlives the process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import manifold


class Logging(manifold.Actor):
    """Writes down what arrives."""

    mailbox_max = 1_000_000

    def __init__(self, file: int, number: int) -> None:
        self.file = file
        self.number = number

    def on_receive(self, message: tuple[Any, ...]) -> int:
        sender, sequence, *_ = message
        os.write(self.file, f"got {self.number} {sequence} {sender}\n".encode())
        return sequence


class Awaiting(Logging):
    """The same with an `async def` handler that sometimes awaits."""

    async def on_receive(self, message: tuple[Any, ...]) -> int:
        result = super().on_receive(message)
        if result % 8 == 0:
            await asyncio.sleep(0)
        return result


class Talking(manifold.Actor):
    """Sends to those it was told of, in every form, again and again."""

    def __init__(self, file: int, name: str) -> None:
        self.file = file
        self.name = name
        self.sequence = 0

    def on_receive(self, pids: list[manifold.PID]) -> None:
        audience = manifold.Audience(pids)
        for _ in range(5):
            self.sequence += 1
            os.write(self.file, f"sent {self.sequence}\n".encode())
            modes: Any = {"send_mode": "offload"} if self.sequence % 5 == 0 else {}
            manifold.send([pids, audience, iter(pids)][self.sequence % 3], (self.name, self.sequence), **modes)
        manifold.send_after(0.02, self.pid, pids)


def main(label: str, listen: str, join: str, members: str, path: str, node_down_after_s: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    limits = manifold.Limits(node_down_after_s=float(node_down_after_s))
    node = manifold.Node("b", workers=2, listen=listen, join=join.split(","), limits=limits)
    pids = [node.spawn(Awaiting if at % 4 == 1 else Logging, file, at) for at in range(int(members))]
    print(node.id, node.address, *pids, node.spawn(Talking, file, f"{label}/talking"), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
