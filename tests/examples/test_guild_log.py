"""`log`: the beginning of a line decides what it is; files that are no text are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.guild_presence.logs.log import (
    JOIN,
    LEAVE,
    MESSAGE,
    NICK,
    BadLogError,
    Event,
    minute,
    parse,
    read_lines,
)

if TYPE_CHECKING:
    from pathlib import Path

NICKS = st.text("abcXYZ019[]\\`_^{|}-é", min_size=1, max_size=9)
CHANNELS = st.sampled_from(["#ubuntu", "#Ubuntu", "#UBUNTU", "##c", "#é"])


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("[09:03] <ann> hello", Event(MESSAGE, "ann", "hello")),
        ("[09:03] <[_^{|}`\\-]9> hi", Event(MESSAGE, "[_^{|}`\\-]9", "hi")),
        ("[09:03] <g[r] eek> hi", Event(MESSAGE, "g[r] eek", "hi")),
        ("[09:03] <ann> bob has joined #ubuntu", Event(MESSAGE, "ann", "bob has joined #ubuntu")),
        ("[09:03] <ann> === bob has left #ubuntu", Event(MESSAGE, "ann", "=== bob has left #ubuntu")),
        ("[09:03] <ann> <bob> > x", Event(MESSAGE, "ann", "<bob> > x")),
        ("[09:03] <ann>    ", Event(MESSAGE, "ann", "   ")),
        ("[09:03] <ann> a\x1db\u2028c", Event(MESSAGE, "ann", "a\x1db\u2028c")),
        ("=== ann has joined #ubuntu", Event(JOIN, "ann")),
        ("=== ann has joined #Ubuntu-Off ", Event(JOIN, "ann")),
        ("=== [a]` has joined ##c", Event(JOIN, "[a]`")),
        ("=== ann has left #ubuntu", Event(LEAVE, "ann")),
        ("=== ann has left #UBUNTU []", Event(LEAVE, "ann")),
        ('=== ann has left #ubuntu ["bob has joined #ubuntu"]', Event(LEAVE, "ann")),
        ("=== ann was kicked off #ubuntu by bob (flood)", Event(LEAVE, "ann")),
        ("=== ann is now known as ann_", Event(NICK, "ann", "ann_")),
        ("=== has is now known as joined", Event(NICK, "has", "joined")),
        ("=== ann is now known as [a] ann", Event(NICK, "ann", "[a] ann")),
    ],
)
def test_an_event_is_read(line: str, event: Event) -> None:
    assert parse(line) == event


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "===",
        "=== ",
        "[09:03]  * ann waves",
        "[09:03] <ann>",
        "[09:03] <> hello",
        "[9:03] <ann> hello",
        "[09:03]<ann> hello",
        " [09:03] <ann> hello",
        "<ann> hello",
        "[09:03] (ann/#ubuntu) hello",
        "[٠٩:٠٣] <ann> hello",
        " === ann has joined #ubuntu",
        "===ann has joined #ubuntu",
        "==== ann has joined #ubuntu",
        "===  has joined #ubuntu",
        "=== ann has joined ubuntu",
        "=== ann has joined #",
        "=== ann has joined",
        "=== ann has joined #ubuntu again",
        "=== ann says bob has joined #ubuntu",
        "=== [big] ann [n=ann@host]  has joined #ubuntu",
        "=== ann has quit [bye]",
        "=== ann has leftovers",
        "=== ann was kicked off #ubuntu",
        "=== ann was kicked by bob",
        "=== ann is now known as",
        "=== mode/#ubuntu by ann",
        "--- ann has joined #ubuntu",
        "\ufeff=== ann has joined #ubuntu",
    ],
)
def test_every_other_line_is_no_event(line: str) -> None:
    assert parse(line) is None


@given(NICKS, NICKS, CHANNELS, st.text())
def test_every_form_gives_back_what_was_put_in(nick: str, other: str, channel: str, text: str) -> None:
    assert parse(f"[23:59] <{nick}> {text}") == Event(MESSAGE, nick, text)
    assert parse(f"=== {nick} has joined {channel}") == Event(JOIN, nick)
    assert parse(f"=== {nick} has left {channel} {text}") == Event(LEAVE, nick)
    assert parse(f"=== {nick} was kicked off {channel} by {other} {text}") == Event(LEAVE, nick)
    assert parse(f"=== {nick} is now known as {other}") == Event(NICK, nick, other)


@given(st.text())
def test_any_text_is_read_without_a_fault(line: str) -> None:
    for start in ("", "[", "=== ", "[01:02] <"):
        event = parse(start + line)
        assert event is None or event.nick


def test_the_clock_of_a_line() -> None:
    assert minute("[09:03] <ann> hello") == 543
    assert minute("[00:00]  * ann waves") == 0
    assert minute("=== ann has joined #ubuntu") is None
    assert minute("[9:03] <ann> hello") is None


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\n\n\nb\n\n", ["a", "", "", "b", ""]),
        (b"\n", [""]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        (b"a\x1d\x0b\x0cb\xc2\x85c\xe2\x80\xa8d\n", ["a\x1d\x0b\x0cb\x85c\u2028d"]),
        (b"caf\xc3\xa9\ncaf\xe9\n", ["café", "café"]),
        (b"a\rb\n", ["a\rb"]),
    ],
)
def test_every_line_of_a_file_counts(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(data)
    assert read_lines(file) == lines


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"[09:03] <ann> a\0b\n", "is not a text file"),
        ("[09:03] <ann> hello\n".encode("utf-16"), "is not a text file"),
        (bytes(range(128, 256)) * 9, "is not a text file"),
        (bytes([*range(1, 9), *range(14, 32)]) * 9, "is not a text file"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(data)
    with pytest.raises(BadLogError, match=why):
        read_lines(file)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadLogError, match=r"cannot read .*: Is a directory"):
        read_lines(tmp_path)
    with pytest.raises(BadLogError, match=r"cannot read .*none: No such file"):
        read_lines(tmp_path / "none")
