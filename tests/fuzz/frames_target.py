"""Bytes are a packet or a FrameError; a packet says what is in its bytes, and nothing that is merely claimed."""

from __future__ import annotations

from manifold.core.codec import encode
from manifold.core.frames import (
    ACK,
    FIRST_SEQUENCED,
    FRAME_HEADER_BYTES,
    GOODBYE,
    HELLO,
    PING,
    RESET,
    Ack,
    FrameError,
    Hello,
    decode_packet,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
    reset_for,
)
from tests.fuzz.bounds import bounded
from tests.fuzz.script import Script

FRAME_MAX = 2_000
_KINDS = (HELLO, ACK, PING, RESET, GOODBYE, 0, 9, FIRST_SEQUENCED, 20, 255)
_TEXTS = ("a@1", "b@2", "", "tcp://127.0.0.1:4000", "\N{SNAKE}")


def run(data):
    script = Script(data)
    how = script.below(3)
    packet = script.rest() if how == 0 else built(script)
    check(script.edit(packet) if how == 2 else packet)


def check(data):
    try:
        with bounded(len(data)):
            packet = decode_packet(data, FRAME_MAX)
    except FrameError:
        return
    assert all(frame.kind >= FIRST_SEQUENCED and len(frame.body) <= FRAME_MAX for frame in packet.frames)
    assert packet.frames_bytes == sum(FRAME_HEADER_BYTES + len(frame.body) for frame in packet.frames) <= len(data)
    again = decode_packet(rebuilt(packet), FRAME_MAX)
    for field in ("sender", "receiver", "first", "frames", "hello", "ack", "ping", "reset", "frames_bytes"):
        assert getattr(again, field) == getattr(packet, field), field
    answer = reset_for(packet)
    assert answer is None or decode_packet(answer, FRAME_MAX).reset


def rebuilt(packet):
    """Give the packet that says the same."""
    chunks = [encode_hello(packet.hello)] if packet.hello else []
    chunks += [encode_ack(packet.ack)] if packet.ack else []
    chunks += [encode_ping(packet.ping)] if packet.ping is not None else []
    chunks += [encode_frame_header(RESET, 0)] if packet.reset else []
    chunks += [encode_goodbye(packet.goodbye)] if packet.goodbye is not None else []
    chunks += [encode_frame_header(kind, len(body)) + bytes(body) for kind, body in packet.frames]
    return encode_packet(packet.sender, packet.receiver, packet.first, chunks)


def built(script):
    """Give a packet of the right form, with contents that need not be."""
    sender, receiver, first = script.number(), script.number(), script.number()
    chunks = [_frame(script) for _ in range(script.below(6))]
    if script.below(2):  # as it should be
        first = min(first, 1) if any(chunk[0] >= FIRST_SEQUENCED for chunk in chunks) else 0
    return encode_packet(sender, receiver, first, chunks)


def _frame(script):
    kind = script.pick(_KINDS)
    how = script.below(4)
    if how == 0:
        body = script.take(script.below(64))
        return encode_frame_header(kind, script.pick((len(body), len(body) + 1, 2**32 - 1, FRAME_MAX + 1))) + body
    if kind == HELLO:
        return _hello(script) if how == 1 else encode_hello(a_hello(script))
    if kind == ACK:
        return encode_ack(Ack(*(script.number() for _ in range(5)), bool(script.below(2))))
    if kind == PING:
        return encode_ping(script.number())
    if kind == GOODBYE:
        return encode_goodbye(script.pick(_TEXTS))
    body = b"" if kind == RESET else script.take(script.below(64))
    return encode_frame_header(kind, len(body)) + body


def a_hello(script):
    """Give one whose fields have the right types."""
    limits = {"frame_max_bytes": script.number(), "window_bytes": script.number()}
    members = tuple((script.pick(_TEXTS), script.pick(_TEXTS)) for _ in range(script.below(4)))
    return Hello(script.pick(_TEXTS), script.pick(_TEXTS), limits, members)


def _hello(script):
    """Give one of which a field is something else, or is not there."""
    hello = a_hello(script)
    fields = {"v": 1, "node": hello.node, "addr": hello.address, "limits": dict(hello.limits), "members": []}
    name = script.pick(tuple(fields))
    fields[name] = script.pick((None, 7, "ab", b"x", [], {}, [["a"]], [[1, 2]], {"frame_max_bytes": True}, ["ab"]))
    if script.below(4) == 0:
        del fields[name]
    body = encode(fields)
    return encode_frame_header(HELLO, len(body)) + body
