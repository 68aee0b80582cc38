"""An actor's life on its worker: how it starts, fails and ends, and what becomes of what was meant for it.

What Pykka does in each case is kept, with one difference: a BaseException ends this actor alone. Functions here
return None, or a coroutine where a hook is `async def`: the caller keeps the actor busy with it.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from manifold.actors import (
    CONTROL,
    ActorDeadError,
    HandOver,
    Notice,
    Overflow,
    Stop,
    TakeOver,
    Unwatch,
    Watch,
    registry,
)
from manifold.core.codec import decode, encode
from manifold.errors import MessageTooLarge, Overloaded
from manifold.ports import DEAD, DELIVERED, SHED

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from manifold.actors import Actor
    from manifold.actors.mailbox import Item
    from manifold.delivery.batch import Batch
    from manifold.delivery.worker import Worker
    from manifold.ports import Settles

    Rest = Coroutine[Any, Any, Any] | None

__all__ = ["begin", "bury", "control", "dead_batch", "dead_letter", "dead_letters", "failed", "miscarry", "shed"]

logger = logging.getLogger("pykka")

GONE = "no such actor"


def control(worker: Worker, actor: Actor, message: Any, reply: Any) -> Rest:
    """Do what a control message asks of a running actor."""
    kind = type(message)
    if kind is Stop:
        return _stop(worker, actor, "stopped", reply)
    if kind is Overflow:
        return _stop(worker, actor, "mailbox full", None)
    if kind is Watch:
        if actor._mf_watchers is None:
            actor._mf_watchers = {}
        actor._mf_watchers[message.watcher] = None
    elif kind is Unwatch:
        (actor._mf_watchers or {}).pop(message.watcher, None)
    elif kind is Notice:
        return _notice(worker, actor, message)
    elif kind is HandOver:
        return _hand_over(worker, actor, reply)
    elif kind is TakeOver:
        return _guarded(worker, actor, actor.on_takeover, decode(message.state))
    return None


def failed(worker: Worker, actor: Actor, error: BaseException, reply: Any) -> Rest:
    """Deal with what a handler raised: it goes to the caller who asked, else it ends the actor."""
    exc_info = (type(error), error, error.__traceback__)
    if not isinstance(error, Exception):
        logger.debug("%r in %s. Stopping this actor.", error, actor)
        rest = _stop(worker, actor, f"failed: {error!r}", None)
        if reply is not None:
            reply.set_exception(exc_info)
        return rest
    if reply is not None:
        logger.info("Exception returned from %s to caller:", actor, exc_info=exc_info)
        reply.set_exception(exc_info)
        return None
    return _fail(worker, actor, error, lambda: actor.on_failure(*exc_info))


def dead_letter(worker: Worker, actor: Actor, message: Any, reply: Any, receipt: Settles | None) -> None:
    """Account for what came too late."""
    if type(message) in CONTROL:
        if type(message) is Watch:
            worker.node.tell_gone(actor.pid, message.watcher)
    else:
        worker.settle(receipt, DEAD, 1)
        if reply is not None:
            error = ActorDeadError(f"{actor.actor_ref} stopped before handling the message")
            reply.set_exception((type(error), error, None))
            return
    if reply is not None:
        reply.set(True)


def shed(worker: Worker, actor: Actor, reply: Any, receipt: Settles | None) -> None:
    """Account for what a full mailbox dropped."""
    worker.settle(receipt, SHED, 1)
    if reply is not None:
        error = Overloaded([worker.node.host.id], 1, f"the mailbox of {actor}")
        reply.set_exception((type(error), error, None))


def begin(worker: Worker, actor: Actor) -> Rest:
    """Run `on_start`. If it fails the actor ends, without `on_failure`, as in Pykka."""
    if actor._mf_takeover is not None:
        return _guarded(worker, actor, _start_over, actor)
    try:
        result: Any = actor.on_start()  # type: ignore[func-returns-value]
    except BaseException as error:  # noqa: BLE001
        return _fail(worker, actor, error, None)
    if type(result) is not CoroutineType:
        return None

    async def rest() -> None:
        try:
            await result
        except BaseException as error:  # noqa: BLE001
            _fail(worker, actor, error, None)

    return rest()


async def _guarded(worker: Worker, actor: Actor, hook: Callable[[Any], Any], argument: Any) -> None:
    """Run a hook, whose failure ends the actor."""
    try:
        result = hook(argument)
        if type(result) is CoroutineType:
            await result
    except BaseException as error:  # noqa: BLE001
        _fail(worker, actor, error, None)


async def _start_over(actor: Actor) -> None:
    """Begin with what another actor has handed over."""
    state, actor._mf_takeover = decode(actor._mf_takeover or b""), None
    for hook in (actor.on_start, partial(actor.on_takeover, state)):
        result = hook()
        if type(result) is CoroutineType:
            await result


async def _hand_over(worker: Worker, actor: Actor, reply: Any) -> None:
    """End an actor that goes on elsewhere; `reply` gets its encoded state, b"" if there is none to be had."""
    data = b""
    try:
        state = actor.on_handoff()
        data = _encoded(await state if type(state) is CoroutineType else state, worker.node.limits.message_max_bytes)
    except BaseException as error:  # noqa: BLE001
        _log(actor, error)
    if (rest := _stop(worker, actor, "handed over", None)) is not None:
        await rest
    reply.set(data)


def _encoded(state: Any, limit: int) -> bytes:
    data = encode(state)
    if len(data) > limit:
        raise MessageTooLarge(len(data), limit)
    return data


def _notice(worker: Worker, actor: Actor, notice: Notice) -> Rest:
    down = notice.down
    if not actor._mf_monitors or down.ref not in actor._mf_monitors:
        return None
    del actor._mf_monitors[down.ref]
    return worker.handle(actor, down, None)


def _stop(worker: Worker, actor: Actor, reason: str, reply: Any) -> Rest:
    _leave(worker, actor)
    logger.debug("Stopped %s", actor)
    return _hook(actor, actor.on_stop, lambda: _end(worker, actor, reason, reply))


def _fail(worker: Worker, actor: Actor, error: BaseException, hook: Callable[[], Any] | None) -> Rest:
    _log(actor, error)
    _leave(worker, actor)
    reason = f"failed: {error!r}"
    if hook is None:
        _end(worker, actor, reason, None)
        return None
    return _hook(actor, hook, lambda: _end(worker, actor, reason, None))


def _log(actor: Actor, error: BaseException) -> None:
    logger.error("Unhandled exception in %s:", actor, exc_info=(type(error), error, error.__traceback__))


def _leave(worker: Worker, actor: Actor) -> None:
    """From here on nobody finds the actor, and nothing is handed to it."""
    if actor._mf_home is None and not actor._mf_stands_in:
        worker.unsettled -= 1  # it was busy
    _remove(worker, actor)
    worker.version += 1


def _remove(worker: Worker, actor: Actor) -> None:
    actor._mf_dead = True
    actor._mf_home = None
    worker.node.remove(actor)
    registry.unregister(actor.actor_ref)


def _hook(actor: Actor, hook: Callable[[], Any], then: Callable[[], None]) -> Rest:
    """Run a hook, and `then` when it is through, whatever it raised."""
    try:
        result = hook()
    except BaseException as error:  # noqa: BLE001
        _log(actor, error)
    else:
        if type(result) is CoroutineType:
            return _await_hook(actor, result, then)
    then()
    return None


async def _await_hook(actor: Actor, result: Coroutine[Any, Any, Any], then: Callable[[], None]) -> None:
    try:
        await result
    except BaseException as error:  # noqa: BLE001
        _log(actor, error)
    then()


def bury(worker: Worker, actor: Actor) -> None:
    """Account for an actor that was given up: it is dead to everybody, whatever its handler still does."""
    _remove(worker, actor)
    _end(worker, actor, "node stopped", None)


def _end(worker: Worker, actor: Actor, reason: str, reply: Any) -> None:
    """Tell all who wanted to know, then account for what still waited."""
    for watcher in list(actor._mf_watchers or ()):
        watcher.on_end(actor.pid, reason)
    actor._mf_watchers = None
    for ref in actor._mf_monitors or ():
        worker.node.host.demonitor(ref.pid, ref)
    actor._mf_monitors = None
    if reply is not None:
        reply.set(True)
    dead_letters(worker, actor, _vacate(worker, actor))


def _vacate(worker: Worker, actor: Actor) -> Iterable[Item]:
    """Give what was still waiting for an actor that has ended, unless it waits elsewhere by now."""
    inbox, actor._mf_inbox = actor._mf_inbox or deque(), None
    if (move := worker.leaving.pop(id(actor), None)) is None:
        return inbox
    worker.node.settle(*move, inbox)
    worker.retire()
    return ()


def miscarry(worker: Worker, actor: Actor, items: Iterable[Item], reply: Any) -> None:
    """Account for an actor that was never started."""
    actor._mf_dead = True
    worker.node.remove(actor)
    _end(worker, actor, "never started", reply)
    dead_letters(worker, actor, items)


def dead_letters(worker: Worker, actor: Actor, items: Iterable[Item]) -> None:
    """Account for all that waited for an actor."""
    for item in items:
        dead_letter(worker, actor, *item)


def dead_batch(worker: Worker, batch: Batch) -> None:
    """Account for those of a batch who have got it, and those who have not."""
    worker.settle(batch.receipt, DELIVERED, batch.delivered)
    worker.settle(batch.receipt, DEAD, len(batch.waiting()))
