"""What the actors say to each other: what "t" in a message means. All of it can travel between nodes."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["ANSWER_S", "FAREWELL", "GUILDS", "LINES", "PROCESS", "REPORT", "SESSIONS", "Step"]

# A guild to the sessions in it: events, {"t": kind, "seq": number, "nick": .., "text": ..}, then its leave:
FAREWELL = "FAREWELL"
"""{"t", "spans": {id of the session: (number of the first event that was for it, and of the last)}}"""

# Anybody to a gateway:
GUILDS = "GUILDS"
"""{"t", "names": [..], "gateways": [..], "plain_list": bool}: start guilds; answered with their PIDs."""
SESSIONS = "SESSIONS"
"""{"t", "guild": name, "number": n}: start sessions for a guild; answered with their PIDs."""
REPORT = "REPORT"
"""{"t"}: answered with {guild: the sum of its sessions here}."""
PROCESS = "PROCESS"
"""{"t"}: answered with the number of the process that it is in."""

# The driver to a guild:
LINES = "LINES"
"""{"t", "lines": [..], "last": bool}: replay these, and after the last close; answered with a `Step`."""

ANSWER_S = 600.0
"""How long anyone waits for an answer. It comes after all that was sent before, so it may take a while."""


class Step(TypedDict):
    """What a piece of log came to: its events, and how many recipients they were sent to, added up."""

    events: int
    sent: int
