"""The contract's "Messages on the wire": what comes out equals what went in, types included, or an error says why."""

import enum
import math
import random
import struct
import threading
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manifold.core import codec
from manifold.core.codec import MAX_DEPTH, decode, encode, register_type
from manifold.core.pid import PID, link
from manifold.errors import CodecError, NotSerializable
from tests.support import shown

settings.register_profile("codec", deadline=None, max_examples=120)
relaxed = settings.get_profile("codec")


def canon(value):  # noqa: PLR0911
    """A value equal for two messages exactly if they are of the same types, values and order of keys throughout."""
    kind = type(value)
    if kind is float:
        return kind, "nan" if math.isnan(value) else struct.pack(">d", value)
    if kind in (list, tuple):
        return kind, tuple(map(canon, value))
    if kind in (set, frozenset):
        return kind, frozenset(Counter(map(canon, value)).items())
    if kind is dict:
        return kind, tuple((canon(key), canon(item)) for key, item in value.items())
    if kind is datetime:
        return kind, value.replace(tzinfo=None), value.fold, value.utcoffset()
    if kind is PID:
        return kind, value.node, value.id
    assert kind in (type(None), bool, int, str, bytes), kind
    return kind, value


class Wobbly(tzinfo):
    """A zone whose offset depends on fold, as in the hour that comes twice in autumn."""

    def utcoffset(self, dt):
        return timedelta(hours=1, minutes=30) if dt.fold else timedelta(hours=2, minutes=30, seconds=7)

    def dst(self, dt):
        return None

    def tzname(self, dt):
        return "wobbly"


DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
pids = st.builds(PID, st.text(), st.integers(0, 2**64 - 1))
offsets = st.timedeltas(-DAY + TICK, DAY - TICK)
zones = st.one_of(st.just(UTC), offsets.map(timezone))
moments = st.datetimes(timezones=zones, allow_imaginary=True).flatmap(
    lambda at: st.sampled_from([at, at.replace(fold=1)])
)
ints = st.one_of(st.integers(-(2**63), 2**64 - 1), st.sampled_from([-(2**63), 2**63 - 1, 2**63, 2**64 - 1]))
scalars = st.one_of(st.none(), st.booleans(), ints, st.floats(), st.text(), st.binary(), pids, moments)
hashables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4), max_leaves=6
)
keys = st.one_of(st.text(max_size=8), ints, st.binary(max_size=8))


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=20),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=20),
        st.dictionaries(st.text(max_size=8), inner, max_size=5),
        st.sets(hashables, max_size=5),
    )


messages = st.recursive(hashables, containers, max_leaves=30)

PRESENCE = {
    "t": "PRESENCE_UPDATE",
    "s": 42,
    "d": {
        "user": {"id": "80351110224678912", "username": "nelly", "discriminator": "1337", "bot": False},
        "status": "online",
        "nick": None,
        "roles": ["41771983423143936", "41771983423143937"],
        "activities": [{"name": "Rocket League", "type": 0}],
        "from": PID("node-a@1f3c", 123456789),
    },
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(codec, "_registry", codec._registry)


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    def __hash__(self):
        return hash((self.x, self.y))


def register_point(code=7):
    register_type(Point, code, pack_point, unpack_point)


def pack_point(point):
    return point.x, point.y


def unpack_point(xy):
    return Point(*xy)


def nest(depth, wrap, core):
    for _ in range(depth):
        core = wrap(core)
    return core


def refusal(message):
    with pytest.raises(NotSerializable) as info:
        encode(message)
    return info.value


# What comes out equals what went in.


@settings(relaxed)
@given(messages)
@example(PRESENCE)
def test_a_message_arrives_equal_and_of_the_same_types(message):
    data = encode(message)
    assert type(data) is bytes
    assert canon(decode(data)) == canon(message)
    assert canon(decode(memoryview(b"<" + data + b">")[1:-1])) == canon(message)


@pytest.mark.parametrize(
    "message",
    [
        *(
            0,
            -0.0,
            0.0,
            math.inf,
            -math.inf,
            math.nan,
            5e-324,
            True,
            False,
            None,
            "",
            b"",
            (),
            [],
            {},
            set(),
            frozenset(),
        ),
        *(-(2**63), 2**63 - 1, 2**63, 2**64 - 1, -1, -32, -33, 127, 128),
        *({1}, {1.0}, {0}, {False}, {None}, {""}, {b""}, {()}),
        {1: "int", "1": "str", b"1": "bytes", -1: [], 2**64 - 1: (), -(2**63): {}},
        {"k": [{1: {b"x": ({"y"},)}}]},
        [[], [()], [[()]], ([],), ((),)],
        ["\0", "\U0001f600", "\ud7ff\ue000", b"\xd4\x66\x00", "\u0534", "Ç"],
        list(range(70_000)),
        tuple(range(70_000)),
        {str(n): n for n in range(70_000)},
        set(range(70_000)),
        "x" * 70_000,
        b"\xc1" * 70_000,
        (1, [2, (3, {4: (5,)})], {6, (7, frozenset({8}))}),
    ],
    ids=lambda message: repr(message)[:30],
)
def test_edges_round_trip(message):
    assert canon(decode(encode(message))) == canon(message)


@settings(relaxed)
@given(st.datetimes(timezones=zones), st.booleans())
def test_a_datetime_keeps_its_instant_offset_and_fold(at, fold):
    at = at.replace(fold=fold)
    came = decode(encode(at))
    assert came == at
    assert (came.utcoffset(), came.fold, came.microsecond) == (at.utcoffset(), at.fold, at.microsecond)


@pytest.mark.parametrize("fold", [0, 1])
def test_in_the_hour_that_comes_twice_the_offset_says_which_it_was(fold):
    at = datetime(2024, 10, 27, 2, 30, tzinfo=Wobbly(), fold=fold)
    came = decode(encode([at]))[0]
    assert came.utcoffset() == at.utcoffset()
    assert came - datetime(2024, 1, 1, tzinfo=UTC) == at - datetime(2024, 1, 1, tzinfo=UTC)
    assert type(came.tzinfo) is timezone


@pytest.mark.parametrize("at", [datetime.min, datetime.max])  # noqa: DTZ901
@pytest.mark.parametrize("offset", [TICK - DAY, DAY - TICK, timedelta(0), timedelta(hours=5, seconds=1)])
def test_a_datetime_at_the_end_of_time_does_not_overflow(at, offset):
    at = at.replace(tzinfo=timezone(offset))
    assert canon(decode(encode(at))) == canon(at)


def test_utc_arrives_as_utc():
    assert decode(encode(datetime(2024, 1, 1, tzinfo=UTC))).tzinfo is UTC


def test_a_pid_that_is_tied_to_its_actor_arrives_as_a_bare_one():
    pid = PID("here", 1)
    link(pid, object())
    came = decode(encode({"from": pid}))["from"]
    assert came == pid
    assert came._actor is None


def test_encode_leaves_the_message_alone_and_decode_shares_nothing():
    message = {"a": [1, (2, {3})]}
    buffer = bytearray(encode(message))
    came = decode(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert came == message == {"a": [1, (2, {3})]}
    assert decode(encode([1])) is not decode(encode([1]))


GOLDEN = [
    ({"t": "x", "s": -1, 7: None}, "83a174a178a173ff07c0"),
    ([True, False, 1.5, b"\0", 2**64 - 1], "95c3c2cb3ff8000000000000c40100cfffffffffffffffff"),
    ((), "91d46600"),
    (("a", (1,)), "93d46600a16192d4660001"),
    ({5}, "92d4670005"),
    (frozenset({"z"}), "92d46800a17a"),
    (PID("n@1", 0x0102), "c70b6400000000000001026e4031"),
    (
        datetime(2024, 2, 29, 23, 59, 58, 999_999, timezone(timedelta(hours=-1)), fold=1),
        "c7146507e8021d173b3a000f423f01ffffffff296c5c00",
    ),
    (datetime(1, 1, 1, tzinfo=timezone(TICK)), "c714650001010100000000000000000000000000000001"),
]


@pytest.mark.parametrize(("message", "wire"), GOLDEN, ids=[wire[:12] for _, wire in GOLDEN])
def test_the_wire_format_does_not_change(message, wire):
    assert encode(message).hex() == wire
    assert canon(decode(bytes.fromhex(wire))) == canon(message)


def test_a_registered_type_has_its_place_on_the_wire():
    register_point(99)
    assert encode(Point(1, "y")).hex() == "92d4630093d4660001a179"


def test_plain_messages_are_plain_msgpack():
    message = {"a": [1, -2, "b", None, 2.5, {"c": True}]}
    assert encode(message) == msgpack.packb(message)
    assert decode(msgpack.packb(message)) == message


def test_a_foreign_msgpack_timestamp_is_a_datetime_in_utc():
    data = msgpack.packb([msgpack.Timestamp(1, 5_000)])
    assert canon(decode(data)) == canon([datetime(1970, 1, 1, 0, 0, 1, 5, UTC)])


# What cannot travel is refused, and the error names the place.


class Color(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    A = "a"


Pair = namedtuple("Pair", "a b")  # noqa: PYI024
Text, Number, Real, Raw, Row, Bag, Frozen, Moment, Address = (
    type(f"My{base.__name__}", (base,), {}) for base in (str, int, float, bytes, list, set, frozenset, datetime, PID)
)
NAIVE = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
FOREIGN = [
    *(Color.RED, Name.A, Pair(1, 2), OrderedDict(a=1), defaultdict(list), Counter("a")),
    *(Text("a"), Number(1), Real(1), Raw(b"a"), Row([1]), Bag({1}), Frozen({1}), Address("n", 1)),
    Moment(2024, 1, 1, tzinfo=UTC),
    *(bytearray(b"x"), memoryview(b"x"), memoryview(b"abcd")[::2], bytearray(), memoryview(b"")),
    *(msgpack.ExtType(5, b""), msgpack.ExtType(102, b"\0"), msgpack.ExtType(100, b"12345678n")),
    *(msgpack.Timestamp(1), msgpack.Timestamp(2**40, 1)),
    *(object(), object, len, 1j, Decimal(1), date(2024, 1, 1), timedelta(1), UTC, range(3), ..., NotImplemented),
    *(iter([]), {}.keys(), Exception("x"), Point(1, 2), NAIVE),
    *(2**64, -(2**63) - 1, 10**5000, "\ud800", "a\udfffb", PID("\ud800", 1), PID("n", -1), PID("n", 2**64)),
]


@pytest.mark.parametrize("value", FOREIGN, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda value: value, ""),
        (lambda value: [0, value], "[1]"),
        (lambda value: {"d": ["a", {}, None, {b"key": value}]}, "['d'][3][b'key']"),
        (lambda value: {-3: (0.5, (value, value))}, "[-3][1][0]"),
        (lambda value: [{("x", 2)}, {"v": value}], "[1]['v']"),
    ],
    ids=["top", "list", "dict", "tuple", "after a set"],
)
def test_what_may_not_travel_is_refused_with_its_path(value, wrap, path):
    error = refusal(wrap(value))
    assert error.path == path
    assert str(error).startswith(f"message{path}: ")


@pytest.mark.parametrize("value", [value for value in FOREIGN if getattr(value, "__hash__", None)], ids=type)
@pytest.mark.parametrize("kind", [set, frozenset])
def test_in_a_set_the_path_says_that_it_is_one(value, kind):
    try:
        message = {"s": [kind([(1, value)])]}
    except TypeError:
        return
    assert refusal(message).path == "['s'][0]{...}[1]"


@pytest.mark.parametrize(
    "key",
    [
        *(None, True, False, 1.5, 1.0, math.nan, (), (1,), ("a", "b"), frozenset(), frozenset({1}), PID("n", 1)),
        *(datetime(2024, 1, 1, tzinfo=UTC), Color.RED, Name.A, Text("a"), Number(1), Raw(b"a"), Pair(1, 2)),
        *(msgpack.ExtType(5, b""), msgpack.Timestamp(1), memoryview(b"x"), Address("n", 1), object, Ellipsis),
        *(2**64, -(2**63) - 1, "\ud800"),
    ],
    ids=lambda key: f"{type(key).__name__}",
)
@pytest.mark.parametrize("others", [{}, {"other": 1, 5: 2}, {"x": None, b"b": True}])
def test_a_dict_key_that_is_not_plain_str_int_or_bytes_is_refused(key, others):
    for message, path in [
        ({**others, key: 1}, ""),
        ({"a": [{**others, key: "v"}]}, "['a'][0]"),
        ({"a": ({**others, key: None},)}, "['a'][0]"),
        ([{"x": {**others, key: {}}}, "tail"], "[0]['x']"),
    ]:
        error = refusal(message)
        assert error.path == path
        assert "dict key" in str(error)


def test_a_registered_type_is_no_dict_key_either():
    register_point()
    assert refusal({"a": {Point(1, 2): 1}}).path == "['a']"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({1.5: 0}, ["dict key 1.5", "float"]),
        ({"\ud800": 0}, ["dict key '\\ud800'", "surrogate"]),
        ({2**64: 0}, ["dict key 18446744073709551616", "2**64-1"]),
        ([OrderedDict()], ["OrderedDict", "subclass of dict", "register_type"]),
        ([object()], ["object", "register_type"]),
        ([bytearray()], ["bytearray", "send bytes"]),
        ([NAIVE], ["time zone", "tzinfo"]),
        ([2**64], ["2**64-1"]),
        (["\udc00"], ["surrogate"]),
    ],
    ids=shown,
)
def test_the_error_says_what_is_wrong_and_what_to_do(message, words):
    text = str(refusal(message))
    assert all(word in text for word in words), text


def test_a_message_that_looks_like_the_packed_form_is_just_a_message():
    for code in range(128):
        for data in (b"", b"\0"):
            message = [encode(()), (code, data), [code, data], b"\xd4" + bytes([code]) + data]
            assert canon(decode(encode(message))) == canon(message)


def test_errors_survive_a_value_whose_repr_raises():
    class Mute:
        def __repr__(self):
            raise RuntimeError

    assert refusal([Mute()]).path == "[0]"
    assert "Mute" in str(refusal({Mute(): 1}))


def test_a_zone_that_raises_is_the_senders_error():
    class Broken(Wobbly):
        def utcoffset(self, dt):
            raise ZeroDivisionError

    error = refusal({"at": datetime(2024, 1, 1, tzinfo=Broken())})
    assert error.path == "['at']"
    assert type(error.__cause__) is ZeroDivisionError


def test_a_long_key_does_not_flood_the_error():
    assert len(str(refusal({"k" * 10_000: {"x" * 10_000: object()}}))) < 400


WRAPS = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"k": inner},
    "int key": lambda inner: {1: inner},
    "point": lambda inner: Point(0, inner),
}


@pytest.mark.parametrize("core", [1, "x", [], {}, ()], ids=repr)
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_encode_takes_exactly_the_depth_that_decode_takes(wrap, core):
    register_point()
    own = 1 if type(core) in (list, dict, tuple) else 0
    step = 2 if isinstance(wrap(core), Point) else 1  # a point is packed as a tuple
    deepest = (MAX_DEPTH - own) // step
    came = decode(encode(nest(deepest, wrap, core)))
    for _ in range(deepest):
        came = came.y if type(came) is Point else next(iter(came.values() if type(came) is dict else came))
    assert canon(came) == canon(core)
    error = refusal(nest(deepest + 1, wrap, core))
    assert "containers inside each other" in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_far_too_deep_is_no_recursion_error(wrap):
    register_point()
    assert "inside each other" in str(refusal(nest(50_000, wrap, None)))


def test_wide_is_not_deep():
    message = [[{}, (), []]] * 5_000
    assert decode(encode(message)) == message


def test_a_container_that_contains_itself_is_refused():
    ring = []
    ring.append({"back": (ring,)})
    error = refusal({"a": [1, ring]})
    assert (error.path, "contains itself" in str(error)) == ("['a'][1][0]['back'][0]", True)
    register_point()
    point = Point(1, 2)
    point.y = [point]
    assert refusal([point]).path == "[0]<packed>[1][0]"
    # Twice the same is no circle.
    twin = [1]
    assert decode(encode([twin, twin, {"x": twin}])) == [[1], [1], {"x": [1]}]


# Registered types.


@settings(relaxed, max_examples=60)
@given(messages, messages)
def test_a_registered_type_may_pack_any_message(x, y):
    came = decode(encode_points([Point(x, y)]))[0]
    assert type(came) is Point
    assert canon([came.x, came.y]) == canon([x, y])


def encode_points(message):
    register_point()
    return encode(message)


def test_registered_objects_nest_in_everything_and_in_each_other():
    register_point()
    register_type(Decimal, 0, str, Decimal)
    register_type(Pair, 99, list, lambda items: Pair(*items))
    register_type(OrderedDict, 8, lambda it: list(it.items()), OrderedDict)
    register_type(Color, 9, int, Color)
    message = {
        1: [Point(Point(1, Decimal("1.50")), {Color.RED, frozenset({Pair(1, 2)})})],
        "o": OrderedDict([("b", (Decimal("NaN").is_nan(),)), ("a", Point(None, b""))]),
    }
    came = decode(encode(message))
    assert came == message
    assert type(came["o"]) is OrderedDict
    assert str(came[1][0].x.y) == "1.50"
    assert {type(item) for item in came[1][0].y} == {Color, frozenset}


def test_a_subclass_of_a_registered_type_is_not_registered():
    register_point()
    assert refusal([type("Sub", (Point,), {})(1, 2)]).path == "[0]"


@pytest.mark.parametrize(
    ("packed", "path"),
    [
        (bytearray(b"x"), "['p']<packed>"),
        ({"a": [memoryview(b"x")]}, "['p']<packed>['a'][0]"),
        ({"a": {None: 1}}, "['p']<packed>['a']"),
        ([msgpack.Timestamp(1)], "['p']<packed>[0]"),
        (object(), "['p']<packed>"),
        ([2**64], "['p']<packed>[0]"),
    ],
)
def test_what_pack_gives_is_checked_too(packed, path):
    register_type(Point, 1, lambda _: packed, lambda value: value)
    assert refusal({"p": Point(1, 2)}).path == path


def test_pack_that_gives_a_circle_does_not_hang():
    ring = []
    ring.append(ring)
    register_type(Point, 1, lambda _: ring, lambda value: value)
    assert "contains itself" in str(refusal(Point(1, 2)))


def test_pack_that_never_ends_is_too_deep():
    register_type(Point, 1, lambda point: Point(point.x + 1, 0), lambda value: value)
    assert "inside each other" in str(refusal(Point(1, 2)))


def test_what_pack_raises_is_not_serializable_with_its_cause():
    boom = LookupError("boom")

    def pack(_):
        raise boom

    register_type(Point, 1, pack, lambda value: value)
    error = refusal({"a": (Point(1, 2),)})
    assert (error.path, error.__cause__) == ("['a'][0]", boom)
    assert "boom" in str(error)


def test_what_unpack_raises_is_a_codec_error_with_its_cause():
    boom = LookupError("boom")

    def unpack(_):
        raise boom

    register_type(Point, 1, lambda _: None, unpack)
    with pytest.raises(CodecError, match="boom") as info:
        decode(encode([Point(1, 2)]))
    assert info.value.__cause__ is boom


def test_a_node_that_does_not_know_the_code_says_so(monkeypatch):
    before = codec._registry
    register_point(42)
    data = encode({"p": Point(1, 2)})
    monkeypatch.setattr(codec, "_registry", before)
    with pytest.raises(CodecError, match="42"):
        decode(data)


def same(value):
    return value


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((Point(1, 2), 1, same, same), TypeError),
        (("Point", 1, same, same), TypeError),
        ((Point, "1", same, same), TypeError),
        ((Point, True, same, same), TypeError),
        ((Point, 1.0, same, same), TypeError),
        ((Point, None, same, same), TypeError),
        ((Point, 1, None, same), TypeError),
        ((Point, 1, same, "x"), TypeError),
        ((Point, -1, same, same), ValueError),
        ((Point, 100, same, same), ValueError),
        ((Point, 127, same, same), ValueError),
        ((Decimal, 5, same, same), ValueError),
        ((Point, 6, same, same), ValueError),
        *(((cls, 1, same, same), ValueError) for cls in (type(None), bool, int, float, str, bytes, list, tuple, dict)),
        *(((cls, 1, same, same), ValueError) for cls in (set, frozenset, PID, datetime, bytearray, memoryview)),
        *(((cls, 1, same, same), ValueError) for cls in (msgpack.ExtType, msgpack.Timestamp)),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused_and_changes_nothing(args, error):
    register_type(Point, 5, pack_point, unpack_point)
    if args[0] is Point and args[1] in range(5):
        codec._registry = codec._registry._replace(users={})
    before = codec._registry
    with pytest.raises(error):
        register_type(*args)
    assert codec._registry is before


def test_a_class_is_registered_once():
    register_point()
    before = codec._registry
    register_point()
    assert codec._registry is before
    for args in [(8, pack_point, unpack_point), (7, same, unpack_point), (7, pack_point, same)]:
        with pytest.raises(ValueError, match="registered already"):
            register_type(Point, *args)
    with pytest.raises(ValueError, match="code 7 is taken by Point"):
        register_type(Decimal, 7, str, Decimal)


def test_registrations_from_many_threads_all_hold():
    classes = [type(f"C{code}", (), {}) for code in range(100)]
    gate = threading.Barrier(4)

    def register(part):
        gate.wait()
        for code in range(part, 100, 4):
            cls = classes[code]
            register_type(cls, code, lambda _: None, lambda _, cls=cls: cls())
            assert type(decode(encode([cls()]))[0]) is cls

    threads = [threading.Thread(target=register, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(value) for value in decode(encode([cls() for cls in classes]))] == classes


def test_threads_do_not_disturb_each_other():
    failures = []

    def work(seed):
        rng = random.Random(seed)
        for _ in range(300):
            message = {"n": [(seed, rng.random()), {seed}, PID(f"n{seed}", seed)] * rng.randrange(20), 1: b"x"}
            if decode(encode(message)) != message:
                failures.append(message)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# Bytes that are no message.


def decode_or_refuse(data):
    """Decode; what comes out, if anything does, must be a message again: nothing foreign may slip in."""
    try:
        message = decode(data)
    except CodecError:
        return
    encode(message)


@settings(relaxed, max_examples=1_000)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_codec_error(data):
    decode_or_refuse(data)


@settings(relaxed)
@given(messages, st.data())
def test_damaged_messages_give_a_message_or_a_codec_error(message, data):
    wire = bytearray(encode([message, PRESENCE, (1, {2}), {3: b"x"}]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wire) - 1))
        new = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from([b"\xd4\x66\0", b"\xd4\x67\0", b"\xd6\xff"])))
        wire[at : at + data.draw(st.integers(0, 3))] = new
        if not wire:
            break
    decode_or_refuse(bytes(wire))


@settings(relaxed, max_examples=50)
@given(messages, st.binary(min_size=1, max_size=3))
def test_cut_short_or_with_bytes_left_over_it_is_refused(message, more):
    wire = encode(message)
    for size in {*range(min(len(wire), 64)), len(wire) - 1}:
        with pytest.raises(CodecError):
            decode(wire[:size])
    with pytest.raises(CodecError):
        decode(wire + more)


MARK = "d46600"
BAD = {
    "nothing": "",
    "never used": "c1",
    "broken utf-8": "a2c328",
    "broken utf-8 in a key": "81a1ff01",
    "encoded surrogate": "a3eda080",
    "key nil": "81c001",
    "key bool": "81c301",
    "key float": "81cb3ff800000000000001",
    "key list": "819001",
    "key dict": "818001",
    "key tuple": f"8192{MARK}0101",
    "key frozenset": "8191d4680001",
    "key mark": f"81{MARK}01",
    "key pid": "81c70b6400000000000001026e403101",
    "key timestamp": "81d6ff0000000101",
    "key bool beside an int key": "8205c0c205",
    "unknown code": "d46900",
    "unknown user code": "92d4000005",
    "negative code": "d4fe00",
    "short pid": "d664" + "00" * 4,
    "pid with broken utf-8": "c70964" + "00" * 8 + "ff",
    "short datetime": "d765" + "00" * 8,
    "long datetime": "c71565" + "00" * 21,
    "month 13": "c7146507e80d0100000000000000000000000000000000",
    "fold 2": "c7146507e8010100000000000000020000000000000000",
    "offset of a day": "c7146507e801010000000000000000000000141dd76000",
    "timestamp of 5 bytes": "c705ff0000000000",
    "timestamp after the end of time": "c70cff000000007fffffffffffffff",
    "bare mark": MARK,
    "mark as a value": f"81a161{MARK}",
    "mark not first": f"9201{MARK}",
    "two marks": f"92{MARK}{MARK}",
    "mark in a set": f"92d46700{MARK}",
    "mark that a dict drops": f"82a161{MARK}a16101",
    "mark with a payload": "91c7026600ff",
    "mark with another byte": "91d46601",
    "mark without payload": "91c70066",
    "list in a set": "92d4670090",
    "dict in a frozenset": "92d4680080",
    "registered without a value": "91d40700",
    "registered with two values": "93d407000102",
    "array of 4 G": "ddffffffff",
    "map of 4 G": "dfffffffff",
    "str of 4 G": "dbffffffff",
    "bin of 4 G": "c6ffffffff",
    "ext of 4 G": "c9ffffffff66",
    "array of more than there is": "dc00ff" + "00" * 100,
}


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD)
def test_what_is_no_message_is_a_codec_error(wire):
    register_point()
    for data in (bytes.fromhex(wire), b"\x92\x01" + bytes.fromhex(wire), b"\x92\x91\xd4\x66\0" + bytes.fromhex(wire)):
        with pytest.raises(CodecError):
            decode(data)


@pytest.mark.parametrize("level", ["91", "81a16b", "8101", f"92{MARK}", "92d46800"])
def test_too_deep_is_a_codec_error(level):
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(CodecError):
            decode(bytes.fromhex(level) * depth + b"\x01")
    decode(bytes.fromhex(level) * MAX_DEPTH + b"\x01")


@pytest.mark.parametrize("claim", ["dc2710", "dd00002710", "de2710", "df00002710", "de1388a16b", "dd7fffffff"])
@pytest.mark.parametrize("fill", ["01", "92d4660001", "a1ff"])
def test_claimed_lengths_take_no_memory(claim, fill):
    data = bytes.fromhex(claim) * 1_000 + bytes.fromhex(fill) * 6_000
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_what_stands_twice_collapses_as_in_a_literal():
    assert decode(bytes.fromhex("82a16101a16102")) == {"a": 2}
    assert decode(bytes.fromhex("8201010102")) == {1: 2}
    assert decode(bytes.fromhex("93d467000101")) == {1}


def test_nothing_is_unpickled():
    with pytest.raises(CodecError):
        decode(b"\x80\x04\x8c\x08builtins\x94\x8c\x05print\x94\x93\x94\x8c\x02hi\x94\x85\x94R\x94.")


@pytest.mark.parametrize("data", [5, "text", None, [1]])
def test_decode_takes_bytes(data):
    with pytest.raises(TypeError):
        decode(data)
