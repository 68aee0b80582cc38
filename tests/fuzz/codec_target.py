"""Bytes that come in are a message or a CodecError; what is a message goes out again, and comes back the same."""

from __future__ import annotations

from datetime import datetime

from manifold.core import codec
from manifold.core.pid import PID
from manifold.errors import CodecError
from tests.fuzz.bounds import bounded

BOXED_CODE = 99
_CONTAINERS = (list, tuple, set, frozenset, dict)
_LEAVES = (type(None), bool, int, float, str, bytes, PID, datetime)


class Boxed:
    """A registered type that refuses some values, as a user's may."""

    def __init__(self, value):
        if value is None:
            raise LookupError("nothing in it")
        self.value = value


def register():
    """Let `Boxed` travel, in this process."""
    codec.register_type(Boxed, BOXED_CODE, lambda boxed: boxed.value, Boxed)


def run(data):
    try:
        with bounded(len(data)):
            message = codec.decode(data)
    except CodecError:
        return
    again = codec.encode(message)
    assert canon(codec.decode(again)) == canon(message)


def canon(message):
    """Give bytes that are equal for two messages exactly if all types, values and orders of keys are."""
    values = [message]
    for value in values:  # grows: what is inside a value stands behind it
        values += _inside(value)
    said = {}
    for value in reversed(values):
        inner = [said[id(item)] for item in _inside(value)]
        said[id(value)] = _said(value, sorted(inner) if type(value) in (set, frozenset) else inner)
    return said[id(message)]


def _inside(value):
    if type(value) is dict:
        return [*value, *value.values()]
    if type(value) is Boxed:
        return [value.value]
    return value if type(value) in _CONTAINERS else ()


def _said(value, inner):
    if not inner and type(value) not in _CONTAINERS:
        assert type(value) in _LEAVES, type(value)
        return codec.encode(value)
    return b"%s(%s)" % (type(value).__name__.encode(), b"".join(b"%d:%s" % (len(said), said) for said in inner))
