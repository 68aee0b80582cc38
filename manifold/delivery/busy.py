"""An actor is busy while its worker's loop awaits something for it: what comes meanwhile waits with the actor, bounded.

It works that off itself, in order, before it is idle again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from manifold.actors import CONTROL, mailbox
from manifold.delivery import life

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from manifold.actors import Actor
    from manifold.delivery.worker import Worker

    Rest = Coroutine[Any, Any, Any] | None

__all__ = ["keep", "occupy"]


def occupy(worker: Worker, actor: Actor, rest: Rest, reply: Any, inbox: mailbox.Inbox | None = None) -> None:
    """Let an actor be busy with a coroutine on its worker's loop, and then with what waits for it."""
    if not actor._mf_dead:
        actor._mf_home = None
        actor._mf_inbox = inbox
        worker.unsettled += 1
    worker.tasks.add(worker.loop.create_task(_work(worker, actor, rest, reply)))


async def _work(worker: Worker, actor: Actor, rest: Rest, reply: Any) -> None:
    try:
        until = worker.perf_counter() + worker.slice_s
        while True:
            if rest is not None:
                try:
                    result = await rest
                except BaseException as error:  # noqa: BLE001
                    if (rest := life.failed(worker, actor, error, reply)) is not None:
                        await rest
                else:
                    if reply is not None:
                        reply.set(result)
            if actor._mf_dead or not actor._mf_inbox or id(actor) in worker.leaving:
                break
            if worker.perf_counter() > until:
                await asyncio.sleep(0)
                until = worker.perf_counter() + worker.slice_s
            message, reply, receipt = actor._mf_inbox.popleft()
            rest = worker.turn(actor, message, reply, receipt)
            if type(message) in CONTROL:
                reply = None  # its own business
        _settle(worker, actor)
    finally:
        worker.tasks.discard(asyncio.current_task(worker.loop))
        worker.node.relieve()


def keep(worker: Worker, actor: Actor, item: mailbox.Item) -> None:
    """Have an item wait with a busy actor; what the mailbox sheds is accounted for."""
    if actor._mf_inbox is None:
        actor._mf_inbox = deque()
    for _, reply, receipt in mailbox.put(actor._mf_inbox, item, actor):
        life.shed(worker, actor, reply, receipt)


def _settle(worker: Worker, actor: Actor) -> None:
    """The actor is idle again and at home; or it moves on with what waits for it; or it has ended."""
    if actor._mf_dead:
        return
    inbox, actor._mf_inbox = actor._mf_inbox, None
    worker.unsettled -= 1
    if (move := worker.leaving.pop(id(actor), None)) is not None:
        worker.node.settle(*move, inbox or deque())
        worker.retire()
    else:
        actor._mf_home = worker
