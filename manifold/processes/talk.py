"""What a node's main process and its workers say to each other besides what nodes say: kinds, channels, bodies."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from manifold.core.views import View
    from manifold.limits import Limits

__all__ = [
    "FIRST_NODE",
    "OTHERS",
    "OWN",
    "RELAYED",
    "Counts",
    "Room",
    "Setup",
    "Word",
    "absent_place",
    "worker_place",
]

OWN, RELAYED, OTHERS, FIRST_NODE = range(4)
"""Channels: what this node has counted as sent, to the worker; what other nodes have; from the worker to the other
actors of its node; and, from here on, one for each other node."""


class Word(IntEnum):
    """Kinds of frames that never leave a node; those below 64 are `core.bodies.Kind`."""

    SETUP = 64
    READY = 65
    FAILED = 66
    START = 67
    KNOW = 68
    STOP = 69
    PROBE = 70
    ROOM = 71
    COUNTS = 72
    LOG = 73
    NODE_UP = 74
    NODE_DOWN = 75
    CLOSE = 76
    EMPTY = 77
    EXIT = 78
    STOP_NODE = 79
    CONCEIVE = 80
    BEAR = 81
    HAND_OVER = 82
    TAKE_OVER = 83
    VIEW = 84


class Setup(NamedTuple):
    """All that a worker process has to know to begin."""

    node: str
    name: str
    worker: int
    workers: int
    era: int
    places: tuple[str, ...]
    limits: Limits
    parent: int
    main: dict[str, Any]
    begins_in_main: bool
    on_start: bytes
    levels: dict[str, int]
    address: str
    nodes: list[tuple[int, str, str]]
    view: View


class Room(NamedTuple):
    """What one side has read of the other's bytes, and how many of them it has not handled."""

    read_bytes: int = 0
    waiting_bytes: int = 0

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_ROOM.pack(*self)]

    @classmethod
    def unpack(cls, body: memoryview) -> Room:
        """Read a body."""
        return cls(*_ROOM.unpack(body))


class Counts(NamedTuple):
    """A worker's counts at one moment: of what its actors sent to each other, and of what its main process sent."""

    read_bytes: int = 0
    waiting_bytes: int = 0
    sent: int = 0
    delivered: int = 0
    dead: int = 0
    shed: int = 0
    unreachable: int = 0
    own_delivered: int = 0
    own_dead: int = 0
    own_shed: int = 0
    actors: int = 0

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_COUNTS.pack(*self)]

    @classmethod
    def unpack(cls, body: memoryview) -> Counts:
        """Read a body."""
        return cls(*_COUNTS.unpack(body))


_ROOM = Struct("<QQ")
_COUNTS = Struct("<11q")


def worker_place(node: str, index: int) -> str:
    """Give the place of the actors of one worker process."""
    return f"{node}/{index}"


def absent_place(node: str) -> str:
    """Give the place of a node's actors that are not in this worker process."""
    return f"{node}/"
