"""What clients may say: whatever they send, it is refused with a text, or it is an op that can be sent anywhere."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples.guild_presence.app.protocol import Refused, checked_name, error, position, read_op

OPS = [
    ({"op": "message", "text": "hi"}, {"op": "message", "text": "hi", "nonce": None}),
    (
        {"op": "message", "text": "é" * 2000, "nonce": "n" * 64},
        {"op": "message", "text": "é" * 2000, "nonce": "n" * 64},
    ),
    ({"op": "message", "text": "\U0001f600", "nonce": ""}, {"op": "message", "text": "\U0001f600", "nonce": ""}),
    ({"op": "typing"}, {"op": "typing"}),
    ({"op": "status", "status": "idle"}, {"op": "status", "status": "idle"}),
    ({"op": "status", "status": "online"}, {"op": "status", "status": "online"}),
    ({"op": "nick", "to": "bob the 2nd"}, {"op": "nick", "to": "bob the 2nd"}),
    ({"op": "leave"}, {"op": "leave"}),
    ({"op": "overview", "on": True}, {"op": "overview", "on": True}),
    ({"op": "overview"}, {"op": "overview", "on": False}),
    ({"op": "command", "do": "add", "node": "gateway"}, {"op": "command", "do": "add", "node": "gateway"}),
    ({"op": "command", "do": "kill", "node": "guilds-2"}, {"op": "command", "do": "kill", "node": "guilds-2"}),
]
NO_NAMES: list[Any] = [
    "",
    " ",
    " ann",
    "ann ",
    "a" * 33,
    "a\nb",
    "a\0",
    "\u200b",
    "\ud800",
    None,
    7,
    ["ann"],
    {"a": 1},
    True,
]
BAD: list[Any] = [
    None, 0, "message", [], [{"op": "typing"}], {}, {"op": None}, {"op": "join"}, {"op": "gone"}, {"op": "retry"},
    {"op": "refused"}, {"op": "flush"}, {"op": "empty"}, {"op": "OVERVIEW"}, {"op": []}, {"op": {}}, {"op": 1e400},
    *({"op": "message", "text": text} for text in [None, "", " \n", "a" * 2001, 7, ["a"], {}, "\ud83d", "a\udc00b"]),
    *({"op": "message", "text": "a", "nonce": nonce} for nonce in [7, "n" * 65, [], {}, False, "\udfff"]),
    *({"op": "status", "status": status} for status in [None, "offline", "Idle", 1, [], {}]),
    *({"op": "nick", "to": name} for name in NO_NAMES),
    *({"op": "command", "do": do, "node": "gateway"} for do in [None, "", "exec", [], {}]),
    *({"op": "command", "do": "add", "node": name} for name in NO_NAMES),
]  # fmt: skip


@pytest.mark.parametrize(("said", "op"), OPS, ids=lambda value: str(value.get("op")))
def test_what_is_allowed(said: dict[str, Any], op: dict[str, Any]) -> None:
    assert read_op(json.dumps(said)) == op


def test_what_nobody_asked_for_is_left_out() -> None:
    assert read_op('{"op": "typing", "session": 1, "user": "eve", "since": [1, 2]}') == {"op": "typing"}


@pytest.mark.parametrize("said", BAD, ids=ascii)
def test_what_is_refused(said: Any) -> None:
    with pytest.raises(Refused, match=r"\S"):
        read_op(json.dumps(said))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "nul",
        "\ud800",
        "[" * 16_000,
        '{"op":' * 2500,
        "9" * 16_000,
        "{'op': 'typing'}",
        '{"op":"typing"}x',
        "\0",
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(Refused, match="no JSON"):
        read_op(text)


def test_huge_numbers_are_read_and_never_needed() -> None:
    huge = "9" * 4000
    assert read_op(f'{{"op": "typing", "n": {huge}}}') == {"op": "typing"}
    with pytest.raises(Refused):
        read_op(f'{{"op": {huge}}}')


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
json_values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
anything = st.sampled_from([value for said, _ in OPS for value in said.values()]) | json_values
objects = st.dictionaries(st.sampled_from(["op", "text", "nonce", "status", "to", "on", "do", "node"]), anything)


@given(st.text() | st.text(st.characters(codec=None)) | objects.map(json.dumps) | json_values.map(json.dumps))
@example('{"op": "message", "text": "\\ud83d"}')
@example('{"op": ["message"]}')
def test_anything_is_refused_or_an_op_that_can_be_sent(text: str) -> None:
    try:
        op = read_op(text)
    except Refused as refused:
        json.dumps(error(str(refused))).encode()
        return
    assert isinstance(op["op"], str)
    assert msgpack.unpackb(msgpack.packb(op)) == op
    assert json.loads(json.dumps(op, ensure_ascii=False).encode()) == op
    assert all(len(value) <= 2000 for value in op.values() if isinstance(value, str))


@pytest.mark.parametrize("name", ["a", "a" * 32, "Zoë", "名前", "\U0001f600", "o'neil <b>", "a b", "..", "/"])
def test_names(name: str) -> None:
    assert checked_name(name, "a user") == name


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
def test_no_names(name: Any) -> None:
    with pytest.raises(Refused, match="a guild must have a name"):
        checked_name(name, "a guild")


@pytest.mark.parametrize(
    ("epoch", "seq", "since"),
    [(None, None, None), ("", "", None), ("7", "0", (7, 0)), (str(2**53 - 1), "5", (2**53 - 1, 5))],
)
def test_position(epoch: str | None, seq: str | None, since: tuple[int, int] | None) -> None:
    assert position(epoch, seq) == since


@pytest.mark.parametrize(
    ("epoch", "seq"),
    [
        *[("7", None), (None, "7"), ("7", ""), ("x", "1"), ("1.5", "1")],
        *[("-1", "1"), ("1", "-1"), (str(2**53), "1"), ("9" * 5000, "1")],
    ],
)
def test_no_position(epoch: str | None, seq: str | None) -> None:
    with pytest.raises(Refused, match="epoch and seq"):
        position(epoch, seq)


@given(st.none() | st.text(), st.none() | st.text())
def test_any_position_is_refused_or_two_numbers_that_can_be_sent(epoch: str | None, seq: str | None) -> None:
    try:
        since = position(epoch, seq)
    except Refused:
        return
    assert since is None or all(0 <= number < 2**53 for number in since)
