"""The inbox of a busy actor."""

from __future__ import annotations

import threading

import manifold
from tests.support import PATIENCE_S, Recorder


def test_an_actor_stopped_by_its_full_mailbox_says_so_in_its_down():
    downs: list[manifold.Down] = []
    down = threading.Event()

    class Busy(manifold.Actor):
        mailbox_max = 2
        mailbox_full = "stop"

        async def on_receive(self, message: object) -> None:
            if isinstance(message, threading.Event):
                message.set()
                await gate

    class Watching(Recorder):
        def on_receive(self, message: object) -> object:
            if isinstance(message, manifold.PID):
                return self.monitor(message)
            downs.append(message)
            down.set()
            return None

    with manifold.Node(workers=1) as node:
        gate: manifold.Future[None] = manifold.Future()
        busy = node.spawn(Busy)
        node.ask(node.spawn(Watching), busy).get()
        entered = threading.Event()
        node.send(busy, entered)
        assert entered.wait(PATIENCE_S)
        for number in range(4):
            node.send(busy, number)
        gate.set(None)
        assert down.wait(PATIENCE_S)
        assert downs[0].reason == "mailbox full"
