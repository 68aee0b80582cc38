"""Consistent hashing: which node a key belongs to, so that few keys move when nodes come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from xxhash import xxh3_64_intdigest

from manifold.core.circle import SPACE, Circle, moves

__all__ = ["POINTS_MAX", "Ring", "RingPlan"]

Key = str | bytes
Nodes = str | Iterable[str] | Mapping[str, float]
# A mapping's type of key is invariant: this takes those of str, of bytes and of both.
K = TypeVar("K", bound=Key)

POINTS_MAX = 1 << 20
"""How many points a node may have."""

_NOBODY = "the ring has no nodes, so that no key belongs anywhere"
_put = object.__setattr__


class Ring:
    """Nodes, and which of them each key belongs to: the same answer in every process and on every platform.

    `nodes` is a name, some names, or a mapping from name to weight: a node of weight 2 gets twice the keys of one of
    weight 1. `replicas` is how many points a node of weight 1 has: the loads of equal nodes differ by about
    1 / sqrt(replicas), 4.4 % at 512 (standard deviation). `overrides` pins keys to nodes; an override counts while
    its node is in the ring, else the key goes where its hash leads.

    A value: immutable, hashable, picklable, and equal to every ring of the same nodes, weights, replicas and
    overrides, whatever order they came in. A change gives a new ring. Adding a node moves keys to it, removing one
    moves its keys, and no others. Threads may share a ring. At 100 nodes and 512 replicas it takes 1 MB and some 40 ms
    to make, some 6 ms for a node more, and about half a microsecond to find a key's node.

    TypeError for what is no name, key or number. ValueError for a node that is in the ring already, or not in it, for
    fewer replicas than 1, and for a weight that is not above 0 or means more than `POINTS_MAX` points.

    The rule, for other languages. A key is bytes; a str stands for its UTF-8. A node has replicas x weight points (in
    double precision), rounded down, but at least one. Its point i, from 0 on, lies at the 64-bit XXH3 hash (seed 0)
    of its name in UTF-8, a zero byte, and i in decimal ASCII digits. A key belongs to the node of the first point not
    less than the key's own 64-bit XXH3 hash; if there is none, to that of the first point of all. Of nodes whose points
    coincide, the one whose name is least, by code points, counts.

    Source: Karger et al., "Consistent hashing and random trees" (STOC 1997), with many points to a node as in
    libketama (2007). Overrides and several nodes for a key are those of Discord's ex_hash_ring, but not its faults:
    there a node that stands twice, or has no points, lets a look-up hang.
    """

    __slots__ = ("_circle", "_pinned", "nodes", "overrides", "replicas")

    nodes: Mapping[str, float]
    """The weight of each node, ordered by name. Read-only."""
    replicas: int
    overrides: Mapping[bytes, str]
    """The node of each pinned key, whether it is in the ring or not. Read-only."""
    _circle: Circle
    # The overrides that count.
    _pinned: dict[bytes, str]

    def __init__(self, nodes: Nodes = (), *, replicas: int = 512, overrides: Mapping[K, str] | None = None) -> None:
        _check_replicas(replicas)
        weights = _weights(nodes)
        circle = Circle.of({node: _hashes(node, weight, replicas) for node, weight in weights.items()})
        self._fill(weights, replicas, _pins(overrides or {}), circle)

    def _fill(self, weights: Mapping[str, float], replicas: int, pins: Mapping[bytes, str], circle: Circle) -> None:
        _put(self, "nodes", MappingProxyType(dict(sorted(weights.items()))))
        _put(self, "replicas", replicas)
        _put(self, "overrides", MappingProxyType(dict(pins)))
        _put(self, "_circle", circle)
        _put(self, "_pinned", {key: node for key, node in pins.items() if node in weights})

    def _changed(self, weights: Mapping[str, float], pins: Mapping[bytes, str], circle: Circle) -> Ring:
        ring = object.__new__(Ring)
        ring._fill(weights, self.replicas, pins, circle)
        return ring

    def find(self, key: Key) -> str:
        """Give the node that `key` belongs to; LookupError if the ring has no nodes."""
        if not self.nodes:
            raise LookupError(_NOBODY)
        data = _bytes(key)
        node = self._pinned.get(data)
        return self._circle.owner(xxh3_64_intdigest(data)) if node is None else node

    def find_all(self, keys: Iterable[Key]) -> list[str]:
        """Give the node of each key, in their order: the same as `find`, in bulk."""
        keys = list(keys)
        if keys and not self.nodes:
            raise LookupError(_NOBODY)
        found = self._circle.owners(map(xxh3_64_intdigest, map(_bytes, keys)))
        if self._pinned:
            return [self._pinned.get(_bytes(key), node) for key, node in zip(keys, found, strict=True)]
        return found

    def find_many(self, key: Key, n: int) -> list[str]:
        """Give `n` different nodes for `key`, or all there are, if fewer; ValueError if `n` is negative.

        The first is that of `find`, and each is followed by the one the key would go to without those before it.
        """
        if n < 0:
            raise ValueError(f"how many nodes to find must be 0 or more, not {n}")
        data = _bytes(key)
        found = dict.fromkeys([self._pinned[data]] if data in self._pinned else [])
        enough = min(n, len(self.nodes))
        for node in self._circle.clockwise(xxh3_64_intdigest(data)):
            if len(found) >= enough:
                break
            found[node] = None
        return list(found)[:n]

    def add(self, node: str, weight: float = 1) -> Ring:
        """Give the ring with one more node; for another weight, remove the node first."""
        if node in self.nodes:
            raise ValueError(f"node {node!r} is in the ring already")
        circle = self._circle.added(node, _hashes(node, weight, self.replicas))
        return self._changed({**self.nodes, node: weight}, self.overrides, circle)

    def remove(self, node: str) -> Ring:
        """Give the ring without `node`. Overrides that name it stay, and count again if it comes back."""
        if node not in self.nodes:
            raise ValueError(f"node {node!r} is not in the ring")
        weights = {other: weight for other, weight in self.nodes.items() if other != node}
        return self._changed(weights, self.overrides, self._circle.removed(node))

    def with_overrides(self, overrides: Mapping[K, str]) -> Ring:
        """Give the ring with these overrides in place of its own; to pin one more: `{**ring.overrides, key: node}`."""
        return self._changed(self.nodes, _pins(overrides), self._circle)

    def plan(self, *, add: Nodes = (), remove: str | Iterable[str] = ()) -> RingPlan:
        """Give what would move if `remove` left the ring and then `add` joined it; both as `Ring` takes nodes."""
        after = self
        for node in [remove] if isinstance(remove, str) else remove:
            after = after.remove(node)
        for node, weight in _weights(add).items():
            after = after.add(node, weight)
        moved = moves(self._circle, after._circle)
        return RingPlan(after, moved.total() / SPACE, {pair: hashes / SPACE for pair, hashes in moved.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Ring is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Ring is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._value() == other._value() if type(other) is Ring else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value())

    def _value(self) -> tuple[object, ...]:
        return frozenset(self.nodes.items()), self.replicas, frozenset(self.overrides.items())

    def __reduce__(self) -> tuple[Any, ...]:
        remake = partial(Ring, replicas=self.replicas, overrides=dict(self.overrides))
        return remake, (dict(self.nodes),)

    def __copy__(self) -> Ring:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Ring:
        return self

    def __repr__(self) -> str:
        return f"Ring({dict(self.nodes)}, replicas={self.replicas}, overrides={dict(self.overrides)})"


@dataclass(frozen=True)
class RingPlan:
    """What a change of a ring's nodes moves, exactly: shares of all hashes, so of very many keys.

    Overrides do not show: they pin single keys, whatever the others do.
    """

    ring: Ring = field(repr=False)
    """The ring after the change."""
    share: float
    """Which share of the keys gets another node."""
    moves: dict[tuple[str | None, str | None], float]
    """That share by the node before and the node after; None stands for nobody, in a ring without nodes."""


def _bytes(key: Key) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"a key is str or bytes, not {type(key).__name__}: {key!r:.50}")


def _pins(overrides: Mapping[K, str]) -> dict[bytes, str]:
    for node in overrides.values():
        _check_name(node)
    return {_bytes(key): node for key, node in overrides.items()}


def _weights(nodes: Nodes) -> Mapping[str, float]:
    if isinstance(nodes, Mapping):
        return nodes
    weights: dict[str, float] = {}
    for node in [nodes] if isinstance(nodes, str) else nodes:
        if node in weights:
            raise ValueError(f"node {node!r} stands twice")
        weights[node] = 1
    return weights


def _hashes(node: str, weight: float, replicas: int) -> list[int]:
    """Give where the points of a node lie."""
    _check_name(node)
    start = node.encode() + b"\0"
    return [xxh3_64_intdigest(start + b"%d" % point) for point in range(_points(node, weight, replicas))]


def _points(node: str, weight: float, replicas: int) -> int:
    if not isinstance(weight, int | float):
        raise TypeError(f"the weight of node {node!r} is a number, not {type(weight).__name__}")
    if not 0 < weight <= POINTS_MAX / replicas:
        raise ValueError(
            f"the weight of node {node!r} must be above 0 and mean at most {POINTS_MAX} points: "
            f"it is {weight}, with {replicas} replicas"
        )
    return max(int(replicas * weight), 1)


def _check_name(node: object) -> None:
    if not isinstance(node, str):
        raise TypeError(f"the name of a node is a str, not {type(node).__name__}: {node!r:.50}")


def _check_replicas(replicas: int) -> None:
    if not isinstance(replicas, int):
        raise TypeError(f"replicas is an int, not {type(replicas).__name__}")
    if replicas < 1:
        raise ValueError(f"replicas must be 1 or more, not {replicas}")
