"""What comes out of a packet is what went in, or a typed error says why; nothing that is claimed is believed."""

import struct
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifold.core.codec import encode
from manifold.core.frames import (
    ACK,
    FIRST_SEQUENCED,
    FRAME_HEADER_BYTES,
    GOODBYE,
    HELLO,
    HELLO_MAX_BYTES,
    PACKET_FRAMES_MAX,
    PACKET_HEADER_BYTES,
    PACKET_SLACK_BYTES,
    PING,
    RESET,
    VERSION,
    Ack,
    FrameError,
    FrameTooLarge,
    Garbage,
    Hello,
    UnknownKind,
    VersionMismatch,
    decode_packet,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
    encode_reset,
    reset_for,
)
from manifold.errors import ManifoldError

FRAME_MAX = 4096
LIMITS = {"frame_max_bytes": 1000, "window_bytes": 2000}
HELLO_A = Hello("a@1", "tcp://127.0.0.1:4000", LIMITS, (("b@2", "ipc:///b"), ("c@3", "")))

u64 = st.integers(0, 2**64 - 1)
sessions = st.integers(1, 2**64 - 1)
acks = st.builds(Ack, u64, u64, u64, u64, u64, st.booleans())
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
limits = st.fixed_dictionaries(
    {"frame_max_bytes": st.integers(6, 2**40), "window_bytes": st.integers(358, 2**40)},
    optional={"later": st.integers(0, 10)},
)
hellos = st.builds(Hello, names, names, limits, st.lists(st.tuples(names, names), max_size=5).map(tuple))
bodies = st.lists(st.tuples(st.integers(FIRST_SEQUENCED, 255), st.binary(max_size=100)), max_size=10)


def frame(kind, body=b""):
    return encode_frame_header(kind, len(body)) + body


def packet(*frames, sender=1, receiver=2, first=0):
    return encode_packet(sender, receiver, first, frames)


def read(data):
    return decode_packet(data, FRAME_MAX)


@given(sessions, u64, st.integers(1, 2**60), bodies, st.none() | acks, st.none() | u64, st.none() | hellos)
def test_comes_out_as_it_went_in(sender, receiver, first, frames, ack, ping, hello):
    chunks = [encode_hello(hello)] if hello else []
    chunks += [frame(kind, body) for kind, body in frames]
    chunks += [encode_ack(ack)] if ack else []
    chunks += [encode_ping(ping)] if ping is not None else []
    got = read(encode_packet(sender, receiver, first if frames else 0, chunks))
    assert (got.sender, got.receiver, got.first) == (sender, receiver, first if frames else 0)
    assert [(kind, bytes(body)) for kind, body in got.frames] == frames
    assert got.frames_bytes == sum(FRAME_HEADER_BYTES + len(body) for _, body in frames)
    assert (got.ack, got.ping, got.hello) == (ack, ping, hello)
    assert not got.reset and got.goodbye is None


def test_a_reset_is_said_in_the_name_of_the_session_that_is_over():
    got = read(encode_reset(over=6, peer=5))
    assert (got.sender, got.receiver, got.reset, got.goodbye) == (6, 5, True, None)


@pytest.mark.parametrize(("why", "told"), [("", ""), ("name taken: é", "name taken: é"), ("x" * 2000, "x" * 1024)])
def test_a_goodbye_says_why_in_a_kibibyte_at_most(why, told):
    got = read(packet(encode_goodbye(why)))
    assert (got.reset, got.goodbye) == (False, told)


def test_a_goodbye_of_no_text_is_read_all_the_same():
    assert read(packet(frame(GOODBYE, b"\xff\x00"))).goodbye == "\ufffd\x00"
    with pytest.raises(FrameTooLarge):
        read(packet(frame(GOODBYE, b"x" * 1025)))


def test_bodies_are_views_that_keep_the_packet():
    data = packet(frame(16, b"abc"), frame(200, b""), first=7)
    one, two = read(data).frames
    assert (one.body.obj, bytes(one.body), two.kind, len(two.body)) == (data, b"abc", 200, 0)
    assert one.body.readonly
    assert read(memoryview(data)).frames[0].body == b"abc"


def whole():
    chunks = (encode_hello(HELLO_A), frame(16, b"x" * 50), encode_ack(Ack(1, 2, 3, 4, 5, True)), frame(17, b"y"))
    return packet(*chunks, encode_ping(9), encode_goodbye(), first=5)


def test_every_cut_is_garbage_or_a_whole_frame_less():
    data = whole()
    ends = set()
    for size in range(len(data)):
        try:
            read(data[:size])
            ends.add(size)
        except Garbage:
            pass
    # Where a frame ends the rest is a packet, too, once the sequenced frames that it announces are in it.
    assert len(ends) == 4
    assert read(data)


@pytest.mark.parametrize("tail", [b"\0", b"\x10", b"\x10\0\0\0", b"\x10\1\0\0\0", b"MF\1\0"])
def test_trailing_bytes(tail):
    with pytest.raises(FrameError):
        read(whole() + tail)


@given(st.binary(max_size=300))
@example(b"")
@example(b"MF\1\0" + bytes(24))
def test_garbage_gives_only_frame_errors(data):
    with pytest.raises(FrameError) as caught:
        read(data)
    assert isinstance(caught.value, ManifoldError)


@given(st.data())
def test_damage_gives_only_frame_errors(data):
    damaged = bytearray(whole())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=5)):
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        got = read(bytes(damaged))
    except FrameError:
        return
    assert sum(len(body) for _, body in got.frames) < len(damaged)


@given(st.binary(max_size=200), st.sampled_from([HELLO, ACK, PING, RESET, GOODBYE]))
def test_garbage_in_a_frame_of_the_links_own(body, kind):
    try:
        read(packet(frame(kind, body)))
    except Garbage:
        return
    assert len(body) == {ACK: 41, PING: 8, RESET: 0, GOODBYE: len(body)}.get(kind)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Garbage),
        (b"XX" + whole()[2:], Garbage),
        (whole()[:3] + b"\1" + whole()[4:], Garbage),  # flags
        (packet(sender=0), Garbage),
        (packet(frame(16)), Garbage),  # sequenced, but no number
        (packet(first=1), Garbage),  # a number, but nothing sequenced
        (packet(frame(0)), UnknownKind),
        (packet(frame(6)), UnknownKind),
        (packet(frame(15, b"x" * 40)), UnknownKind),
        (packet(encode_ping(1), encode_ping(1)), Garbage),
        (packet(encode_ack(Ack()), encode_ack(Ack())), Garbage),
        (packet(frame(RESET), frame(RESET)), Garbage),
        (packet(encode_goodbye(), encode_goodbye()), Garbage),
        (packet(encode_hello(HELLO_A), encode_hello(HELLO_A)), Garbage),
        (packet(frame(PING, b"1234567")), Garbage),
        (packet(frame(RESET, b"1")), Garbage),
        (packet(frame(16, b"x" * FRAME_MAX), first=1), None),
        (packet(frame(16, b"x" * (FRAME_MAX + 1)), first=1), FrameTooLarge),
        (packet(frame(16)[:1] + b"\xff\xff\xff\xff", first=1), FrameTooLarge),
        (packet(frame(16)[:1] + b"\xff\0\0\0abc", first=1), Garbage),
        (packet(frame(HELLO)[:1] + b"\xff\xff\xff\x7f"), FrameTooLarge),
        (packet(frame(ACK)[:1] + b"\x29\0\0\0"), Garbage),
        (packet(*[frame(16)] * PACKET_FRAMES_MAX, first=1), None),
        (packet(*[frame(16)] * (PACKET_FRAMES_MAX + 1), first=1), Garbage),
        (packet(frame(16, b"x" * FRAME_MAX), bytes(PACKET_SLACK_BYTES), first=1), FrameTooLarge),
    ],
)
def test_rules(data, error):
    if error is None:
        assert read(data).frames
        return
    with pytest.raises(FrameError) as caught:
        read(data)
    assert type(caught.value) is error


def test_another_version_is_named_whatever_else_the_packet_holds():
    with pytest.raises(VersionMismatch, match=f"version 9 .* version {VERSION}") as caught:
        read(b"MF\x09" + b"\xff" * 50)
    assert (caught.value.theirs, caught.value.ours) == (9, VERSION)


def test_an_unknown_kind_is_named_with_both_versions():
    with pytest.raises(UnknownKind, match=r"kind 12; .* version 1, .* version 1") as caught:
        read(packet(frame(12)))
    assert (caught.value.kind, caught.value.theirs, caught.value.ours) == (12, VERSION, VERSION)


GOOD = {"v": 1, "node": "a", "addr": "", "limits": LIMITS, "members": []}


@pytest.mark.parametrize(
    "fields",
    [
        [],
        None,
        {},
        {**GOOD, "node": 1},
        {**GOOD, "addr": None},
        {**GOOD, "limits": {}},
        {**GOOD, "limits": {"frame_max_bytes": 0, "window_bytes": 1000}},
        {**GOOD, "limits": {"frame_max_bytes": 5, "window_bytes": 1000}},
        {**GOOD, "limits": {"frame_max_bytes": 10, "window_bytes": 357}},
        {**GOOD, "limits": {"frame_max_bytes": True, "window_bytes": 1000}},
        {**GOOD, "limits": {"frame_max_bytes": 10, "window_bytes": "1000"}},
        {**GOOD, "limits": 5},
        {**GOOD, "members": [["a"]]},
        {**GOOD, "members": [["a", 1]]},
        {**GOOD, "members": [["a", "b", "c"]]},
        {**GOOD, "members": {"a": "b"}},
        {**GOOD, "members": None},
    ],
)
def test_a_hello_that_makes_no_sense(fields):
    with pytest.raises(Garbage):
        read(packet(frame(HELLO, encode(fields))))


def test_a_hello_may_say_more():
    got = read(packet(frame(HELLO, encode({**GOOD, "later": [1, 2], 7: b"x"}))))
    assert got.hello == Hello("a", "", LIMITS, ())


def test_a_hello_too_large_is_refused_at_home():
    members = tuple((f"node-{n}", "tcp://10.0.0.1:4000") for n in range(HELLO_MAX_BYTES // 20))
    with pytest.raises(FrameTooLarge, match="hello"):
        encode_hello(Hello("a", "", LIMITS, members))


def bomb(body):
    return frame(HELLO, body)


@pytest.mark.parametrize(
    "data",
    [
        packet(struct.pack("<BI", 16, 0xFFFF_FFFF), first=1),
        packet(struct.pack("<BI", HELLO, HELLO_MAX_BYTES), b"x"),
        packet(bomb(b"\xdd\xff\xff\xff\xff")),
        packet(bomb(b"\xdc\xff\xff" * 1000)),
        packet(bomb(b"\xdf\xff\xff\xff\xff" * 1000)),
        packet(bomb(b"\xc6\xff\xff\xff\xff" + b"x" * 1000)),
        packet(*[struct.pack("<BI", 16, 0)] * 100_000, first=1),
    ],
)
def test_what_is_claimed_takes_no_memory(data):
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_a_large_frame_is_not_copied_to_be_read():
    data = packet(frame(16, bytes(10_000_000)), first=1)
    tracemalloc.start()
    try:
        got = decode_packet(data, 10_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(got.frames[0].body) == 10_000_000
    assert peak < 10_000


def test_reset_for_answers_only_those_who_believe_in_a_session():
    answer = reset_for(read(packet(frame(16), sender=5, receiver=6, first=1)))
    assert answer is not None
    got = read(answer)
    assert (got.sender, got.receiver, got.reset) == (6, 5, True)
    for data in (
        packet(encode_hello(HELLO_A), receiver=0),
        packet(frame(RESET)),
        packet(encode_goodbye()),
    ):
        assert reset_for(read(data)) is None


def test_sizes_are_as_documented():
    assert (PACKET_HEADER_BYTES, FRAME_HEADER_BYTES) == (28, 5)
    assert packet() == b"MF\1\0" + struct.pack("<QQQ", 1, 2, 0)
