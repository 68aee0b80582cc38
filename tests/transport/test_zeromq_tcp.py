"""ZeroMQ over tcp, without a cookie: for one machine, and safe from whatever else comes to its port."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest
import zmq

from manifold.testing.transport_suite import Runner, TransportSuite
from manifold.transport import AddressError, zmq_calls
from manifold.transport.zeromq import ZeroMQ
from tests.cluster.support import until
from tests.transport.raw import GREETING, READY, free_port, open_files, resident_bytes, say

LARGE = 1 << 20


class TestTcp(TransportSuite):
    def make(self, listen=""):
        return ZeroMQ(listen)

    def fresh_address(self):
        return f"tcp://127.0.0.1:{free_port()}"


class TestTcpByPyzmq(TestTcp):
    """As where libzmq's functions cannot be reached, and there is no eventfd."""

    @pytest.fixture(autouse=True)
    def _poor(self, monkeypatch):
        monkeypatch.setattr(zmq_calls, "_library", None)
        monkeypatch.delattr(os, "eventfd", raising=False)


def test_libzmq_is_reached_where_these_tests_run():
    assert zmq_calls._library is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_any_port_of_loopback(host):
    with Runner(ZeroMQ(f"tcp://{host}:0")) as receiver, Runner(ZeroMQ()) as sender:
        assert not receiver.address.endswith(":0")
        sender.dial(receiver.address)
        sender.send(receiver.address, b"x")
        receiver.wait(lambda: receiver.packets == [b"x"])


@pytest.mark.parametrize("listen", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0", "tcp://192.0.2.7:4000"])
@pytest.mark.parametrize("cookie", [None, "", b""])
def test_beyond_loopback_only_with_a_cookie(listen, cookie):
    with pytest.raises(AddressError, match="MANIFOLD_COOKIE"):
        ZeroMQ(listen, cookie=cookie).open(lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("memory://x", "expected tcp"),
        ("tcp://no-such-host.invalid:1", "not known"),
        ("tcp://127.0.0.1", "not an address"),
    ],
)
def test_where_it_cannot_listen(listen, reason):
    before = open_files()
    with pytest.raises(AddressError, match=reason):
        ZeroMQ(listen).open(lambda _: None, lambda _: None)
    assert until(lambda: open_files() <= before)


def test_a_port_in_use_is_named():
    with Runner(ZeroMQ("tcp://127.0.0.1:0")) as first:
        with pytest.raises(AddressError, match="in use") as caught:
            ZeroMQ(first.address).open(lambda _: None, lambda _: None)
        assert caught.value.address == first.address


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "tcp://*:5", "memory://x", "tcp://a b:1"])
def test_what_cannot_be_dialled(address):
    with Runner(ZeroMQ()) as runner, pytest.raises(AddressError):
        runner.call(lambda: runner.transport.dial(address))


def garbage():
    dice = random.Random(1)
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n" + b"x" * 100
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(600)  # TLS
    yield b"\xff" * 10_000
    yield bytes(10_000)
    yield GREETING + b"\xff" * 10_000
    yield GREETING + READY + b"\x02" + (1 << 62).to_bytes(8) + b"x" * 10_000
    yield GREETING + READY + b"\x02" + (LARGE + 1).to_bytes(8)
    yield GREETING + b"\x06" + (1 << 40).to_bytes(8) + b"x" * 10_000
    yield GREETING + READY.replace(b"PUSH", b"PULL")
    yield GREETING.replace(b"NULL", b"EVIL") + READY
    yield from (dice.randbytes(dice.randrange(500, 100_000)) for _ in range(30))


@pytest.mark.parametrize("cookie", [None, "secret"])
def test_garbage_is_hung_up_on_and_told_of_once(cookie, caplog):
    with Runner(ZeroMQ("tcp://127.0.0.1:0", cookie=cookie, packet_max_bytes=LARGE)) as receiver:
        for bytes_ in garbage():
            say(receiver.address, bytes_)
        with Runner(ZeroMQ(cookie=cookie)) as sender:
            sender.dial(receiver.address)
            sender.send(receiver.address, b"sane")
            receiver.wait(lambda: receiver.packets == [b"sane"])
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "turned away" in warnings[0]


def test_garbage_takes_no_memory():
    with Runner(ZeroMQ("tcp://127.0.0.1:0", packet_max_bytes=LARGE)) as receiver:
        for round_ in range(12):
            for bytes_ in garbage():
                say(receiver.address, bytes_)
            if round_ == 1:
                before = resident_bytes()
        assert resident_bytes() - before < 8 << 20


def test_a_peer_that_sends_more_than_is_allowed_is_cut_off():
    with Runner(ZeroMQ("tcp://127.0.0.1:0", packet_max_bytes=LARGE)) as receiver, Runner(ZeroMQ()) as sender:
        sender.dial(receiver.address)
        sender.send(receiver.address, bytes(LARGE))
        sender.send(receiver.address, bytes(LARGE + 1))
        sender.wait(lambda: sender.connected == [receiver.address] * 2)
        sender.send(receiver.address, b"after it")
        receiver.wait(lambda: len(receiver.packets) == 2)
        assert receiver.packets == [bytes(LARGE), b"after it"]


def test_a_peer_of_another_kind_is_refused():
    with zmq.Context() as context, Runner(ZeroMQ("tcp://127.0.0.1:0")) as receiver:
        with context.socket(zmq.REQ) as stranger, stranger.get_monitor_socket() as monitor:
            stranger.linger = 0
            stranger.connect(receiver.address)
            stranger.send(b"hello")
            kinds = set()
            while zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL not in kinds and zmq.EVENT_DISCONNECTED not in kinds:
                assert monitor.poll(20_000)
                kinds.add(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
            stranger.disable_monitor()
        assert receiver.packets == []


def test_a_listener_that_breaks_the_protocol_is_dialled_again():
    """libzmq itself would never come back to it."""
    with socket.create_server(("127.0.0.1", 0)) as server, Runner(ZeroMQ()) as sender:
        server.settimeout(20)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        sender.call(lambda: sender.transport.dial(address))
        for round_ in range(1, 4):
            connection, _ = server.accept()
            with connection:
                connection.sendall(GREETING + READY.replace(b"PUSH", b"PULL"))
                sender.wait(lambda wanted=round_: sender.connected == [address] * wanted)
                connection.sendall(b"\xff" * 100)


def test_a_node_that_stands_still_is_noticed_and_found_again():
    """libzmq's heartbeats, as when a cable is pulled: nothing is closed, nothing answers."""
    code = "from manifold.transport.zeromq import ZeroMQ; t = ZeroMQ('tcp://127.0.0.1:0'); t.open(print, print)\n"
    code += "print(t.address, flush=True)\nwhile True: t.poll(10)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as node:
        address = node.stdout.readline().strip()
        with Runner(ZeroMQ()) as sender:
            sender.dial(address)
            line = sender.transport._lines[address]
            node.send_signal(signal.SIGSTOP)
            end = time.monotonic() + 20
            while sender.call(lambda: line._is_up):
                assert time.monotonic() < end
            node.send_signal(signal.SIGCONT)
            sender.wait(lambda: sender.connected == [address] * 2)
        node.kill()
