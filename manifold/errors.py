"""One error tree. Each class says who caused it, what state it left, and whether a retry makes sense.

ManifoldError
|-- NotSerializable      the caller: the message cannot be put on the wire; nothing was sent
|-- MessageTooLarge      the caller: the encoded message is over the limit; nothing was sent
|-- Overloaded           the load: a queue is full; the nodes that are not named got theirs
|-- WouldDeadlock        the caller: this blocking wait could never end; nothing was changed
|-- NodeStopped          the caller: the node is not running; nothing was sent
|-- NameTaken            the cluster: another actor holds the name; nothing was changed
|-- NotPlaced            the cluster: no node has the role that a key asks for; nothing was sent
|-- NodeDown             outside: the node of the recipient is not reachable
|-- RemoteError          the recipient: what its handler raised on another node
`-- CodecError           outside: bytes that came in are not a message

`manifold.AskTimeout` stands beside the future that raises it, in `actors.future`.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifold.core.pid import PID

__all__ = [
    "CodecError",
    "ManifoldError",
    "MessageTooLarge",
    "NameTaken",
    "NodeDown",
    "NodeStopped",
    "NotPlaced",
    "NotSerializable",
    "Overloaded",
    "RemoteError",
    "WouldDeadlock",
]


class ManifoldError(Exception):
    """The base of every error that manifold raises of its own. It can be copied, and pickled, with all it says."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the text, where it takes what the text is made of.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class NotSerializable(ManifoldError, TypeError):
    """The message holds a value that cannot travel; nothing was handed to anybody.

    `path` is where in the message the value stands, written as Python would index it: `['d'][3]`.
    The same message will fail again; change the value, or register its type with
    `manifold.register_type`.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        where = f"message{path}"
        super().__init__(f"{where}: {reason}")
        self.path = path


class MessageTooLarge(ManifoldError, ValueError):
    """The encoded message is larger than `Limits.message_max_bytes`; nothing was handed to anybody."""

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"the message takes {size_bytes} bytes encoded; Limits.message_max_bytes is {max_bytes}. "
            "Send less, send it in pieces, or raise the limit."
        )
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class Overloaded(ManifoldError):
    """A queue is full: what was for the nodes in `nodes` was shed and counted; all others got theirs.

    A retry to the named nodes makes sense later: `await manifold.drain()` waits for room.
    """

    def __init__(self, nodes: Iterable[str], shed: int, what: str) -> None:
        self.nodes = tuple(nodes)
        self.shed = shed
        self.what = what
        super().__init__(
            f"{what} of node {', '.join(self.nodes)} is full: {shed} deliveries were shed (and counted). "
            "Send slower, `await manifold.drain()`, or raise the limit."
        )


class WouldDeadlock(ManifoldError, RuntimeError):
    """A blocking wait that could never end: what it waits for needs the very thread that would wait.

    Nothing was changed; the message that was asked stays sent. Use `await` in an `async def` handler instead.
    """


class NodeStopped(ManifoldError, RuntimeError):
    """The node is stopped; nothing was sent. Start a new one."""

    def __init__(self, node: str) -> None:
        super().__init__(f"node {node} is stopped; start another")
        self.node = node


class NameTaken(ManifoldError, ValueError):
    """Another actor holds the name: `holder`. Nothing was changed; once it ends, or is unregistered, a retry works."""

    def __init__(self, name: str, holder: PID) -> None:
        super().__init__(f"{name!r} is the name of {holder}")
        self.name = name
        self.holder = holder


class NotPlaced(ManifoldError, LookupError):
    """No node of the cluster has the role that a placed actor asks for (any more, or yet); nothing was sent."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} belongs nowhere: no node that takes part has this role")


class NodeDown(ManifoldError):
    """The node of the recipient is not connected, or no longer runs; what was for it counts as unreachable."""

    def __init__(self, node: str, reason: str = "not connected") -> None:
        super().__init__(f"node {node} is down: {reason}")
        self.node = node
        self.reason = reason


class RemoteError(ManifoldError):
    """What a handler on another node raised, when it was none of Python's own exceptions.

    `kind` is the name of its class, `traceback_text` the traceback as that node printed it. The message was handled;
    whether asking again makes sense is between the two actors.
    """

    def __init__(self, kind: str, text: str, traceback_text: str) -> None:
        super().__init__(f"{kind}: {text}\n\n{traceback_text}".rstrip())
        self.kind = kind
        self.traceback_text = traceback_text


class CodecError(ManifoldError, ValueError):
    """Bytes that came in are not an encoded message; they were dropped."""
