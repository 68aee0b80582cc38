"""ZeroMQ with a cookie: who does not know it gets nothing in and nothing out, and is told of once."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import zmq

from manifold.testing.transport_suite import TIMEOUT_S, Runner, TransportSuite
from manifold.transport import zmq_dial
from manifold.transport.zeromq import ZeroMQ
from manifold.transport.zmq_curve import derive_keys
from tests.transport.raw import free_port

LOOPBACK = "tcp://127.0.0.1:0"


class TestCurve(TransportSuite):
    def make(self, listen=""):
        return ZeroMQ(listen, cookie="correct horse")

    def fresh_address(self):
        return f"tcp://127.0.0.1:{free_port()}"


def test_keys_are_a_matter_of_the_cookie_alone():
    keys = derive_keys(b"one")
    derive_keys.cache_clear()
    assert derive_keys(b"one") == keys
    assert derive_keys(b"two") != keys
    assert keys.listen_secret != keys.dial_secret
    # Golden: all versions of manifold must derive the same.
    assert keys.listen_public == b"V}6EZ6r-kNXl2Q#ki>3uC:7*T&$=nP@r%OK)t1%Z"
    assert "secret" not in repr(keys)
    assert keys.listen_secret.decode() not in repr(keys)


def test_text_and_bytes_are_the_same_cookie():
    with Runner(ZeroMQ(LOOPBACK, cookie="ключ")) as receiver, Runner(ZeroMQ(cookie="ключ".encode())) as sender:
        sender.dial(receiver.address)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(zmq_dial, "_RETRY_FIRST_S", 0.01)


def attempts_until(runner, address, count):
    """Wait until the line has failed so often."""
    line = runner.transport._lines[address]
    end = time.monotonic() + TIMEOUT_S
    while runner.call(lambda: line._failures) < count:
        assert time.monotonic() < end


@pytest.mark.parametrize(
    ("here", "there"), [("right", "wrong"), ("right", None), (None, "right")], ids=["wrong", "none", "needless"]
)
def test_other_cookies_get_nowhere(here, there, caplog, fast):
    with Runner(ZeroMQ(LOOPBACK, cookie=here)) as receiver, Runner(ZeroMQ(cookie=there)) as stranger:
        stranger.call(lambda: stranger.transport.dial(receiver.address))
        attempts_until(stranger, receiver.address, 5)
        assert not stranger.call(lambda: stranger.transport.send(receiver.address, b"let me in"))
        with Runner(ZeroMQ(cookie=here)) as friend:
            friend.dial(receiver.address)
            friend.send(receiver.address, b"hello")
            receiver.wait(lambda: receiver.packets)
        assert receiver.packets == [b"hello"]
        assert stranger.connected == []
        address = receiver.address
    texts = [record.getMessage() for record in caplog.records]
    assert sum("turned away" in text for text in texts) == 1
    assert sum(f"{address} does not let us in" in text for text in texts) == 1
    assert all("cookie" in text for text in texts)
    assert not any("right" in text or "wrong" in text for text in texts)


def test_the_public_key_is_not_enough(caplog):
    """All that one can learn without the cookie is the listener's public key; the doorkeeper asks for the dialler's."""
    public, secret = zmq.curve_keypair()
    with Runner(ZeroMQ(LOOPBACK, cookie="right")) as receiver, zmq.Context() as context:
        with context.socket(zmq.PUSH) as thief, thief.get_monitor_socket() as monitor:
            thief.linger = 0
            thief.curve_serverkey = derive_keys(b"right").listen_public
            thief.curve_publickey, thief.curve_secretkey = public, secret
            thief.connect(receiver.address)
            kinds = set()
            while zmq.EVENT_HANDSHAKE_FAILED_AUTH not in kinds:
                assert monitor.poll(20_000)
                kinds.add(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
            assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in kinds
            thief.disable_monitor()
        assert receiver.packets == []
    assert "127.0.0.1: it does not know the cookie" in caplog.text


def test_who_is_refused_asks_ever_more_seldom(monkeypatch):
    monkeypatch.setattr(zmq_dial, "_RETRY_FIRST_S", 0.1)
    with Runner(ZeroMQ(LOOPBACK, cookie="right")) as receiver, Runner(ZeroMQ(cookie="wrong")) as stranger:
        began = time.monotonic()
        stranger.call(lambda: stranger.transport.dial(receiver.address))
        attempts_until(stranger, receiver.address, 5)
        assert time.monotonic() - began > 0.5 * (0.1 + 0.2 + 0.4 + 0.8)


def test_when_the_cookies_agree_at_last_they_connect(fast):
    with Runner(ZeroMQ(cookie="new")) as sender:
        address = f"tcp://127.0.0.1:{free_port()}"
        receiver = Runner(ZeroMQ(address, cookie="old"))
        sender.call(lambda: sender.transport.dial(address))
        attempts_until(sender, address, 2)
        receiver.close()
        with Runner(ZeroMQ(address, cookie="new")) as receiver:
            sender.wait(lambda: sender.connected == [address])
            sender.send(address, b"x")
            receiver.wait(lambda: receiver.packets == [b"x"])


def test_a_listener_that_is_no_node_gets_nothing_but_a_greeting(fast):
    with socket.create_server(("127.0.0.1", 0)) as server, Runner(ZeroMQ(cookie="right")) as sender:
        server.settimeout(TIMEOUT_S)
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        sender.call(lambda: sender.transport.dial(address))
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100, b"", b"\xff" * 1000):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(TIMEOUT_S)
                heard = b""
                try:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while more := connection.recv(4096):
                        heard += more
                except OSError:
                    pass
                assert len(heard) <= 64
        assert sender.connected == []


def test_what_travels_is_not_readable():
    """A node behind a wire-tap."""
    secret = b"the quick brown fox " * 50
    with (
        Runner(ZeroMQ(LOOPBACK, cookie="c")) as receiver,
        Tap(receiver.address) as tap,
        Runner(ZeroMQ(cookie="c")) as sender,
    ):
        sender.dial(tap.address)
        sender.send(tap.address, secret)
        receiver.wait(lambda: receiver.packets == [secret])
    assert len(tap.heard) > len(secret)
    assert b"quick" not in tap.heard


class Tap:
    """Passes one connection on, and listens."""

    def __init__(self, address):
        self.heard = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._target = ("127.0.0.1", int(address.rpartition(":")[2]))

    def __enter__(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join(TIMEOUT_S)
        self._server.close()

    def _run(self):
        front, _ = self._server.accept()
        with front, socket.create_connection(self._target) as back:
            returning = threading.Thread(target=self._pass_on, args=(back, front), daemon=True)
            returning.start()
            self._pass_on(front, back)
            returning.join(TIMEOUT_S)

    def _pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                self.heard += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_with_a_cookie_it_listens_on_all_interfaces():
    with Runner(ZeroMQ("tcp://*:0", cookie="c")) as receiver:
        assert "*" not in receiver.address
        assert "0.0.0.0" not in receiver.address
        assert not receiver.address.endswith(":0")
