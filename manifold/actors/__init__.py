"""Actors: the only floor that knows Pykka."""

from pykka import ActorDeadError
from pykka import ActorRef as AnyRef

from manifold.actors.actor import UNPLACED, Actor
from manifold.actors.control import (
    CONTROL,
    PROXY,
    Begin,
    HandOver,
    Notice,
    Overflow,
    Stop,
    TakeOver,
    Unwatch,
    Watch,
)
from manifold.actors.future import AskTimeout, Future
from manifold.actors.monitor import Down, MonitorRef
from manifold.actors.placed import Placed
from manifold.actors.ref import ActorRef

__all__ = [
    "CONTROL",
    "PROXY",
    "UNPLACED",
    "Actor",
    "ActorDeadError",
    "ActorRef",
    "AnyRef",
    "AskTimeout",
    "Begin",
    "Down",
    "Future",
    "HandOver",
    "MonitorRef",
    "Notice",
    "Overflow",
    "Placed",
    "Stop",
    "TakeOver",
    "Unwatch",
    "Watch",
]
