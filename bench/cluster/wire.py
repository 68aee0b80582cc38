"""Bytes on the wire: what the kernel says it has carried over the sender's TCP connections, before and after.

So they are real ones, ZeroMQ's own and all acknowledgements included; not those of TCP and IP. Linux alone tells.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import manifold
from bench.cluster.far import Crew, all_settled, far_nodes
from bench.contenders import MESSAGE
from bench.stats import median
from manifold.core.codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.cluster.far import FarNode
    from bench.plan import ClusterPlan

__all__ = ["Carried", "carried", "measure"]

_FILES = Path("/proc/self/fd")
# Of the kernel's struct tcp_info: bytes received, segments with data sent, bytes sent, bytes sent again.
_RECEIVED, _SEGMENTS, _SENT = struct.Struct("<128xQ"), struct.Struct("<156xI"), struct.Struct("<200xQQ")
_INFO_BYTES = _SENT.size


class Carried(NamedTuple):
    """What all TCP connections of this process have carried."""

    sent: int
    received: int
    segments: int

    def since(self, before: Carried) -> Carried:
        """Give the difference."""
        return Carried(*(now - then for now, then in zip(self, before, strict=True)))


def carried() -> Carried | None:
    """Ask the kernel; None where it does not tell."""
    if not _FILES.exists():
        return None
    found = [Carried(0, 0, 0)]
    for file in _FILES.iterdir():
        with suppress(OSError):  # gone by now, or no TCP connection
            if str(file.readlink()).startswith("socket:"):
                found.append(_of(int(file.name)))
    return Carried(*map(sum, zip(*found, strict=True)))


def _of(file: int) -> Carried:
    with socket.socket(fileno=os.dup(file)) as connection:
        connection.getpeername()
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    sent, again = _SENT.unpack(info)
    return Carried(sent - again, *_RECEIVED.unpack_from(info), *_SEGMENTS.unpack_from(info))


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Count the bytes of single, list and audience sends: each settled before the next, and in a row."""
    with far_nodes() as (far,):
        rows = [*_to(plan, far, 1, "one"), *_to(plan, far, plan.wire_recipients, "list", "audience")]
    return {"message_bytes": len(encode(MESSAGE)), "sends": plan.wire_sends, "rows": rows}


def _to(plan: ClusterPlan, far: FarNode, recipients: int, *kinds: str) -> list[dict[str, Any]]:
    crew = Crew(far, recipients)
    audience = manifold.Audience(crew.pids)
    to = {"one": crew.pids[0], "list": crew.pids, "audience": audience}
    rows = []
    for kind in kinds:
        for how, pause in (("one by one", True), ("in a row", False)):
            row = {"to": kind, "recipients": recipients, "how": how}
            rows.append(row | _count(plan.wire_sends, partial(manifold.send, to[kind], MESSAGE), pause=pause))
            crew.received(plan.wire_sends, f"bytes, {kind}, {how}")
    audience.close()
    crew.close()
    return rows


def _count(sends: int, send: Callable[[], object], *, pause: bool) -> dict[str, Any]:
    """Send so often, and give what went over the wire for one send.

    With a pause each is counted by itself, and the median is given: what the link says to itself, once a second, is not
    the send's. In a row it is all that went over the wire, divided by the number of sends.
    """
    turns, sends = (sends, 1) if pause else (1, sends)
    return _median([_count_once(sends, send) for _ in range(turns)], sends)


def _count_once(sends: int, send: Callable[[], object]) -> Carried | None:
    all_settled()
    before = carried()
    for _ in range(sends):
        send()
    all_settled()
    after = carried()
    return after.since(before) if before and after else None


def _median(turns: list[Carried | None], sends: int) -> dict[str, Any]:
    known = [turn for turn in turns if turn is not None]
    names = ("sent_bytes", "received_bytes", "segments")
    return {name: median([turn[at] for turn in known]) / sends if known else None for at, name in enumerate(names)}
