"""What is not a transport of ours: sockets that say what they should not, and ports that nobody uses."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

from manifold.transport import parse_address

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"


def reserve_port():
    """Bind a port, so that nobody else is given it until this process ends; nobody listens there, but one may."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.detach()
    return port


_PORTS = itertools.cycle([reserve_port() for _ in range(16)])


def free_port():
    """Give a port of this process; the same one again after some others."""
    return next(_PORTS)


def say(address, data):
    """Connect, say it, and give what was answered until the other side hung up."""
    _, host, port = parse_address(address)
    answer = b""
    with socket.create_connection((host, port), timeout=20) as connection:
        try:
            connection.sendall(data)
            while more := connection.recv(4096):
                answer += more
        except ConnectionError:
            pass
    return answer


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))
