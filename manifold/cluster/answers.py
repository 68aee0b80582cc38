"""Answers between nodes: a value, or an exception in a form that says the same on the other side.

Only Python's own exceptions, and those of this library that tell what became of the question, are built again, from
plain arguments; any other becomes a `RemoteError`. Nothing that
comes in names a class to be loaded.
"""

from __future__ import annotations

import builtins
import traceback
from typing import TYPE_CHECKING, Any

from manifold.actors import ActorDeadError
from manifold.core.bodies import Answer
from manifold.core.codec import decode, encode
from manifold.core.pid import PID
from manifold.errors import MessageTooLarge, NameTaken, NodeDown, NotSerializable, Overloaded, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reply", "exception_of"]

_OWN = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__ == name
}
_DEAD = "pykka.ActorDeadError"
_DOWN = "manifold.NodeDown"
_FULL = "manifold.Overloaded"
_TAKEN = "manifold.NameTaken"


class Reply:
    """What an asked actor's worker answers to, in the place of the asker's future."""

    __slots__ = ("_max_bytes", "_put", "_question")

    def __init__(self, question: int, put: Callable[[Answer], object], max_bytes: int) -> None:
        self._question = question
        self._put = put
        self._max_bytes = max_bytes

    def set(self, value: Any = None) -> None:
        """Answer with a value; one that cannot travel becomes an error at the asker."""
        try:
            data = encode(value)
            if len(data) > self._max_bytes:
                raise MessageTooLarge(len(data), self._max_bytes)  # noqa: TRY301
        except (NotSerializable, MessageTooLarge) as error:
            self.set_exception((type(error), error, error.__traceback__))
        else:
            self._put(Answer(self._question, raised=False, value=data))

    def pass_on(self, answer: Answer) -> None:
        """Answer with what another process has answered, unread."""
        if len(answer.value) > self._max_bytes:
            error = MessageTooLarge(len(answer.value), self._max_bytes)
            self.set_exception((MessageTooLarge, error, error.__traceback__))
        else:
            self._put(answer._replace(question=self._question))

    def set_exception(self, exc_info: Any) -> None:
        """Answer with an exception."""
        # What was never raised, and so has no traceback, is no handler's: it says why none was called.
        ours = exc_info[2] is None
        self._put(Answer(self._question, raised=True, value=_described(exc_info[1], self._max_bytes, ours=ours)))


def _described(error: BaseException, max_bytes: int, *, ours: bool) -> bytes:
    said, text = _said(error), "".join(traceback.format_exception(error))
    kind = type(error)
    name = kind.__qualname__ if _OWN.get(kind.__name__) is kind else f"{kind.__module__}.{kind.__qualname__}"
    args: list[object] = list(error.args)
    if kind is ActorDeadError:
        name = _DEAD
    elif ours and isinstance(error, NodeDown):
        name, args = _DOWN, [error.node, error.reason]
    elif ours and isinstance(error, Overloaded):
        name, args = _FULL, [list(error.nodes), error.shed, error.what]
    elif ours and isinstance(error, NameTaken):
        name, args = _TAKEN, [error.name, error.holder]
    try:
        data = encode([name, args, said, text])
        if len(data) <= max_bytes:
            return data
    except NotSerializable:
        pass
    room = max_bytes // 16
    return encode([name[:room], None, _plain(said, room), _plain(text, room)])


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # the exception's own code
        return "its text could not be had"


def _plain(text: str, room: int) -> str:
    return text[-room:].encode(errors="replace").decode()


def exception_of(value: memoryview | bytes) -> Exception:
    """Build the exception that an answer describes; CodecError if it cannot be read."""
    match decode(value):
        case [str(name), list() | None as args, str(text), str(traceback_text)]:
            return _built(name, args, text, traceback_text)
    return RemoteError("unknown", "the answer describes no exception", "")


def _built(name: str, args: list[Any] | None, text: str, traceback_text: str) -> Exception:
    if name == _DEAD:
        return ActorDeadError(text)
    if name in (_DOWN, _FULL, _TAKEN):
        return _of_this_library(name, args, text, traceback_text)
    if (kind := _OWN.get(name)) is not None and args is not None:
        try:
            error: Exception = kind(*args)
            traceback.format_exception_only(error)  # some take anything, and fail when they are shown
        except Exception:  # noqa: BLE001  # arguments of another version of the class
            return RemoteError(name, text, traceback_text)
        error.add_note(f"Raised on another node:\n{traceback_text}")
        return error
    return RemoteError(name, text, traceback_text)


def _of_this_library(kind: str, args: list[Any] | None, text: str, traceback_text: str) -> Exception:
    match kind, args:
        case "manifold.NodeDown", [str(node), str(reason)]:
            return NodeDown(node, reason)
        case "manifold.Overloaded", [list(nodes), int(shed), str(what)]:
            return Overloaded(map(str, nodes), shed, what)
        case "manifold.NameTaken", [str(name), PID() as holder]:
            return NameTaken(name, holder)
    return RemoteError(kind, text, traceback_text)
