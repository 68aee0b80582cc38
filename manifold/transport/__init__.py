"""Transports move packets between nodes and know nothing of them: what is lost, the layer above sends again.

All of them keep the contract of `Transport`; `manifold.testing.transport_suite` tests it, yours too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from manifold.errors import ManifoldError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "AddressError", "Finder", "Transport", "parse_address"]


class Transport(Protocol):
    """One node's way to move packets to other nodes and from them.

    Threads. `open` comes first. From then on one thread, the I/O thread, calls `poll` again and again, and it alone
    calls `dial`, `hang_up` and `send`, also from inside the callbacks. `wake` is for any thread. `close` is for the
    I/O thread, or for any other when that one has ended.

    Blocking. Only `poll` waits, and `close`, for what was sent last to get out, for a bounded time.

    Loss. Of what is sent over one connection, the packets arrive whole, once, in order, up to the moment when the
    connection breaks: all that was on the way then may be lost. A new connection to the same address starts with the
    next packet sent, and the receiver may still get packets of the old one after the first ones of the new one.
    A packet is never changed. Who sent it is for the packet itself to say; on a transport that authenticates nobody, it
    can be anybody.

    Memory. What waits in a transport is bounded, in packets or bytes: for every dialled address, and for every
    connection that comes in. Then `send` refuses, and the packets of a sender who does not stop wait on its own side.
    """

    @property
    def address(self) -> str:
        """What other nodes dial to reach this one; "" before `open`, and if it does not listen."""

    @property
    def packet_max_bytes(self) -> int:
        """The largest packet that it moves."""

    def open(self, receive: Callable[[bytes], None], connected: Callable[[str], None]) -> None:
        """Listen, if it was made to; raise `AddressError`, holding nothing, if that cannot be.

        From now on packets wait for the first `poll`. `receive(packet)` is called for each that came in;
        `connected(address)` each time that a connection to a dialled address was made, or made again: what was sent
        there before may be lost. Both are called inside `poll` alone, on its thread; what they raise comes out of it.
        """

    def dial(self, address: str) -> None:
        """Connect to an address, and again whenever the connection breaks. Does nothing if that is done already.

        Nobody needs to listen there yet. Raises `AddressError` for what can be no address of this transport.
        """

    def hang_up(self, address: str) -> None:
        """Give up the connection, and connecting. What was sent to it already still gets out, if it can soon."""

    def send(self, address: str, packet: bytes) -> bool:
        """Send, or give False when that cannot be now: not dialled, not connected, or too much waits for it already.

        After False for a dialled address `poll` returns as soon as there is room, or a connection: try again then.
        Raises ValueError for a packet larger than `packet_max_bytes`.
        """

    def poll(self, timeout_s: float) -> None:
        """Wait until something has come in, or `wake` is called, or the time is over; call the callbacks; return.

        It may return early, and takes in a bounded amount at a time: call it in a loop.
        """

    def wake(self) -> None:
        """Make `poll` return, now or, if nobody is in it, the next time at once. For any thread; many calls are as one.

        What a thread did before, under a lock, is there to be seen under that lock when `poll` has returned.
        """

    def close(self) -> None:
        """End it, threads and files included; what was sent last has half a second to get out.

        All calls do nothing from then on.
        """


@runtime_checkable
class Finder(Protocol):
    """A transport that finds other nodes by itself, so that none need be joined."""

    def find(self, found: Callable[[str], None]) -> None:
        """Announce this node from `open` on, and call `found(address)` each time that another one announces itself.

        Called before `open`. `found` is called as the callbacks of `open` are; to dial is its own business.
        """


class AddressError(ManifoldError, ValueError):
    """An address that cannot be used here, or not now; nothing was changed. `reason` says why, and what to do."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address!r}: {reason}")
        self.address = address
        self.reason = reason


class Address(NamedTuple):
    """An address in its parts."""

    scheme: str
    """tcp, ipc, subject or memory."""
    host: str
    """For tcp the host (an IPv6 address without its brackets), for ipc the path, for the others the name."""
    port: int
    """For tcp; 0 means any when listening. For the others 0."""


_TCP = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.*-]+)):([0-9]{1,5})", re.ASCII)
_SUBJECT = re.compile(r"[\w@-]+(\.[\w@-]+)*", re.ASCII)
_IPC_MAX_BYTES = 107  # what the kernel holds of a path of a socket


def parse_address(text: str) -> Address:
    """Take apart "tcp://host:port", "ipc:///path", "subject://name.of.it" or "memory://name"; else AddressError."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "tcp" and (match := _TCP.fullmatch(rest)) and int(match[3]) < 1 << 16:
        return Address(scheme, match[1] or match[2], int(match[3]))
    if separator and scheme == "ipc" and rest.startswith("/") and "\0" not in rest:
        if len(rest.encode()) > _IPC_MAX_BYTES:
            raise AddressError(text, f"the path is longer than the {_IPC_MAX_BYTES} bytes that a socket's may have")
        return Address(scheme, rest, 0)
    if separator and scheme == "subject" and _SUBJECT.fullmatch(rest):
        return Address(scheme, rest, 0)
    if separator and scheme == "memory" and rest:
        return Address(scheme, rest, 0)
    raise AddressError(
        text, "not an address; expected tcp://host:port, tcp://[ipv6]:port, ipc:///path or memory://name"
    )
