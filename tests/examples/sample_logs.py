"""Logs to test with: one that has every case of the rules, and a strategy that makes up others."""

from __future__ import annotations

from hypothesis import strategies as st

_EVERY_CASE = """\
[09:00] <ann> ann was here before the log began
=== bob has joined #ubuntu
=== bob has joined #Ubuntu
[09:01]  * bob waves: no event

=== cy has left #ubuntu [a stranger: ignored]
=== bob is now known as bob_
=== dee is now known as dee_
=== ann is now known as bob_
=== eve has joined #ubuntu
=== eve is now known as eve
=== eve was kicked off #ubuntu by bob_ (flood)
=== mode/#ubuntu by ChanServ
[09:02] <bob_> eve has joined #ubuntu
=== dee_ has left #ubuntu ["Leaving"]
=== bob_ has left #ubuntu []
=== bob_ has left #ubuntu []
[09:03] <ann> === bob has joined #ubuntu"""
EVERY_CASE = _EVERY_CASE.split("\n")

# Who is present, and so gets the event, line by line; None where there is no event.
RECIPIENTS: list[int | None] = [1, 2, 2, None, None, None, 2, 3, 2, 3, 3, 2, None, 2, 1, 0, None, 1]

_NICKS = st.sampled_from(["a", "b", "c", "d", "[e]"])
_CHANNEL = st.sampled_from(["#x", "#X"])
_LINES = st.one_of(
    st.builds("[12:{:02}] <{}> {}".format, st.integers(0, 59), _NICKS, st.sampled_from(["", "hi", "=== a"])),
    st.builds("=== {} has joined {}".format, _NICKS, _CHANNEL),
    st.builds("=== {} has left {} []".format, _NICKS, _CHANNEL),
    st.builds("=== {} was kicked off {} by {}".format, _NICKS, _CHANNEL, _NICKS),
    st.builds("=== {} is now known as {}".format, _NICKS, _NICKS),
    st.sampled_from(["", "[12:00]  * a waves", "=== a has quit [bye]", "=== a b has joined #x"]),
)
logs = st.lists(_LINES, min_size=1, max_size=60)
