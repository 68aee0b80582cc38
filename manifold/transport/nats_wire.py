"""What nodes say to each other over NATS, below their packets: one message, one kind, one meaning.

All numbers are little-endian. A message is: version (1), kind (1), connection (8), number (8), body.

| kind | to | number | body |
|---|---|---|---|
| CALL | who is dialled | 0 | the caller's subject |
| GRANT | the caller | what it may have sent in all | |
| MORE, LAST | who is dialled | what was sent before it | a piece of a packet; its last piece |
| PING | who is dialled | what was sent | the caller's subject |
| RESET | the caller | 0 | |
| HANGUP | who is dialled | 0 | |
| ANNOUNCE | all | 0 | the subject of who announces itself |

What is sent is counted as `cost` counts it. A connection goes one way; its number is made up by the caller.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

__all__ = [
    "ANNOUNCE",
    "CALL",
    "GRANT",
    "HANGUP",
    "HEADER_BYTES",
    "LAST",
    "MORE",
    "PIECE_COST_MAX",
    "PIECE_MAX_BYTES",
    "PING",
    "RESET",
    "Message",
    "cost",
    "decode",
    "encode",
]

CALL, GRANT, MORE, LAST, PING, RESET, HANGUP, ANNOUNCE = range(1, 9)

_VERSION = 1
_HEADER = Struct("<BBQQ")
HEADER_BYTES = _HEADER.size

PIECE_MAX_BYTES = 68 << 10
"""A packet of a link, of 64 KiB and what goes with it, is one piece."""

_MESSAGE_COST_BYTES = 256


class Message(NamedTuple):
    """One message."""

    kind: int
    connection: int
    number: int = 0
    body: bytes | memoryview = b""


def cost(size: int) -> int:
    """Give what a piece of so many bytes counts: it takes more than these at the server, and at the receiver."""
    return size + _MESSAGE_COST_BYTES


PIECE_COST_MAX = cost(PIECE_MAX_BYTES)


def encode(message: Message) -> bytes:
    """Give the bytes."""
    kind, connection, number, body = message
    return b"".join((_HEADER.pack(_VERSION, kind, connection, number), body))


def decode(data: bytes) -> Message | None:
    """Give the message; None for bytes that are none, or of a version or a kind that is not known here."""
    if len(data) < HEADER_BYTES:
        return None
    version, kind, connection, number = _HEADER.unpack_from(data)
    if version != _VERSION or not CALL <= kind <= ANNOUNCE:
        return None
    return Message(kind, connection, number, data[HEADER_BYTES:])
