"""Addresses."""

from __future__ import annotations

import pytest

from manifold.errors import ManifoldError
from manifold.transport import AddressError, parse_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tcp://127.0.0.1:0", ("tcp", "127.0.0.1", 0)),
        ("tcp://node-1.example.org:65535", ("tcp", "node-1.example.org", 65535)),
        ("tcp://my_container:80", ("tcp", "my_container", 80)),
        ("tcp://[::1]:5000", ("tcp", "::1", 5000)),
        ("tcp://*:5000", ("tcp", "*", 5000)),
        ("ipc:///run/node.sock", ("ipc", "/run/node.sock", 0)),
        ("memory://a", ("memory", "a", 0)),
    ],
)
def test_addresses(text, parts):
    assert parse_address(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "", "tcp", "tcp://", "tcp://:1", "tcp://h", "tcp://h:", "tcp://h:x", "tcp://h:-1", "tcp://h:65536", "tcp://::1:5",
        "tcp://h:1/x", "tcp://a b:1", "tcp://h:\uff11", "tcp://h:1\n",
        "ipc://", "ipc://x", "ipc:///a\0b", "ipc:///" + "é" * 60,
        "memory://", "nats://h:1", "TCP://h:1", "://", "tcp:/h:1",
    ],
)  # fmt: skip
def test_no_addresses(text):
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert caught.value.address == text
    assert isinstance(caught.value, ManifoldError)
    assert isinstance(caught.value, ValueError)
