"""The listening side: where it may listen, and who was turned away, told once a minute at most."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from manifold.transport import Address, AddressError, parse_address
from manifold.transport.zmq_curve import CURVE_BYTES, Doorkeeper
from manifold.transport.zmq_events import FAILED, PATIENCE, Events, explain

if TYPE_CHECKING:
    from manifold.transport.zmq_curve import Keys

    Socket = zmq.Socket[bytes]

__all__ = ["Listener"]

logger = logging.getLogger("manifold")

_QUEUE_MAX_PACKETS = 1000
_TELL_EVERY_S = 60.0
_NAMED_MAX = 5
_WILDCARDS = {"*": "0.0.0.0"}  # noqa: S104

_EXPOSED = (
    "without a cookie a node listens on this machine alone (127.0.0.1, ::1, localhost, ipc), as anybody who reached "
    "it elsewhere could send to its actors. Give every node of the cluster the same secret, as `cookie` or in "
    "MANIFOLD_COOKIE, or listen on tcp://127.0.0.1:{port}"
)


class Listener:
    """A socket that listens, those who guard it, and the address to dial it at. AddressError if that cannot be."""

    def __init__(self, context: zmq.Context[Socket], text: str, keys: Keys | None, packet_max_bytes: int) -> None:
        address = parse_address(text)
        endpoint = _find_endpoint(text, address, is_locked=keys is not None)
        self.socket = _make(context, keys, packet_max_bytes)
        self._path = Path(address.host) if address.scheme == "ipc" else None
        self._is_bound = False
        self.refusals = Refusals(self.socket, text)
        self.doorkeeper = Doorkeeper(context, keys, self.refusals.add)
        try:
            self.socket.ipv6 = "[" in endpoint
            self.socket.bind(endpoint)
            self._is_bound = True
            self.address = self.refusals.address = _finish(self.socket, address, keys)
        except (zmq.ZMQError, OSError) as error:
            self.close()
            raise AddressError(text, f"cannot listen there: {os.strerror(error.errno or 0)}") from error

    def close(self) -> None:
        if self._path and self._is_bound:
            self._path.unlink(missing_ok=True)  # while it is still ours: afterwards it may be another's
        self.refusals.close()
        self.doorkeeper.close()
        self.socket.close()


def _find_endpoint(text: str, address: Address, *, is_locked: bool) -> str:
    if address.scheme == "tcp":
        return _tcp_endpoint(text, address, is_locked=is_locked)
    if address.scheme == "ipc":
        _reclaim(text, address.host)
        return text
    raise AddressError(text, "not an address of this transport; expected tcp://host:port or ipc:///path")


def _make(context: zmq.Context[Socket], keys: Keys | None, packet_max_bytes: int) -> Socket:
    inbox = context.socket(zmq.PULL)
    for option, value in PATIENCE.items():
        inbox.setsockopt(option, value)
    inbox.linger = 0
    inbox.rcvhwm = _QUEUE_MAX_PACKETS
    inbox.maxmsgsize = packet_max_bytes + (CURVE_BYTES if keys else 0)
    inbox.zap_domain = b"manifold"
    if keys:
        keys.lock(inbox)
    return inbox


def _tcp_endpoint(text: str, address: Address, *, is_locked: bool) -> str:
    """Give it with the host as a number, which libzmq wants, and which alone tells whom it is open to."""
    host = _WILDCARDS.get(address.host, address.host)
    try:
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressError(text, f"the host is not known: {error.strerror}") from error
    number = str(found[0][4][0])
    if not (is_locked or ipaddress.ip_address(number).is_loopback):
        raise AddressError(text, _EXPOSED.format(port=address.port))
    return _tcp(number, address.port)


def _tcp(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _reclaim(text: str, path: str) -> None:
    """See that nobody listens at a path: libzmq would take it from him, or from whatever file it is, without a word."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise AddressError(text, "there is a file at this path already")
    except FileNotFoundError:
        return
    except OSError as error:
        raise AddressError(text, f"cannot listen there: {error.strerror}") from error
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # left behind by a process that is gone
        except OSError as error:
            raise AddressError(text, f"somebody else's: {error.strerror}") from error
    raise AddressError(text, "somebody listens there already")


def _finish(inbox: Socket, address: Address, keys: Keys | None) -> str:
    if address.scheme == "ipc":
        if not keys:
            Path(address.host).chmod(0o600)  # whoever can write to it can send
        return f"ipc://{address.host}"
    endpoint = inbox.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    bound = parse_address(endpoint.rstrip(b"\0").decode())
    return _tcp(_own_host(bound.host), bound.port)


def _own_host(host: str) -> str:
    """Give the host that others can dial: for a wildcard the one that this machine has towards the outside."""
    if not ipaddress.ip_address(host).is_unspecified:
        return host
    family, outside = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((outside, 9))  # sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostname()


class Refusals:
    """Those who were turned away from a socket that listens."""

    def __init__(self, inbox: Socket, address: str) -> None:
        self.address = address
        self.events = Events(inbox, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | FAILED)
        self._hosts: dict[int, str] = {}  # by file, of which a process has only so many
        self._reason = ""
        self._count = 0
        self._latest: deque[str] = deque(maxlen=_NAMED_MAX)
        self._tell_at = 0.0

    def watch(self) -> None:
        """Look at what has happened. libzmq names the file only after the reason, when it closes it."""
        for event in self.events.read():
            if event.kind == zmq.EVENT_ACCEPTED:
                self._hosts[event.value] = _host_of(event.value)
            elif event.kind == zmq.EVENT_DISCONNECTED:
                host = self._hosts.pop(event.value, "")
                if self._reason:
                    self.add(host, self._reason)
                self._reason = ""
            elif event.kind != zmq.EVENT_HANDSHAKE_FAILED_AUTH:  # the doorkeeper said it, with the name
                self._reason = explain(event)

    def close(self) -> None:
        self.events.close()

    def add(self, host: str, reason: str) -> None:
        """Count one, and tell of all since the last time, if that was long ago."""
        self._count += 1
        self._latest.append(f"{host or 'a peer'}: {reason}")
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_EVERY_S
            latest = "; ".join(dict.fromkeys(self._latest))
            logger.warning("%s turned away %d connection(s): %s", self.address, self._count, latest)
            self._count = 0
            self._latest.clear()


def _host_of(file: int) -> str:
    """Give who is at the other end, if it is not gone by now."""
    try:
        with socket.socket(fileno=os.dup(file)) as connection:
            return str(connection.getpeername()[0]) if connection.family != socket.AF_UNIX else "a local process"
    except (OSError, IndexError):
        return ""
