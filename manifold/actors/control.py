"""What goes to an actor besides its messages, by the same way and so in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

if TYPE_CHECKING:
    from manifold.actors.monitor import Down
    from manifold.ports import Watcher

__all__ = ["CONTROL", "PROXY", "Begin", "HandOver", "Notice", "Overflow", "Stop", "TakeOver", "Unwatch", "Watch"]

Stop = _ActorStop
"""End, after all that was sent before."""


class Begin(NamedTuple):
    """Run `on_start`, then whatever came in before."""


class Overflow(NamedTuple):
    """End, because the mailbox was full and its policy is to stop."""


class Watch(NamedTuple):
    """Tell `watcher` when the actor has ended."""

    watcher: Watcher


class Unwatch(NamedTuple):
    """Tell `watcher` nothing after all."""

    watcher: Watcher


class Notice(NamedTuple):
    """Hand `down` to the actor's `on_receive`, if it still monitors."""

    down: Down


class HandOver(NamedTuple):
    """Give what `on_handoff` says to the one who asked, and end: the actor goes on on another node."""


class TakeOver(NamedTuple):
    """Run `on_takeover` with what another actor of the same key has handed over."""

    state: bytes


CONTROL = frozenset((Stop, Begin, Overflow, Watch, Unwatch, Notice, HandOver, TakeOver))
"""These are never shed, and not counted as messages."""

PROXY = frozenset((ProxyCall, ProxyGetAttr, ProxySetAttr))
"""Messages that Pykka's proxies send, which Pykka's own code handles."""
