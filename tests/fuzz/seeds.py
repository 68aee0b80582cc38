"""Inputs to begin with: what honest nodes send, and scripts of any choices."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from manifold.core import bodies
from manifold.core.codec import encode
from manifold.core.frames import (
    Ack,
    Hello,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
    encode_reset,
)
from manifold.core.pid import PID
from tests.fuzz.bodies_target import CLASSES
from tests.fuzz.codec_target import Boxed

_SCRIPTS = 30
_SCRIPT_MAX_BYTES = 300

_MESSAGES = (
    {"t": "PRESENCE_UPDATE", "d": {"roles": ["41771983423143936"], "nick": None, "from": PID("a@1f3c", 123456789)}},
    [1, -1, 2**63, 1.5, True, b"\xff\x00", "text", ("a", ("b",)), {"set"}, frozenset({(1, 2)}), {1: {b"k": []}}],
    datetime(2024, 2, 29, 12, 30, 1, 5, UTC),
    [Boxed([Boxed(1)])],
)
_LIMITS = {"frame_max_bytes": 1_000, "window_bytes": 4_000}
_HELLO = encode_hello(Hello("a@1", "tcp://127.0.0.1:4000", _LIMITS, (("b@2", "ipc:///b"),)))
_FRAME = encode_frame_header(16, 3) + b"abc"
_PACKETS = (
    encode_packet(5, 0, 0, [_HELLO]),
    encode_packet(5, 6, 1, [_HELLO, encode_ack(Ack(1, 4_000, 1, 2, 3)), _FRAME, _FRAME]),
    encode_packet(5, 6, 0, [encode_ping(7), encode_ack(Ack(7, resend=True)), encode_goodbye("why")]),
    encode_reset(5, 6),
)
_BODIES = (
    bodies.Send(3, [1, 2], encode("m")),
    bodies.AudienceSend(1, 2, 3, encode("m")),
    bodies.AudienceChange(1, 1, [1, 2]),
    bodies.Ask(1, 1, 2, encode("m")),
    bodies.Answer(1, True, encode(["ValueError", ["x"], "x", "traceback"])),
    bodies.Watch(1, 2),
    bodies.Down(1, "stopped"),
    bodies.Outcome(1, 2, 3, 4),
    bodies.Members([("a@1", "tcp://127.0.0.1:4000")]),
)


def seeds(name):
    """Give those of one target. `ready` must hold."""
    if name == "codec":
        return [encode(message) for message in _MESSAGES]
    if name == "frames":
        return [b"\0" + packet for packet in _PACKETS] + _scripts(name)
    if name == "bodies":
        return [bytes([CLASSES.index(type(value))]) + b"".join(value.pack()) for value in _BODIES]
    return _scripts(name)


def _scripts(name):
    random = Random(name)
    return [random.randbytes(random.randrange(1, _SCRIPT_MAX_BYTES)) for _ in range(_SCRIPTS)]
