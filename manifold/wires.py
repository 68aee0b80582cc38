"""Which transport a node's options ask for."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from manifold.core.frames import PACKET_SLACK_BYTES
from manifold.transport import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifold.limits import Limits
    from manifold.transport import Transport

__all__ = ["make_transport"]


def make_transport(
    node: str,
    listen: str | None,
    join: Iterable[str],
    transport: str | None,
    cookie: str | bytes | None,
    limits: Limits,
) -> Transport | None:
    """Make the transport of a node, not open yet; None for one that neither listens nor joins nor names a transport.

    Raises ValueError for options that do not go together, AddressError for addresses that cannot be used.
    """
    addresses = tuple(join)
    for address in (*addresses, *([] if listen is None else [listen])):
        if not isinstance(address, str):
            raise AddressError(str(address), "an address is a text, such as tcp://127.0.0.1:4000")
    cookie = cookie if cookie is not None else os.environ.get("MANIFOLD_COOKIE") or None
    secret = cookie.encode() if isinstance(cookie, str) else cookie
    packet_max_bytes = limits.packet_max_bytes + PACKET_SLACK_BYTES
    if transport is not None:
        if listen is not None or addresses:
            msg = "over a transport= nodes find each other by themselves: it goes with neither listen= nor join="
            raise ValueError(msg)
        return _make_nats(transport, node, secret, packet_max_bytes, limits.node_down_after_s)
    if listen is None and not addresses:
        return None
    from manifold.transport.memory import Memory
    from manifold.transport.zeromq import ZeroMQ

    if all(address.startswith("memory://") for address in addresses) and (listen or "memory://").startswith(
        "memory://"
    ):
        return Memory(listen or f"memory://{secrets.token_hex(4)}", packet_max_bytes=packet_max_bytes)
    return ZeroMQ(listen or _own_address(addresses), cookie=secret, packet_max_bytes=packet_max_bytes)


def _make_nats(servers: str, node: str, secret: bytes | None, packet_max_bytes: int, announce_s: float) -> Transport:
    from manifold.transport.nats_url import hide_secrets

    try:
        from manifold.transport.nats import Nats

        return Nats(servers, node, cookie=secret, packet_max_bytes=packet_max_bytes, announce_s=announce_s)
    except ImportError as error:
        reason = f"NATS needs the package {error.name}: pip install 'manifold-actors[nats]'"
        raise AddressError(hide_secrets(str(servers)), reason) from error


def _own_address(join: tuple[str, ...]) -> str:
    """Give an address to listen on for a node that only joins: others must be able to dial it back."""
    local = all(address.startswith(("ipc://", "tcp://127.", "tcp://localhost", "tcp://[::1]")) for address in join)
    return "tcp://127.0.0.1:0" if local else "tcp://*:0"
