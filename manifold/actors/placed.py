"""The reference to an actor by its key: wherever the actor lives, and whether it was started yet or not."""

from __future__ import annotations

import sys
from functools import reduce
from typing import TYPE_CHECKING, Any

from manifold.actors.actor import Actor
from manifold.core.codec import encode

if TYPE_CHECKING:
    from manifold.core.views import View

__all__ = ["Placed", "find_class"]


class Placed:
    """What `manifold.placed` gives: a recipient of `send` and `ask`. Immutable; equal to every other of the same class,
    key and role.
    """

    __slots__ = ("_found", "call", "cls", "key", "role", "who")

    def __init__(self, cls: type[Actor], key: str | bytes, args: tuple[Any, ...], role: str | None) -> None:
        _check_class(cls)
        if not isinstance(key, str | bytes):
            raise TypeError(f"a key is str or bytes, not {type(key).__name__}: {key!r:.50}")
        if not (role is None or isinstance(role, str)):
            raise TypeError(f"a role is a str, not {role!r:.50}")
        self.cls = cls
        self.key = key
        self.role = role
        self.who = encode([cls.__module__, cls.__qualname__, key, role])
        self.call = encode(args)
        self._found: tuple[View | None, str] = None, ""

    def owner(self, view: View) -> str | None:
        """Give the node where it belongs in a view; None if no node has the role."""
        known, owner = self._found
        if known is not view:
            found = view.owner(self.key, self.role)
            if found is None:
                return None
            owner = found
            self._found = view, owner
        return owner

    def __eq__(self, other: object) -> bool:
        return self.who == other.who if type(other) is Placed else NotImplemented

    def __hash__(self) -> int:
        return hash(self.who)

    def __repr__(self) -> str:
        role = "" if self.role is None else f", role={self.role!r}"
        return f"placed({self.cls.__qualname__}, {self.key!r}{role})"


def _check_class(cls: object) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Actor)):
        raise TypeError(f"placed takes a class of actors, a subclass of manifold.Actor, not {cls!r}")
    if find_class(cls.__module__, cls.__qualname__) is not cls:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} cannot be found by its name on other nodes: "
            "define the class at the top of a module that every node imports"
        )


def find_class(module: str, name: str) -> Any:
    """Give what has a name in a module that this process has imported; None if there is no such thing.

    Nothing is imported here: a name that came over the network may not have code run.
    """
    return reduce(lambda found, part: getattr(found, part, None), name.split("."), sys.modules.get(module))
