"""Actors that are not here yet, for they move between workers or were not started: what comes for them is held.

The worker that an actor leaves gives it up when it has done what was queued there; the one it comes to handles first
what it brings along, then what was held. Resizes may follow each other, so there may be several moves on the way.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from manifold.actors import CONTROL, Begin, Stop, mailbox
from manifold.delivery import life
from manifold.delivery.busy import occupy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifold.actors import Actor
    from manifold.delivery.worker import Worker
    from manifold.ports import Settles

__all__ = ["Visit", "arrive", "await_birth", "begin", "defer_unborn", "expect", "hold", "release"]


class Visit:
    """An actor that is on its way to a worker: what came for it meanwhile, and where it goes on to, if it does."""

    __slots__ = ("actor", "inbox", "to")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.inbox: mailbox.Inbox = deque()
        self.to: Worker | None = None


def hold(worker: Worker, inbox: mailbox.Inbox, actor: Actor, item: mailbox.Item) -> None:
    """Keep what comes for an actor that is not busy but not here yet: bounded as its worker's queue is."""
    if worker.node.holds_too_much(len(inbox)) and type(item[0]) not in CONTROL:
        life.shed(worker, actor, item[1], item[2])
    else:
        inbox.append(item)


# To another worker.


def expect(worker: Worker, actors: Sequence[Actor]) -> None:
    """Hold what comes for actors that are still on another worker."""
    for actor in actors:
        worker.visits.setdefault(id(actor), deque()).append(Visit(actor))
    worker.unsettled += len(actors)


def release(worker: Worker, moves: Sequence[tuple[Actor, Worker]]) -> None:
    """Let actors go to another worker: what was queued for them here is done by now, or goes with them."""
    worker.version += 1
    for actor, to in moves:
        visits = worker.visits.get(id(actor))
        if visits is not None and visits[-1].to is None:
            visits[-1].to = to
        elif id(actor) in worker.unborn:
            worker.unsettled -= 1
            worker.node.settle(actor, to, worker.unborn.pop(id(actor))[1], unborn=True)
        elif actor._mf_home is worker or actor._mf_dead or actor._mf_stands_in:
            actor._mf_home = None
            worker.node.settle(actor, to, deque())
        else:
            worker.leaving[id(actor)] = actor, to


def arrive(worker: Worker, actor: Actor, inbox: mailbox.Inbox, unborn: bool) -> None:
    """Take over an actor: first what it brought along, then what came meanwhile."""
    visits = worker.visits[id(actor)]
    visit = visits.popleft()
    if not visits:
        del worker.visits[id(actor)]
    worker.unsettled -= 1
    worker.version += 1  # it may have ended, or go on: no batch made before knows whether it is here
    inbox.extend(visit.inbox)
    if visit.to is not None:
        worker.node.settle(actor, visit.to, inbox, unborn=unborn)
    elif actor._mf_dead:  # it may have ended before a resize that nobody stayed here after
        life.dead_letters(worker, actor, inbox)
    elif unborn:
        await_birth(worker, actor, inbox)
    elif actor._mf_stands_in:
        for item in inbox:
            worker.forward(actor, *item)
    else:
        worker.come_home(actor, inbox)
    worker.retire()


# Not started yet.


def await_birth(worker: Worker, actor: Actor, inbox: mailbox.Inbox) -> None:
    """Hold what comes for an actor that was not started yet."""
    waiting = deque(item for item in inbox if type(item[0]) is not Begin)
    worker.unborn[id(actor)] = actor, waiting
    worker.unsettled += 1
    if len(waiting) < len(inbox):
        defer_unborn(worker, actor, Begin(), None, None)


def defer_unborn(worker: Worker, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> None:
    """Hold what came, unless it is the word that the actor begins, or never will."""
    if type(message) is Begin:
        worker.unsettled -= 1
        begin(worker, *worker.unborn.pop(id(actor)))
    elif type(message) is Stop and (actor._mf_abandoned or worker.node.closed):
        # Its constructor failed, or nobody will start it any more.
        worker.unsettled -= 1
        life.miscarry(worker, *worker.unborn.pop(id(actor)), reply)
    else:
        hold(worker, worker.unborn[id(actor)][1], actor, (message, reply, receipt))


def begin(worker: Worker, actor: Actor, inbox: mailbox.Inbox) -> None:
    """Start an actor: its `on_start`, then what came before it was started."""
    actor._mf_home = worker
    rest = life.begin(worker, actor)
    if actor._mf_dead:
        life.dead_letters(worker, actor, inbox)
    elif rest is not None:
        occupy(worker, actor, rest, None, inbox)
    else:
        worker.come_home(actor, inbox)
