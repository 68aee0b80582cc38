"""What is not a transport of ours: sockets that say what they should not, and ports that nobody uses."""

from __future__ import annotations

import socket
from pathlib import Path

from manifold.transport import parse_address

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
