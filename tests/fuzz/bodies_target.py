"""A body is a value of its kind or a CodecError; a value that is packed again reads back the same."""

from __future__ import annotations

from manifold.core import bodies
from manifold.errors import CodecError
from tests.fuzz.bounds import bounded
from tests.fuzz.script import Script

CLASSES = (
    bodies.Send,
    bodies.AudienceChange,
    bodies.AudienceSend,
    bodies.Ask,
    bodies.Answer,
    bodies.Watch,
    bodies.Down,
    bodies.Outcome,
    bodies.Members,
)


def run(data):
    script = Script(data)
    cls = script.pick(CLASSES)
    body = script.rest()
    try:
        with bounded(len(body)):
            value = cls.unpack(memoryview(body))
    except CodecError:
        return
    assert type(value) is cls
    assert plain(cls.unpack(memoryview(b"".join(value.pack())))) == plain(value)


def plain(value):
    """Give the fields as what can be compared."""
    return [field if isinstance(field, int | str) else list(field) for field in value]
