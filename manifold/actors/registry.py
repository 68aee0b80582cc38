"""`pykka.ActorRegistry` as its users know it, with registering and unregistering at O(1).

Pykka keeps its references in a list, so that stopping n actors costs O(n**2). The list is replaced, once, by a
collection with the few list operations that the registry uses, over a dict.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Refs", "install", "register", "unregister", "when_unregistered"]

logger = logging.getLogger("pykka")

Ref = pykka.ActorRef[Any]


class Refs:
    """References in the order in which they were registered; membership and removal are O(1)."""

    def __init__(self, refs: Iterable[Ref] = ()) -> None:
        self._refs: dict[Ref, None] = dict.fromkeys(refs)
        self._callbacks: dict[Ref, list[Callable[[], None]]] = {}

    def append(self, ref: Ref) -> None:
        self._refs[ref] = None

    def remove(self, ref: Ref) -> None:
        del self._refs[ref]
        if self._callbacks:
            for callback in self._callbacks.pop(ref, ()):
                callback()

    def when_removed(self, ref: Ref, callback: Callable[[], None]) -> bool:
        if ref not in self._refs:
            return False
        self._callbacks.setdefault(ref, []).append(callback)
        return True

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[Ref]:
        return iter(list(self._refs))

    def __getitem__(self, index: Any) -> Any:
        return list(self._refs)[index]


def install() -> Refs:
    """Put the collection in the place of Pykka's list, with all that is registered; a second call changes nothing."""
    registry: Any = pykka.ActorRegistry
    with registry._actor_refs_lock:
        if not isinstance(registry._actor_refs, Refs):
            registry._actor_refs = Refs(registry._actor_refs)
        refs: Refs = registry._actor_refs
        return refs


_lock: Any = pykka.ActorRegistry._actor_refs_lock
_refs = install()


def register(ref: Ref) -> None:
    """Do what `ActorRegistry.register` does; the log line is only composed when somebody reads it."""
    with _lock:
        _refs.append(ref)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Registered %s", ref)


def unregister(ref: Ref) -> None:
    """Do what `ActorRegistry.unregister` does."""
    with _lock:
        if found := ref in _refs:
            _refs.remove(ref)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("Unregistered %s%s", ref, "" if found else " (not found in registry)")


def when_unregistered(ref: Ref, callback: Callable[[], None]) -> bool:
    """Call back when a reference leaves the registry. False, and no call, if it is not in it."""
    with _lock:
        return _refs.when_removed(ref, callback)
