"""What frames say survives packing and reading; anything else that comes in raises CodecError and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifold import CodecError
from manifold.core import bodies
from manifold.core.codec import encode

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
IDS = st.lists(U64, max_size=30)
MESSAGE = st.binary(max_size=60)
REFS = st.lists(st.tuples(MESSAGE, MESSAGE), max_size=5)
KEYED = st.builds(bodies.Keyed, U64, st.text(max_size=9), REFS)
ONE_KEYED = st.builds(bodies.Keyed, U64, st.text(max_size=9), REFS.map(lambda refs: (refs or [(b"who", b"call")])[:1]))
VALUES = st.one_of(
    st.builds(bodies.KeyedSend, U64, KEYED, MESSAGE),
    st.builds(bodies.KeyedAsk, U64, U64, ONE_KEYED, MESSAGE),
    st.builds(bodies.Question, U64, U64),
    st.builds(bodies.Send, U64, IDS, MESSAGE),
    st.builds(bodies.AudienceSend, U64, U64, U32, MESSAGE),
    st.builds(bodies.AudienceChange, U64, U64, IDS),
    st.builds(bodies.Ask, U64, U64, U64, MESSAGE),
    st.builds(bodies.Answer, U64, st.booleans(), MESSAGE),
    st.builds(bodies.Watch, U64, U64),
    st.builds(bodies.Down, U64, st.text(max_size=40)),
    st.builds(bodies.Outcome, U64, U32, U32, U32, U32),
    st.builds(bodies.Members, st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=5)),
)
CLASSES = [
    bodies.KeyedSend,
    bodies.KeyedAsk,
    bodies.Question,
    bodies.Send,
    bodies.AudienceSend,
    bodies.AudienceChange,
    bodies.Ask,
    bodies.Answer,
    bodies.Watch,
    bodies.Down,
    bodies.Outcome,
    bodies.Members,
]
SMALLEST = [
    bodies.Send(0, [], b""),
    bodies.AudienceSend(0, 0, 0, b""),
    bodies.AudienceChange(0, 0, []),
    bodies.Ask(0, 0, 0, b""),
    bodies.Answer(0, False, b""),
    bodies.Watch(0, 0),
    bodies.Down(0, ""),
    bodies.Outcome(0, 0, 0, 0),
]
WITH_MESSAGE = [
    bodies.Send(5, [1, 2, 2**64 - 1], b"hello"),
    bodies.AudienceSend(9, 5, 3, b"hello"),
    bodies.Ask(5, 6, 77, b"hello"),
]


def packed(value):
    return b"".join(value.pack())


def plain(value):
    """Give the fields as ordinary values, to be compared."""
    return [
        bytes(field)
        if isinstance(field, memoryview)
        else field
        if isinstance(field, (bytes, int, str))
        else list(field)
        for field in value
    ]


def read(cls, data):
    return cls.unpack(memoryview(data))


def name(value):
    return type(value).__name__


@given(VALUES)
@example(bodies.AudienceChange(3, 0, []))
@example(bodies.Down(3, "failed: ValueError('\u00e4\U0001f40d')"))
def test_what_is_packed_reads_back(value):
    assert plain(read(type(value), packed(value))) == plain(value)


@given(VALUES)
def test_a_yes_or_no_reads_back_as_a_bool(value):
    back = read(type(value), packed(value))
    assert [type(field) is bool for field in back] == [type(field) is bool for field in value]


@given(IDS)
def test_ids_travel_as_8_bytes_each_little_endian(ids):
    data = bodies.pack_ids(ids)
    assert data == b"".join(number.to_bytes(8, "little") for number in ids)
    assert list(bodies.ids_of(memoryview(data))) == ids


@pytest.mark.parametrize(
    "nodes", [None, 5, "ab", [1], [["a@1"]], [["a@1", 5]], [["a@1", "b", "c"]], [("a", "b")], {"a": "b"}]
)
def test_members_that_are_no_pairs_of_texts_are_refused(nodes):
    with pytest.raises(CodecError):
        read(bodies.Members, encode(nodes))


def test_a_reason_that_is_no_text_goes_through_all_the_same():
    down = bodies.Down(1, "failed: \ud800")
    assert read(bodies.Down, packed(down)).reason.startswith("failed: ")


def test_the_kinds_are_distinct_and_above_those_of_the_link():
    assert all(kind >= 16 for kind in bodies.Kind)
    assert len(bodies.Kind.__members__) == len(set(bodies.Kind))


@pytest.mark.parametrize("value", WITH_MESSAGE, ids=name)
def test_unknown_metadata_is_skipped(value):
    data = packed(value)
    head = len(packed(type(value)(*[[] if isinstance(field, list) else 0 for field in value[:-1]], b"")))
    meta = b"\x81\xa5trace\x01"
    with_meta = len(meta).to_bytes(2, "little") + data[2:head] + meta + data[head:]
    assert plain(read(type(value), with_meta)) == plain(value)


@pytest.mark.parametrize("value", WITH_MESSAGE, ids=name)
def test_metadata_that_would_end_behind_the_body_is_refused(value):
    data = packed(value)
    with pytest.raises(CodecError):
        read(type(value), (60_000).to_bytes(2, "little") + data[2:])


@pytest.mark.parametrize("value", SMALLEST, ids=name)
def test_a_head_cut_short_is_refused(value):
    data = packed(value)
    for length in range(len(data)):
        with pytest.raises(CodecError, match="cut short"):
            read(type(value), data[:length])


@pytest.mark.parametrize("lost", range(1, 24))
def test_recipients_cut_short_are_refused(lost):
    data = packed(bodies.Send(0, [1, 2, 3], b""))
    with pytest.raises(CodecError):
        read(bodies.Send, data[:-lost])


@pytest.mark.parametrize("lost", [lost for lost in range(1, 24) if lost % 8])
def test_members_cut_short_are_refused(lost):
    data = packed(bodies.AudienceChange(1, 1, [1, 2, 3]))
    with pytest.raises(CodecError):
        read(bodies.AudienceChange, data[:-lost])


def test_a_claim_of_more_recipients_than_there_are_bytes_is_refused():
    data = bytearray(packed(bodies.Send(0, [1], b"x" * 100)))
    data[10:14] = (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(CodecError):
        read(bodies.Send, data)


@given(st.sampled_from(CLASSES), st.binary(max_size=80))
def test_garbage_is_a_value_or_a_codec_error(cls, data):
    try:
        value = read(cls, data)
    except CodecError:
        return
    assert type(value) is cls


@given(VALUES, st.data())
def test_a_body_with_bytes_changed_or_lost_is_a_value_or_a_codec_error(value, data):
    body = bytearray(packed(value))
    if body:
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(body)))
    try:
        back = read(type(value), bytes(body[:length]))
    except CodecError:
        return
    assert type(back) is type(value)
