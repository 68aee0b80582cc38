"""What clients may say, and what is refused: everything from outside is checked here, and nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOVED", "OP_MAX_BYTES", "Refused", "checked_name", "error", "position", "read_op"]

NAME_MAX = 32
TEXT_MAX = 2000
NONCE_MAX = 64
OP_MAX_BYTES = 16 * 1024
MOVED = 1012
"""The close code of a socket that is to be opened again, elsewhere: `Service Restart`."""


class Refused(ValueError):
    """Something a client said is not allowed; the text tells it why."""


def checked_name(name: object, whose: str) -> str:
    """Give a user's or a guild's name if it can be one. Raises Refused."""
    if isinstance(name, str) and 1 <= len(name) <= NAME_MAX and name.isprintable() and name == name.strip():
        return name
    raise Refused(f"{whose} must have a name of 1 to {NAME_MAX} printable characters, without spaces around it")


def position(epoch: str | None, seq: str | None) -> tuple[int, int] | None:
    """Give the epoch and the number of the last event a client has seen, if it says so. Raises Refused."""
    if not (epoch or seq):
        return None
    try:
        numbers = int(epoch or ""), int(seq or "")
    except ValueError:
        raise Refused("epoch and seq are whole numbers, and go together") from None
    if not all(0 <= number < 2**53 for number in numbers):
        raise Refused("epoch and seq are from 0 to 2**53")
    return numbers


def error(text: str) -> dict[str, Any]:
    """Give the message that tells a client what was refused."""
    return {"t": "ERROR", "text": text}


def read_op(text: str) -> dict[str, Any]:
    """Give what a client asks for, as a new dict of what is known to be right. Raises Refused."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("that is no JSON") from None
    op = given.get("op") if isinstance(given, dict) else None
    if not (isinstance(op, str) and op in _OPS):
        raise Refused(f"op must be one of {', '.join(_OPS)}")
    return {"op": op, **_OPS[op](given)}


def _message(given: dict[str, Any]) -> dict[str, Any]:
    text, nonce = given.get("text"), given.get("nonce")
    if not (isinstance(text, str) and 1 <= len(text) <= TEXT_MAX and text.strip() and _is_unicode(text)):
        raise Refused(f"a message has 1 to {TEXT_MAX} characters")
    if not (nonce is None or (isinstance(nonce, str) and len(nonce) <= NONCE_MAX and _is_unicode(nonce))):
        raise Refused(f"a nonce has at most {NONCE_MAX} characters")
    return {"text": text, "nonce": nonce}


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no UTF-8 can."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _status(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("status") not in ("online", "idle"):
        raise Refused("status must be online or idle")
    return {"status": given["status"]}


def _nick(given: dict[str, Any]) -> dict[str, Any]:
    return {"to": checked_name(given.get("to"), "a user")}


def _overview(given: dict[str, Any]) -> dict[str, Any]:
    return {"on": bool(given.get("on"))}


def _command(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("do") not in ("add", "stop", "kill"):
        raise Refused("do must be add, stop or kill")
    return {"do": given["do"], "node": checked_name(given.get("node"), "a node")}


_OPS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "message": _message,
    "typing": lambda _: {},
    "status": _status,
    "nick": _nick,
    "leave": lambda _: {},
    "overview": _overview,
    "command": _command,
}
