"""What a line of an IRC log says. Its beginning decides; a line that fits none of the forms is no event."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JOIN", "LEAVE", "MESSAGE", "NICK", "BadLogError", "Event", "minute", "parse", "read_lines"]

MESSAGE, JOIN, LEAVE, NICK = "MESSAGE", "JOIN", "LEAVE", "NICK"

# Between < and > anything is the nick, and so is the rest of the line for a new nick: the logs have spaces in some
# ("[a] ann"). In front of a verb it is one word, or an action ("=== ann says: bob has joined #x") would be a join.
_FORMS = tuple(
    (kind, re.compile(form, re.ASCII | re.DOTALL))
    for kind, form in (
        (MESSAGE, r"\[\d\d:\d\d\] <([^>]+)> (.*)"),
        (JOIN, r"=== (\S+) has joined #\S+\s*"),
        (LEAVE, r"=== (\S+) has left #\S+(?:\s.*)?"),
        (LEAVE, r"=== (\S+) was kicked off #\S+ by\s.*"),
        (NICK, r"=== (\S+) is now known as (\S.*?)\s*"),
    )
)
_CLOCK = re.compile(r"\[(\d\d):(\d\d)\] ", re.ASCII)

# What chat texts contain on purpose: white space, bell, colours, bold, reverse, underline and the like.
_TEXT_CONTROLS = frozenset("\t\n\r\f\v\x01\x02\x03\x04\x07\x0f\x11\x12\x16\x1b\x1d\x1e\x1f")
_SAMPLE_BYTES = 65536
_UNREADABLE_MAX = 0.3


class BadLogError(ValueError):
    """The file is no log that could be replayed; the message says which file, and why."""


class Event(NamedTuple):
    """Something that happened in a guild. `text` is what was said, for NICK the new nick, else empty."""

    kind: str
    nick: str
    text: str = ""


def parse(line: str) -> Event | None:
    """Give the event that a line tells of, or None if it is to be ignored."""
    if not line.startswith(("[", "=== ")):
        return None
    for kind, form in _FORMS:
        match = form.fullmatch(line)
        if match:
            return Event(kind, *match.groups())
    return None


def minute(line: str) -> int | None:
    """Give the minute of the day that a line is stamped with, or None if it has no time."""
    match = _CLOCK.match(line)
    return int(match[1]) * 60 + int(match[2]) if match else None


def read_lines(path: Path) -> list[str]:
    """Read every line of a log, blank ones included, without its line end; BadLogError if it is no text."""
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise BadLogError(msg) from None
    if not data:
        msg = f"{path} is empty"
        raise BadLogError(msg)
    if not _is_text(data):
        msg = f"{path} is not a text file"
        raise BadLogError(msg)
    # Only line feeds end a line: `splitlines` would also split at characters that chat texts contain.
    lines = data.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n")
    return [_decode(line.removesuffix(b"\r")) for line in lines]


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    text = data[:_SAMPLE_BYTES].decode("utf-8", "surrogateescape")
    return sum(map(_is_odd, text)) <= _UNREADABLE_MAX * len(text)


def _is_odd(char: str) -> bool:
    return "\udc80" <= char <= "\udcff" or (char < " " and char not in _TEXT_CONTROLS)


def _decode(line: bytes) -> str:
    """Decode one line: old logs mix encodings from one speaker to the next."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
