"""The inbox of a busy actor: bounded, and what falls out of it is handed back to be counted.

An idle actor has none: its messages are handled straight from the worker's batch.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from manifold.actors.control import CONTROL, Overflow

if TYPE_CHECKING:
    from manifold.actors.actor import Actor

__all__ = ["POLICIES", "Inbox", "Item", "put"]

POLICIES = ("drop_newest", "drop_oldest", "stop")

Item = tuple[Any, Any, Any]
"""A message, the future that waits for its answer or None, the receipt that counts it or None."""

Inbox = deque[Item]


def put(inbox: Inbox, item: Item, actor: Actor) -> list[Item]:
    """Queue an item by the actor's `mailbox_max` and `mailbox_full`; give back what was shed. Control is never shed."""
    if len(inbox) < actor.mailbox_max or type(item[0]) in CONTROL:
        inbox.append(item)
        return []
    if actor.mailbox_full == "drop_oldest" and (oldest := _oldest(inbox)) is not None:
        shed = inbox[oldest]
        del inbox[oldest]
        inbox.append(item)
        return [shed]
    if actor.mailbox_full == "stop":
        return _stop(inbox, item)
    return [item]


def _oldest(inbox: Inbox) -> int | None:
    return next((place for place, item in enumerate(inbox) if type(item[0]) not in CONTROL), None)


def _stop(inbox: Inbox, item: Item) -> list[Item]:
    shed = [kept for kept in inbox if type(kept[0]) not in CONTROL]
    control = [kept for kept in inbox if type(kept[0]) in CONTROL]
    inbox.clear()
    inbox.append((Overflow(), None, None))
    inbox.extend(control)
    return [*shed, item]
