"""What the frames between two nodes say: their kinds, and how each body is laid out. Little endian, no I/O.

A body that carries a message begins with the length of a small map of metadata, which may hold anything (a trace
context, say) and of which unknown keys are ignored. Recipients travel as an array of their ids, 8 bytes each.
"""

from __future__ import annotations

import struct
import sys
from array import array
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.core.codec import decode, encode
from manifold.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "QUESTION_BYTES",
    "Answer",
    "Ask",
    "AudienceChange",
    "AudienceSend",
    "Down",
    "Keyed",
    "KeyedAsk",
    "KeyedSend",
    "Kind",
    "Members",
    "Outcome",
    "Question",
    "Send",
    "Watch",
    "ids_of",
    "pack_ids",
]


class Kind(IntEnum):
    """The kinds of sequenced frames. Those below 16 are the link's own."""

    SEND = 16
    AUDIENCE_CHANGE = 17
    AUDIENCE_SEND = 18
    AUDIENCE_LEFT = 19
    ASK = 20
    ANSWER = 21
    WATCH = 22
    UNWATCH = 23
    DOWN = 24
    OUTCOME = 25
    MEMBERS = 26
    DIRECTORY = 27
    KEYED_SEND = 28
    KEYED_ASK = 29


class Send(NamedTuple):
    """A message for a list of recipients; `receipt` is 0 or the number under which its outcome is awaited."""

    receipt: int
    ids: Sequence[int]
    message: bytes | memoryview

    @staticmethod
    def room(frame_max_bytes: int, message_bytes: int) -> int:
        """Give how many recipients fit in a frame beside a message; below 0 if that alone does not."""
        return (frame_max_bytes - _SEND.size - message_bytes) // 8

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_SEND.pack(0, self.receipt, len(self.ids)), pack_ids(self.ids), bytes(self.message)]

    @classmethod
    def unpack(cls, body: memoryview) -> Send:
        """Read a body; CodecError if it is none."""
        meta, receipt, number = _head(_SEND, body)
        start = _SEND.size + meta
        end = start + 8 * number
        message = _cut(body, end)
        return cls(receipt, ids_of(body[start:end]), message)


class AudienceSend(NamedTuple):
    """A message for the members of an audience, of whom its owner counts `members` on the receiving node."""

    audience: int
    receipt: int
    members: int
    message: bytes | memoryview

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_AUDIENCE_SEND.pack(0, self.audience, self.receipt, self.members), bytes(self.message)]

    @classmethod
    def unpack(cls, body: memoryview) -> AudienceSend:
        """Read a body; CodecError if it is none."""
        meta, audience, receipt, members = _head(_AUDIENCE_SEND, body)
        return cls(audience, receipt, members, _cut(body, _AUDIENCE_SEND.size + meta))


class AudienceChange(NamedTuple):
    """Members come into an audience; with `join` 0 they leave it, or all do and it is forgotten (no ids).

    The owner numbers its joins from 1 on. In AUDIENCE_LEFT: members have ended that came in with this join or before.
    """

    audience: int
    join: int
    ids: Sequence[int]

    @staticmethod
    def room(frame_max_bytes: int) -> int:
        """Give how many members fit in a frame."""
        return (frame_max_bytes - _CHANGE.size) // 8

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_CHANGE.pack(self.audience, self.join), pack_ids(self.ids)]

    @classmethod
    def unpack(cls, body: memoryview) -> AudienceChange:
        """Read a body; CodecError if it is none."""
        audience, join = _head(_CHANGE, body)
        return cls(audience, join, ids_of(body[_CHANGE.size :]))


class Ask(NamedTuple):
    """A question to one actor, to be answered under `question`; `receipt` is as in Send."""

    question: int
    receipt: int
    id: int
    message: bytes | memoryview

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_ASK.pack(0, self.question, self.receipt, self.id), bytes(self.message)]

    @classmethod
    def unpack(cls, body: memoryview) -> Ask:
        """Read a body; CodecError if it is none."""
        meta, question, receipt, number = _head(_ASK, body)
        return cls(question, receipt, number, _cut(body, _ASK.size + meta))


class Keyed(NamedTuple):
    """For whom a message is that goes by keys, and by which view its sender found that this node is the right one.

    Each recipient is a pair: who it is (class, key, role), and the arguments to begin it with; both encoded.
    """

    number: int
    maker: str
    refs: Sequence[tuple[bytes, bytes]]

    def pack(self) -> bytes:
        """Give it as it stands in a body."""
        return encode([self.number, self.maker, [list(ref) for ref in self.refs]])

    @classmethod
    def unpack(cls, data: memoryview) -> Keyed:
        """Read it; CodecError if it is none."""
        match decode(data):
            case [int(number), str(maker), list(refs)] if all(_is_ref(ref) for ref in refs):
                return cls(number, maker, [(who, call) for who, call in refs])
        raise CodecError("recipients by key that make no sense")


def _is_ref(ref: Any) -> bool:
    return type(ref) is list and list(map(type, ref)) == [bytes, bytes]


class KeyedSend(NamedTuple):
    """A message for actors by their keys; `receipt` is as in Send."""

    receipt: int
    keyed: Keyed
    message: bytes | memoryview

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        keyed = self.keyed.pack()
        return [_KEYED_SEND.pack(0, self.receipt, len(keyed)), keyed, bytes(self.message)]

    @classmethod
    def unpack(cls, body: memoryview) -> KeyedSend:
        """Read a body; CodecError if it is none."""
        meta, receipt, length = _head(_KEYED_SEND, body)
        start = _KEYED_SEND.size + meta
        return cls(receipt, Keyed.unpack(body[start : start + length]), _cut(body, start + length))


class KeyedAsk(NamedTuple):
    """A question to the one actor that has a key; as Ask."""

    question: int
    receipt: int
    keyed: Keyed
    message: bytes | memoryview

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        keyed = self.keyed.pack()
        return [_KEYED_ASK.pack(0, self.question, self.receipt, len(keyed)), keyed, bytes(self.message)]

    @classmethod
    def unpack(cls, body: memoryview) -> KeyedAsk:
        """Read a body; CodecError if it is none."""
        meta, question, receipt, length = _head(_KEYED_ASK, body)
        start = _KEYED_ASK.size + meta
        keyed = Keyed.unpack(body[start : start + length])
        if len(keyed.refs) != 1:
            raise CodecError("a question to any number of actors but one")
        return cls(question, receipt, keyed, _cut(body, start + length))


class Question(NamedTuple):
    """Something to be answered under `number`, about the actor `id`, or about what follows."""

    number: int
    id: int

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_QUESTION.pack(*self)]

    @classmethod
    def unpack(cls, body: memoryview) -> Question:
        """Read a body; CodecError if it is none."""
        return cls(*_head(_QUESTION, body))


class Answer(NamedTuple):
    """The answer to a question: a value, or what describes an exception."""

    question: int
    raised: bool
    value: bytes | memoryview

    @staticmethod
    def room(frame_max_bytes: int) -> int:
        """Give how large a value fits in a frame."""
        return frame_max_bytes - _ANSWER.size

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_ANSWER.pack(self.question, self.raised), bytes(self.value)]

    @classmethod
    def unpack(cls, body: memoryview) -> Answer:
        """Read a body; CodecError if it is none."""
        question, raised = _head(_ANSWER, body)
        return cls(question, bool(raised), body[_ANSWER.size :])


class Watch(NamedTuple):
    """Somebody wants to know (or, in UNWATCH, no longer) when the actor `id` has ended."""

    monitor: int
    id: int

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_WATCH.pack(*self)]

    @classmethod
    def unpack(cls, body: memoryview) -> Watch:
        """Read a body; CodecError if it is none."""
        return cls(*_head(_WATCH, body))


class Down(NamedTuple):
    """An actor that was watched has ended. What is over 1,000 bytes of the reason is left out: any frame holds that."""

    monitor: int
    reason: str

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_DOWN.pack(self.monitor), self.reason.encode(errors="replace")[:_REASON_MAX_BYTES]]

    @classmethod
    def unpack(cls, body: memoryview) -> Down:
        """Read a body; CodecError if it is none."""
        (monitor,) = _head(_DOWN, body)
        return cls(monitor, str(body[_DOWN.size :], "utf-8", "replace"))


class Outcome(NamedTuple):
    """What became of a send whose outcome is awaited."""

    receipt: int
    delivered: int
    dead: int
    shed: int
    unreachable: int = 0

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [_OUTCOME.pack(*self)]

    @classmethod
    def unpack(cls, body: memoryview) -> Outcome:
        """Read a body; CodecError if it is none."""
        return cls(*_head(_OUTCOME, body))


class Members(NamedTuple):
    """Nodes of the cluster that the sender is connected to: their ids and addresses."""

    nodes: Sequence[tuple[str, str]]

    def pack(self) -> list[bytes]:
        """Give the body, in parts."""
        return [encode([list(node) for node in self.nodes])]

    @classmethod
    def unpack(cls, body: memoryview) -> Members:
        """Read a body; CodecError if it is none."""
        nodes: Any = decode(body)
        if type(nodes) is list and all(type(node) is list and list(map(type, node)) == [str, str] for node in nodes):
            return cls([(node, address) for node, address in nodes])
        raise CodecError("members that are no list of node ids and addresses")


_REASON_MAX_BYTES = 1000
_SEND = Struct("<HQI")
_AUDIENCE_SEND = Struct("<HQQI")
_CHANGE = Struct("<QQ")
_ASK = Struct("<HQQQ")
_QUESTION = Struct("<QQ")
QUESTION_BYTES = _QUESTION.size
_KEYED_SEND = Struct("<HQI")
_KEYED_ASK = Struct("<HQQI")
_ANSWER = Struct("<Q?")
_WATCH = Struct("<QQ")
_DOWN = Struct("<Q")
_OUTCOME = Struct("<QIIII")


def pack_ids(ids: Sequence[int]) -> bytes:
    """Pack ids, 8 bytes each."""
    packed = array("Q", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def ids_of(data: memoryview) -> Sequence[int]:
    """Read packed ids; CodecError if they are cut short."""
    if len(data) % 8:
        msg = f"{len(data)} bytes are no whole number of ids"
        raise CodecError(msg)
    ids = array("Q")
    ids.frombytes(data)
    if sys.byteorder == "big":
        ids.byteswap()
    return ids


def _head(layout: Struct, body: memoryview) -> tuple[int, ...]:
    try:
        return layout.unpack_from(body)
    except struct.error:
        msg = f"a body of {len(body)} bytes is cut short: its head alone has {layout.size}"
        raise CodecError(msg) from None


def _cut(body: memoryview, start: int) -> memoryview:
    """Give what comes from `start` on."""
    if start > len(body):
        msg = f"a body of {len(body)} bytes is cut short: it claims {start}"
        raise CodecError(msg)
    return body[start:]
