"""The reference to a manifold actor: a `pykka.ActorRef` that is a PID and a class, and makes the rest when asked."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from xxhash import xxh3_128_digest

from manifold import ports
from manifold.actors.control import Stop
from manifold.actors.future import Future

if TYPE_CHECKING:
    from manifold.core.pid import PID

__all__ = ["ActorRef", "Inbox", "Stopped", "urn_of"]

A = TypeVar("A", bound="pykka.Actor")


def urn_of(pid: PID) -> str:
    """Give the URN of an actor: a version 4 UUID made of its PID, so that it need not be kept anywhere."""
    return uuid.UUID(bytes=xxh3_128_digest(str(pid).encode()), version=4).urn


class ActorRef(pykka.ActorRef[A]):
    """Reference to a manifold actor, as Pykka documents it. Beyond Pykka: `pid`. References to one actor are equal.

    `tell` and `ask` go the same way as `manifold.send` and keep order with it. They raise `manifold.Overloaded`
    when the queue of the actor's worker is full.
    """

    pid: PID
    """The address of the actor; it may be sent to other nodes."""

    def __init__(self, pid: PID, actor_class: type[A]) -> None:
        self.pid = pid
        self.actor_class = actor_class

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        return urn_of(self.pid)

    @property
    def actor_inbox(self) -> Inbox:  # type: ignore[override]
        return Inbox(self.pid)

    @property
    def actor_stopped(self) -> Stopped:  # type: ignore[override]
        return Stopped(self.pid)

    def _actor_weakref(self) -> A | None:  # type: ignore[override]
        return self.pid._actor  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self.pid == other.pid

    def __hash__(self) -> int:
        return self.pid.id

    def is_alive(self) -> bool:
        if self.pid._actor is not None:
            return True
        if (host := _far_host(self.pid)) is None:
            return False
        alive: Future[bool] = Future()
        host.inquire("probe", self.pid, alive)
        return bool(alive.get())

    def proxy(self) -> Any:
        if _far_host(self.pid) is not None:
            msg = f"{self} lives in another process, and a proxy needs the actor itself: use ask() or tell()"
            raise TypeError(msg)
        return super().proxy()

    def tell(self, message: Any) -> None:
        pid = self.pid
        if (actor := pid._actor) is not None:
            _put(actor, message, None)
        elif (host := _far_host(pid)) is not None:
            host.sender.send(pid, message, None, None, False)
        else:
            raise _not_found(self)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        pid = self.pid
        future: Future[Any] = Future.asked(pid)
        if (actor := pid._actor) is not None:
            _put(actor, message, future)
        elif (host := _far_host(pid)) is not None:
            future = host.sender.ask(pid, message, None)
        else:
            error = _not_found(self)
            future.set_exception((type(error), error, None))
        return future.get(timeout=timeout) if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        # One future less, and no closure, than Pykka's: stopping 100,000 actors keeps as many of them open.
        future: Future[Any] = Future.asked(self.pid)
        if (actor := self.pid._actor) is not None:
            _put(actor, Stop(), future)
        elif (host := _far_host(self.pid)) is not None:
            host.inquire("stop", self.pid, future)
        else:
            future.set(False)
        return future.get(timeout=timeout) if block else future


def _far_host(pid: PID) -> ports.Host | None:
    """Give the node of an actor that lives in another process of it, if it does."""
    host = ports.find_host(pid)
    return None if host is None or host.places.of(pid) == host.id else host


def _put(actor: Any, message: Any, reply: Any) -> None:
    host = ports.hosts.get(actor.pid.node)
    if host is None:
        raise _not_found(actor.actor_ref)
    if type(message) is Stop:
        host.control(actor, message, reply)
    else:
        host.post(actor, message, reply)


def _not_found(ref: ActorRef[Any]) -> pykka.ActorDeadError:
    return pykka.ActorDeadError(f"{ref} not found")


class Inbox:
    """What `actor_inbox` is to code that uses it directly: puts go the way of every message."""

    def __init__(self, pid: PID) -> None:
        self._pid = pid

    def put(self, envelope: Any) -> None:
        if (actor := self._pid._actor) is None:
            msg = f"{self._pid} not found"
            raise pykka.ActorDeadError(msg)
        _put(actor, envelope.message, envelope.reply_to)

    def get(self) -> Any:
        msg = "the inbox of a manifold.Actor is read by its worker alone"
        raise NotImplementedError(msg)

    def empty(self) -> bool:
        """Tell whether nothing waits for a busy actor; what waits in the worker's queue is not seen."""
        actor = self._pid._actor
        return actor is None or not actor._mf_inbox


class Stopped(threading.Event):
    """The stopped flag of an actor, as a `threading.Event`. Made when asked for; many may be made of one actor."""

    def __init__(self, pid: PID) -> None:
        super().__init__()
        if pid._actor is None:
            self.set()
        else:
            ports.hosts[pid.node].monitor(pid, self)

    def on_end(self, pid: PID, reason: str) -> None:  # noqa: ARG002
        self.set()
