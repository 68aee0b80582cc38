"""Actors: the only floor that knows Pykka."""

from manifold.actors.actor import UNPLACED, Actor
from manifold.actors.control import CONTROL, PROXY, Begin, Notice, Stop, Unwatch, Watch
from manifold.actors.future import AskTimeout, Future
from manifold.actors.monitor import Down, MonitorRef
from manifold.actors.ref import ActorRef

__all__ = [
    "CONTROL",
    "PROXY",
    "UNPLACED",
    "Actor",
    "ActorRef",
    "AskTimeout",
    "Begin",
    "Down",
    "Future",
    "MonitorRef",
    "Notice",
    "Stop",
    "Unwatch",
    "Watch",
]
