"""The address of an actor: its node and a number that no other actor of that node ever has."""

from __future__ import annotations

from typing import Any

__all__ = ["PID", "link"]

_put = object.__setattr__


class PID:
    """The address of one actor. Immutable, hashable, orderable, picklable, and cheap (88 bytes).

    `node` is the id of the node (its name and incarnation), `id` the actor's number on it: unsigned, 64 bits,
    never used twice, its low bits the actor's hash slot. PIDs order by node, then by id.
    """

    __slots__ = ("_actor", "id", "node")

    node: str
    id: int
    # The actor itself, in the PID that was minted with it and as long as it runs: spares a table look-up.
    _actor: Any

    def __init__(self, node: str, id: int) -> None:  # noqa: A002
        _put(self, "node", node)
        _put(self, "id", id)
        _put(self, "_actor", None)

    @classmethod
    def parse(cls, text: str) -> PID:
        """Give the PID that `str()` wrote as `text`; ValueError if it is no such text."""
        node, slash, number = text.rpartition("/")
        if not (
            slash and node and number.isascii() and number.isdigit() and len(number) <= 20 and int(number) < 1 << 64
        ):
            msg = f"not a PID: {text!r} (expected 'node/number', as str(pid) writes it)"
            raise ValueError(msg)
        return cls(node, int(number))

    def __setattr__(self, name: str, value: object) -> None:
        msg = f"a PID is immutable: cannot set {name!r}"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = f"a PID is immutable: cannot delete {name!r}"
        raise AttributeError(msg)

    def __eq__(self, other: object) -> bool:
        if type(other) is not PID:
            return NotImplemented
        return self.id == other.id and self.node == other.node

    def __hash__(self) -> int:
        return hash((self.id, self.node))

    def __lt__(self, other: PID) -> bool:
        if type(other) is not PID:
            return NotImplemented
        return (self.node, self.id) < (other.node, other.id)

    def __le__(self, other: PID) -> bool:
        if type(other) is not PID:
            return NotImplemented
        return (self.node, self.id) <= (other.node, other.id)

    def __gt__(self, other: PID) -> bool:
        if type(other) is not PID:
            return NotImplemented
        return (self.node, self.id) > (other.node, other.id)

    def __ge__(self, other: PID) -> bool:
        if type(other) is not PID:
            return NotImplemented
        return (self.node, self.id) >= (other.node, other.id)

    def __reduce__(self) -> tuple[type[PID], tuple[str, int]]:
        return PID, (self.node, self.id)

    def __copy__(self) -> PID:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PID:
        return self

    def __str__(self) -> str:
        return f"{self.node}/{self.id}"

    def __repr__(self) -> str:
        return f"PID({self.node!r}, {self.id})"


def link(pid: PID, actor: object | None) -> None:
    """Tie a freshly minted PID to its actor, or untie it (None) when the actor has ended."""
    _put(pid, "_actor", actor)
