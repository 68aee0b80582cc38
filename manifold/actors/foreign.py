"""Ordinary Pykka actors (`pykka.ThreadingActor`) under a PID: what is sent to it is put into their own inbox."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope

from manifold.actors import registry
from manifold.actors.actor import Actor
from manifold.actors.control import Stop
from manifold.actors.ref import ActorRef

if TYPE_CHECKING:
    from manifold.core.pid import PID
    from manifold.ports import Host

__all__ = ["StandIn", "pid_of"]

_lock = threading.Lock()
_pids: weakref.WeakKeyDictionary[pykka.ActorRef[Any], dict[str, PID]] = weakref.WeakKeyDictionary()


class StandIn(Actor):
    """What lives on a worker for an ordinary Pykka actor, and passes on to it what comes, in order."""

    _mf_stands_in = True

    def __init__(self, ref: pykka.ActorRef[Any]) -> None:
        super().__init__()
        self._foreign = ref

    def forward(self, message: Any, reply: Any) -> bool:
        """Put a message into the actor's own inbox; False when it has stopped."""
        if not self._foreign.is_alive():
            return False
        self._foreign.actor_inbox.put(Envelope(message, reply_to=reply))
        return True


def pid_of(ref: pykka.ActorRef[Any], host: Host) -> PID:
    """Give the PID of a running actor, of whichever kind; a stand-in for an ordinary one is made on `host`.

    Raises TypeError if `ref` is no reference, ActorDeadError if its actor has stopped.
    """
    if isinstance(ref, ActorRef):
        return ref.pid
    if not isinstance(ref, pykka.ActorRef):
        msg = f"not an actor reference: {ref!r}"
        raise TypeError(msg)
    if not ref.is_alive():
        raise _not_found(ref)
    with _lock:
        pids = _pids.setdefault(ref, {})
        if host.id not in pids:
            pids[host.id] = _stand_in(ref, host)
        return pids[host.id]


def _stand_in(ref: pykka.ActorRef[Any], host: Host) -> PID:
    actor = StandIn(ref)
    host.admit(actor)
    if not registry.when_unregistered(ref, lambda: _end_after(ref, actor, host)):
        host.control(actor, Stop())
        raise _not_found(ref)
    return actor.pid


def _end_after(ref: pykka.ActorRef[Any], actor: StandIn, host: Host) -> None:
    """Pykka unregisters an actor before its last hook: wait for its thread: its end comes last."""
    thread = threading.current_thread()
    loop = getattr(thread, "_target", None)
    if getattr(loop, "__self__", None) is not ref._actor_weakref():
        return  # unregistered by hand; it still runs

    def end() -> None:
        thread.join()
        host.control(actor, Stop())

    threading.Thread(target=end, name=f"{thread.name}-end", daemon=True).start()


def _not_found(ref: pykka.ActorRef[Any]) -> pykka.ActorDeadError:
    return pykka.ActorDeadError(f"{ref} not found")
