"""Messages as bytes: `decode` gives what `encode` was given, types included, or `encode` says why it cannot.

The wire format is msgpack. What msgpack has no form for stands in ext types, by their codes:

| code | stands for | written as |
|---|---|---|
| 0..99 | a type of the user's, see `register_type` | the list `[mark, value]`, value being what `pack` gave |
| 100 | PID | an ext: the id (8 bytes, big-endian), then the node in UTF-8 |
| 101 | datetime | an ext: wall clock, fold and UTC offset (20 bytes, see `_DATETIME`) |
| 102, 103, 104 | tuple, set, frozenset | the list `[mark, *items]` |
| 105 | a message of manifold's own, see `register_own` | the list `[mark, value]` |
| 106..127 | kept for later versions | |

A mark is an ext of the code of its type, with one zero byte. It can stand nowhere but first in a list, and no
message can hold one of its own: nothing that a user sends looks like the packed form. Marks keep everything
in one pass of msgpack under one limit of depth, where payloads holding messages would nest pass in pass.
"""

from __future__ import annotations

import builtins
import struct
import threading
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from msgpack import ExtType, Packer, Timestamp, Unpacker, unpackb  # type: ignore[import-untyped]

from manifold.core.pid import PID
from manifold.errors import CodecError, NotSerializable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    Function = Callable[[Any], object]

__all__ = ["MAX_DEPTH", "Sealed", "decode", "encode", "register_own", "register_type"]

MAX_DEPTH = 1024
"""How many containers and registered objects may stand inside each other: what msgpack's reader holds."""


class Sealed(bytes):
    """What `encode` gave, in the place of the message that it stands for: as a message it takes several times as much
    memory. Whoever is to handle the message decodes it.
    """

    __slots__ = ()


_USER_CODES = range(100)
_PID, _STAMP, _TUPLE, _SET, _FROZENSET = range(100, 105)

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
_KEYS = frozenset({str, int, bytes})
# msgpack packs these without asking our hook, as something that arrives as another type.
_SWALLOWED = {bytearray, memoryview, ExtType, Timestamp, getattr(builtins, "frozendict", bytearray)}


class _Unfit(Exception):
    """Why a value cannot travel; `encode` finds out where it stands."""


class _Mark:
    """What a mark decodes to: `build` makes the value that was meant of the list that it stands first in."""

    __slots__ = ("build",)

    def __init__(self, build: Callable[[list[Any]], object]) -> None:
        self.build = build


class _Registry(NamedTuple):
    """All types beyond msgpack's. Never changed: `register_type` puts a new one in its place, in one go."""

    lower: Mapping[type, Function]
    """Type -> what gives msgpack something it knows for an object of the type."""
    marks: Mapping[int, _Mark]
    users: Mapping[type, tuple[int, Function, Function]]
    """Type -> code, pack, unpack: what `register_type` was told."""


_MARK_BYTE, _MARK_PAYLOAD = 0xD4, b"\0"  # fixext 1: nothing else is written as one
_U64 = struct.Struct(">Q")
_DATETIME = struct.Struct(">HBBBBBIBq")  # year, month, ... second, microsecond, fold, offset in microseconds
_MICROSECOND = timedelta(microseconds=1)
# ExtType(...) checks its arguments in Python, in 340 ns; this makes the same object in 160 ns.
_new_ext = partial(tuple.__new__, ExtType)


def _lower_pid(pid: PID) -> object:
    return _new_ext((_PID, _U64.pack(pid.id) + pid.node.encode()))


def _lower_datetime(at: datetime) -> object:
    offset = at.utcoffset()
    if offset is None:
        raise _Unfit("a datetime without a time zone means another instant elsewhere; give it a tzinfo")
    wall = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, at.fold)
    return _new_ext((_STAMP, _DATETIME.pack(*wall, offset // _MICROSECOND)))


def _read_leaf(code: int, data: bytes) -> object:
    if code == _PID:
        return PID(data[8:].decode(), _U64.unpack_from(data)[0])
    if code == _STAMP:
        year, month, day, hour, minute, second, microsecond, fold, offset = _DATETIME.unpack(data)
        zone = timezone(timedelta(microseconds=offset))
        return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)
    raise CodecError(f"type code {code} is unknown here; types must be registered on every node alike")


def _lower_as(code: int) -> Callable[[Collection[object]], object]:
    mark = _new_ext((code, _MARK_PAYLOAD))
    return lambda items: [mark, *items]


_registry = _Registry(
    lower={
        PID: _lower_pid,
        datetime: _lower_datetime,
        tuple: _lower_as(_TUPLE),
        set: _lower_as(_SET),
        frozenset: _lower_as(_FROZENSET),
    },
    marks={
        _TUPLE: _Mark(lambda items: tuple(items[1:])),
        _SET: _Mark(lambda items: set(items[1:])),
        _FROZENSET: _Mark(lambda items: frozenset(items[1:])),
    },
    users={},
)
_registering = threading.Lock()


def register_type(cls: type, code: int, pack: Function, unpack: Function) -> None:
    """Let objects whose type is exactly `cls` stand anywhere in a message, except as dict keys.

    `code` (0..99) names the type on the wire: the same on every node of the cluster. `pack(obj)` gives any
    value that a message may hold, registered types included; `unpack(value)`, at the receiver, gives the
    object back. Neither has side effects: a message that fails, or takes a second pass, calls them again.
    Holds for all threads at once; a node that does not know a code refuses the message with `CodecError`.
    Registering the very same again does nothing.

    Raises, and changes nothing: TypeError (an argument of the wrong kind), ValueError (a code out of range
    or taken, a type that travels already or is msgpack's own, a class that is registered otherwise).
    """
    if not (isinstance(cls, type) and type(code) is int and callable(pack) and callable(unpack)):
        raise TypeError(f"expected a class, an int, two functions: {cls!r}, {code!r}, {pack!r}, {unpack!r}")
    global _registry  # noqa: PLW0603
    with _registering:
        old = _registry
        if old.users.get(cls) == (code, pack, unpack):
            return
        _check_free(old, cls, code)
        _registry = _with(old, cls, code, pack, unpack)._replace(users={**old.users, cls: (code, pack, unpack)})


def register_own(cls: type, code: int, pack: Function, unpack: Function) -> None:
    """Let objects of one of manifold's own classes travel, by a code that is kept for them; at import."""
    global _registry  # noqa: PLW0603
    with _registering:
        _registry = _with(_registry, cls, code, pack, unpack)


def _with(old: _Registry, cls: type, code: int, pack: Function, unpack: Function) -> _Registry:
    return old._replace(
        lower={**old.lower, cls: partial(_lower_user, _new_ext((code, _MARK_PAYLOAD)), pack)},
        marks={**old.marks, code: _Mark(partial(_build_user, unpack))},
    )


def _check_free(registry: _Registry, cls: type, code: int) -> None:
    taken = [other.__qualname__ for other, user in registry.users.items() if user[0] == code]
    if code not in _USER_CODES:
        msg = f"code must be in 0..99, not {code}: the others are manifold's and msgpack's own"
    elif cls in registry.users:
        msg = f"{cls.__qualname__} is registered already, differently, with code {registry.users[cls][0]}"
    elif cls in _SCALARS | _CONTAINERS | _SWALLOWED or cls in registry.lower:
        msg = f"{cls.__qualname__} is one of manifold's or msgpack's own types and cannot be registered"
    elif taken:
        msg = f"code {code} is taken by {taken[0]}"
    else:
        return
    raise ValueError(msg)


def _lower_user(mark: object, pack: Function, value: object) -> object:
    packed = pack(value)
    if not _is_sound(packed, set()):
        raise _Unfit
    return [mark, packed]


def _build_user(unpack: Function, items: list[Any]) -> object:
    _, packed = items
    return unpack(packed)


_ARRAYS = bytes((*range(0x90, 0xA0), 0xDC, 0xDD))
_MAPS = bytes((*range(0x80, 0x90), 0xDE, 0xDF))
# nil, booleans, floats could be dict keys; bin could be a bytearray; ext could be a key, or a user's ExtType.
_SUSPECTS = bytes((0xC0, *range(0xC2, 0xCC), *range(0xD4, 0xD9)))
_PLAIN = bytes(set(range(256)).difference(_ARRAYS, _MAPS, _SUSPECTS))
# Where Python has a frozendict, msgpack packs it as a map: then every map is suspect.
_INNOCENT = _ARRAYS if hasattr(builtins, "frozendict") else _ARRAYS + _MAPS


def encode(message: object) -> bytes:
    """Give the bytes that `decode` turns into an equal message, of the same types throughout.

    Allowed, nested at will up to `MAX_DEPTH`: None, bool, int (-2**63 .. 2**64-1), float, str, bytes, list,
    tuple, dict (keys str, int, bytes), set, frozenset, PID, datetime with a time zone (it arrives with the
    same fields and utcoffset, its tzinfo a `datetime.timezone`), and what `register_type` was told of; all of
    exactly these types, no subclasses. Raises `NotSerializable`, with the path of an offender, for anything
    else: also for a str with lone surrogates, deeper nesting, a container that contains itself. The message
    must not change meanwhile.

    Cost: one pass of msgpack in C and a look at its output (280 bytes of nested dicts: 0.9 us; `packb` alone
    takes that too). When None, a bool, float, bytes or a type beyond msgpack's stands in the message, a
    second pass in Python (1.6 us more) checks the types of dict keys, and what msgpack took for bytes.
    """
    try:
        data: bytes = Packer(default=_lower, strict_types=True, buf_size=512).pack(message)
        # Parts of texts and numbers may look like headers, so that this suspects too much, never too little.
        headers = data.translate(None, _PLAIN)
        if headers.translate(None, _INNOCENT) and not _is_sound(message):
            raise _Unfit  # noqa: TRY301
        if len(headers) > MAX_DEPTH:
            _skim(data)  # msgpack's writer goes one level deeper than its reader
    except Exception as error:  # noqa: BLE001
        path, reason = _locate(message) or ("", _show(error))
        raise NotSerializable(reason, path) from (None if type(error) is _Unfit else error)
    return data


def _lower(value: object) -> object:
    """Give msgpack something that it knows for a value that it does not: its `default` hook."""
    lower = _registry.lower.get(type(value))
    if lower is None:
        raise _Unfit
    return lower(value)


def _is_sound(message: Any, seen: set[int] | None = None) -> bool:  # noqa: C901
    """Say whether all types, of dict keys too, are allowed. Give `seen` where there could be a circle."""
    beyond = _registry.lower
    todo: list[Any] = [[message]]
    for value in todo:
        if seen is not None:
            if id(value) in seen:
                continue
            seen.add(id(value))
        if type(value) is dict:
            for key in value:
                if type(key) is not str and type(key) not in _KEYS:
                    return False
        for item in value.values() if type(value) is dict else value:
            if type(item) is str or type(item) is int:
                continue
            if type(item) in _CONTAINERS:
                todo.append(item)
            elif type(item) not in _SCALARS and type(item) not in beyond:
                return False
    return True


def _skim(data: bytes) -> None:
    """Raise what msgpack raises when `data` is too deep or claims more than it holds, building nothing."""
    reader = Unpacker(max_buffer_size=len(data))
    reader.feed(data)
    reader.skip()


def _locate(message: object) -> tuple[str, str] | None:
    """Give the path and the fault of a value that cannot travel. Slow: only for a message that failed."""
    trail = [("", message, _parts(message, ()))]
    while trail:
        try:
            step, value = next(trail[-1][2], (None, None))
            if step is None:
                trail.pop()
            else:
                trail.append((step, value, _parts(value, [above for _, above, _ in trail])))
        except Exception as fault:  # noqa: BLE001
            path = _cut("".join(step for step, _, _ in trail), 400)
            return path, str(fault) if type(fault) is _Unfit else f"packing it raised {_show(fault)}"
    return None


def _parts(value: Any, above: Collection[object]) -> Iterator[tuple[str, object]]:
    """Give what is right inside `value`, each with the step that leads there; _Unfit if it has a fault."""
    kind = type(value)
    if kind not in _CONTAINERS and kind not in _registry.users:
        _check_leaf(value)
    elif any(value is outer for outer in above):
        raise _Unfit(f"this {kind.__name__} contains itself")
    elif len(above) >= MAX_DEPTH:
        raise _Unfit(f"more than {MAX_DEPTH} containers inside each other")
    elif kind is dict:
        for key, item in value.items():
            name = f"the dict key {_show(key)}"
            if type(key) not in _KEYS:
                raise _Unfit(f"{name} is of type {type(key).__name__}; keys are plain str, int or bytes")
            _check_leaf(key, f"{name} is ")
            yield f"[{_show(key)}]", item
    elif kind is list or kind is tuple:
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif kind is set or kind is frozenset:
        yield from (("{...}", item) for item in value)
    else:
        yield "<packed>", _registry.users[kind][1](value)


def _check_leaf(value: Any, what: str = "") -> None:
    kind = type(value)
    if kind is int and not -(1 << 63) <= value < 1 << 64:
        raise _Unfit(f"{what}an int outside of -2**63 .. 2**64-1")
    if kind is str and any("\ud800" <= char <= "\udfff" for char in value):
        raise _Unfit(f"{what}a str with a lone surrogate, for which UTF-8 has no form")
    if kind in _SWALLOWED:
        raise _Unfit(f"{kind.__name__} cannot travel; send bytes or a plain container")
    if kind in _registry.lower:
        _registry.lower[kind](value)
    elif kind not in _SCALARS:
        base = next((base for base in kind.__mro__ if base in {*_SCALARS, *_CONTAINERS, PID, datetime}), None)
        name = f"{kind.__qualname__}, a subclass of {base.__name__}," if base else kind.__qualname__
        raise _Unfit(f"{name} cannot travel; convert it, or register it with manifold.register_type")


def _show(value: object) -> str:
    try:
        return _cut(repr(value), 60)
    except Exception:  # noqa: BLE001
        return f"<{type(value).__qualname__}>"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 3 :]}"


def decode(data: bytes | memoryview) -> object:
    """Give the message that `encode` made `data` from; it shares no memory with `data`.

    Raises `CodecError`, and nothing else, for all other bytes: damaged, cut short, with bytes left over, an
    unknown type code, dict keys that are not str, int or bytes, nested deeper than `MAX_DEPTH`, an `unpack`
    function that raises. Nothing is ever unpickled. Lengths that are merely claimed take 2 MB at most. Equal
    elements of a set and equal keys of a dict collapse, as in a Python literal; msgpack's own timestamp,
    which `encode` never writes, is taken as a datetime in UTC.

    Cost: one pass of msgpack in C (280 bytes of nested dicts: 1.5 us, as msgpack itself). For tuples, sets
    and registered types it runs with hooks in Python (3 us); where an int key stops it, a slower one starts
    over (5 us).
    """
    data = data if isinstance(data, bytes) else bytes(memoryview(data))
    try:
        # msgpack makes room for up to 10,000 items of every array that is open, whether there are any:
        # nested, that is 80 MB for 10 KB. So only a few that can claim more than 15 items are taken on trust.
        if len(data) > 512 and sum(map(data.count, (0xDC, 0xDD, 0xDE, 0xDF))) > 16:
            _skim(data)
        try:
            if _MARK_BYTE in data:
                return _decode_marked(data)
            return unpackb(data, ext_hook=_read_leaf, timestamp=3)
        except Exception:  # noqa: BLE001
            return _decode_marked(data, strict_map_key=False, object_hook=_check_keys)
    except CodecError:
        raise
    except Exception as error:
        raise CodecError(f"these bytes give no message: {_show(error)}") from error


def _decode_marked(data: bytes, **options: Any) -> object:
    hooks = _Hooks()
    message = unpackb(data, ext_hook=hooks.read_ext, list_hook=hooks.read_list, timestamp=3, **options)
    if hooks.open_marks:
        raise ValueError("a mark that does not stand first in a list")
    return message


def _check_keys(value: dict[Any, object]) -> dict[Any, object]:
    for key in value:
        if type(key) is not str and type(key) not in _KEYS:
            raise TypeError("a dict key that is neither str, int nor bytes")
    return value


class _Hooks:
    """The hooks of one pass over one message. They count marks: each must be used up by its list."""

    __slots__ = ("marks", "open_marks")

    def __init__(self) -> None:
        self.marks = _registry.marks
        self.open_marks = 0

    def read_ext(self, code: int, data: bytes) -> object:
        if data != _MARK_PAYLOAD or code not in self.marks:
            return _read_leaf(code, data)
        self.open_marks += 1
        return self.marks[code]

    def read_list(self, items: list[Any]) -> object:
        if not items or type(items[0]) is not _Mark:
            return items
        self.open_marks -= 1
        return items[0].build(items)
