"""Servers of NATS: where they are, whom they let in, and one clear error for all that can be wrong with that."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from nats import errors
from nats.aio.client import Client

from manifold import ManifoldError
from manifold.limits import Limits
from manifold.testing.transport_suite import TIMEOUT_S, Runner
from manifold.transport import AddressError
from manifold.transport.nats import Nats
from manifold.transport.nats_broker import Broker
from manifold.transport.nats_url import hide_secrets, parse_servers
from manifold.wires import make_transport
from tests.cluster.support import until
from tests.transport.nats_credentials import make_credentials
from tests.transport.raw import free_port, open_files

numbers = itertools.count()


def carries(url, **options):
    with Runner(Nats(url, f"s{next(numbers)}", **options)) as receiver, Runner(Nats(url, **options)) as sender:
        sender.dial(receiver.address)
        sender.send(receiver.address, b"x")
        receiver.wait(lambda: receiver.packets == [b"x"])


def refusal(url, **options):
    """Why it cannot be opened, in one line, soon; nothing is left."""
    transport = Nats(url, "refused", **options)
    files, threads, began = open_files(), threading.active_count(), time.monotonic()
    with pytest.raises(AddressError) as caught:
        transport.open(print, print)
    assert time.monotonic() - began < TIMEOUT_S
    assert until(
        lambda: open_files() <= files and threading.active_count() <= threads
    )  # the other side may be this process
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ManifoldError)
    return str(caught.value)


# What is written.


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("nats://h", ["nats://h:4222"]),
        ("nats://h:1/", ["nats://h:1"]),
        ("tls://h.example.org:4222", ["tls://h.example.org:4222"]),
        ("nats://[::1]:4222", ["nats://[::1]:4222"]),
        ("nats://a:1,nats://b:2, tls://c", ["nats://a:1", "nats://b:2", "tls://c:4222"]),
        ("nats://me:pass@a:1,nats://b:2", ["nats://a:1", "nats://b:2"]),
        ("nats://a?cluster=chat", ["nats://a:4222"]),
    ],
)
def test_servers(text, urls):
    assert list(parse_servers(text).urls) == urls


def test_what_servers_are_told():
    assert parse_servers("nats://h").is_known is False
    servers = parse_servers("nats://me:p%40ss%2C@h?cluster=chat")
    assert (servers.user, servers.password, servers.cluster, servers.is_known) == ("me", "p@ss,", "chat", True)
    assert (parse_servers("nats://s3cret@h").user, parse_servers("nats://s3cret@h").password) == ("s3cret", None)


@pytest.mark.parametrize(
    "text",
    [
        "", "nats", "nats://", "nats:4222", "h:4222", "tcp://h:1", "http://h:1", "nats://h:x", "nats://h:99999", "nats://:1",
        "nats://h/path", "nats://h#x", "nats://a,b", "nats://a,", ",", 5, None, b"nats://h",
        "nats://h?", "nats://h?cluster", "nats://h?cluster=", "nats://h?cluster=a.b", "nats://h?cluster=*",
        "nats://h?colour=red", "nats://h?credentials=/no/such/file", "nats://h?credentials=", "nats://h?ca=/no/such/file",
        "nats://h?certificate=/no/such/file", "nats://h?key=/no/such/file",
    ],
)  # fmt: skip
def test_no_servers(text):
    if text == "nats://h?":
        assert parse_servers(text).urls == ("nats://h:4222",)
        return
    with pytest.raises(AddressError) as caught:
        parse_servers(text)
    assert caught.value.address == str(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["nats://me:s3cret@h:x", "nats://me:s3/cr,s3cret@h", "nats://s3cret@a,nats://s3cret@b:y"]
)
def test_no_error_shows_a_secret(text):
    with pytest.raises(AddressError) as caught:
        parse_servers(text)
    assert "s3cret" not in str(caught.value)
    assert hide_secrets("nats://h:1") == "nats://h:1"


def test_nothing_printed_shows_a_secret():
    assert "s3cret" not in f"{parse_servers('nats://me:s3cret@h')} {parse_servers('nats://s3cret@h')!r}"


@pytest.mark.parametrize("text", ["", "nonsense", "BEGIN NATS USER JWT", "BEGIN USER NKEY SEED\nx", "\xff\xfe"])
def test_a_file_that_holds_no_credentials(tmp_path, text):
    path = tmp_path / "creds"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(AddressError, match="holds no credentials"):
        parse_servers(f"nats://h?credentials={path}")


def test_without_its_packages_there_is_one_error_that_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("manifold.transport.nats")]:
        if name != "manifold.transport.nats_url":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(AddressError, match=r"needs the package nats: pip install 'manifold-actors\[nats\]'"):
        make_transport("a@1", None, (), "nats://127.0.0.1", None, Limits())


def test_it_goes_with_neither_listen_nor_join():
    for listen, join in (("tcp://127.0.0.1:0", ()), (None, ["tcp://127.0.0.1:1"])):
        with pytest.raises(ValueError, match="neither listen= nor join="):
            make_transport("a@1", listen, join, "nats://127.0.0.1", None, Limits())


# Who is not there.


def test_nobody_there():
    port = free_port()
    assert refusal(f"nats://127.0.0.1:{port}") == f"'nats://127.0.0.1:{port}': it cannot be reached: Connection refused"


def test_a_host_that_is_not_known():
    assert "no-such-host.invalid:4222': it cannot be reached: its host is not" in refusal("nats://no-such-host.invalid")


def test_none_of_several_there():
    one, two = free_port(), free_port()
    text = refusal(f"nats://127.0.0.1:{one},nats://127.0.0.1:{two}")
    assert text.count("refused") == 2


@contextmanager
def pretender(answer):
    """Something that listens, says this to whoever comes, and keeps what it hears."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)

        def run():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(3)
                    try:
                        connection.sendall(answer)
                        while data := connection.recv(4096):
                            heard.append(data)
                    except OSError:
                        pass

        thread = threading.Thread(target=run)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)
    thread.join(TIMEOUT_S)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 1000, b"INFO {}\r\n", b"INFO nonsense\r\n"]
)
def test_something_else_there(answer):
    with pretender(answer) as (place, _):
        assert place in refusal(f"nats://{place}")


def test_silence_there():
    with pretender(b"") as (place, _):
        assert "nothing answers there within 2 s" in refusal(f"nats://{place}")


def test_a_server_that_takes_next_to_nothing(serve):
    assert "takes 100 bytes at a time" in refusal(serve(config="max_payload: 100").url)


# Whom it lets in.


def test_user_and_password(serve):
    server = serve("--user", "me", "--pass", "s3cret")
    place = f"127.0.0.1:{server.port}"
    carries(f"nats://me:s3cret@{place}")
    for url in (f"nats://{place}", f"nats://me:wr0ng@{place}", f"nats://wr0ng@{place}"):
        text = refusal(url)
        assert "does not let us in" in text
        assert "wr0ng" not in text


def test_token(serve):
    server = serve("--auth", "s3cret")
    carries(f"nats://s3cret@127.0.0.1:{server.port}")
    assert "does not let us in" in refusal(f"nats://wr0ng@127.0.0.1:{server.port}")


def test_credentials(serve, tmp_path):
    config, credentials = make_credentials()
    _, others = make_credentials()
    server = serve(config=config)
    (tmp_path / "right.creds").write_text(credentials)
    (tmp_path / "wrong.creds").write_text(others)
    carries(f"{server.url}?credentials={tmp_path}/right.creds")
    assert "does not let us in" in refusal(f"{server.url}?credentials={tmp_path}/wrong.creds")
    assert "does not let us in" in refusal(server.url)


def test_what_a_user_may_not_do(serve):
    config = 'authorization { users: [{ user: me, password: x, permissions: { subscribe: "other.>" } }] }'
    server = serve(config=config)
    assert "permissions violation for subscription" in refusal(f"nats://me:x@127.0.0.1:{server.port}").lower()


def test_what_a_user_needs_to_be_allowed(serve):
    permissions = '{ publish: "manifold.>", subscribe: "manifold.>" }'
    config = f"authorization {{ users: [{{ user: me, password: x, permissions: {permissions} }}] }}"
    server = serve(config=config)
    carries(f"nats://me:x@127.0.0.1:{server.port}")


def test_users_that_change_while_it_runs(serve, tmp_path, caplog):
    """nats-py itself gives up for ever on a server that has refused it."""
    caplog.set_level(logging.INFO, logger="manifold")
    path = tmp_path / "users.conf"

    def allow(password):
        path.write_text(f"authorization {{ users: [{{ user: me, password: {password} }}] }}")

    allow("right")
    server = serve("-c", str(path))
    url = f"nats://me:right@127.0.0.1:{server.port}"
    with Runner(Nats(url, f"s{next(numbers)}")) as receiver, Runner(Nats(url)) as sender:
        sender.dial(receiver.address)
        allow("wrong")
        server.reload()
        assert until(lambda: "is lost" in caplog.text)
        allow("right")
        server.reload()
        sender.wait(lambda: len(sender.connected) == 2)
        sender.send(receiver.address, b"x")
        receiver.wait(lambda: receiver.packets == [b"x"])


@pytest.fixture
def reachable():
    """An address of this machine that others could reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return probe.getsockname()[0]


def test_a_server_that_lets_in_anybody_wants_a_cookie(serve, reachable):
    server = serve("-a", reachable)
    assert "MANIFOLD_COOKIE" in refusal(f"nats://{reachable}:{server.port}")
    carries(f"nats://{reachable}:{server.port}", cookie="c")
    named = serve("-a", reachable, "--user", "me", "--pass", "x")
    carries(f"nats://me:x@{reachable}:{named.port}")


# TLS.


@pytest.fixture
def certificates(tmp_path):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl, which makes a certificate for this test, is not installed or too old")
    return files


def test_tls(serve, certificates):
    cert, key = certificates
    server = serve("--tls", "--tlscert", cert, "--tlskey", key, "--user", "me", "--pass", "x")
    place = f"127.0.0.1:{server.port}"
    carries(f"tls://me:x@{place}?ca={cert}")
    carries(f"nats://me:x@{place}?ca={cert}")
    assert "certificate is not accepted" in refusal(f"tls://me:x@{place}")
    assert "does not let us in" in refusal(f"tls://me:wrong@{place}?ca={cert}")


def test_a_certificate_as_credentials(serve, certificates):
    cert, key = certificates
    server = serve("--tlsverify", "--tlscert", cert, "--tlskey", key, "--tlscacert", cert)
    place = f"127.0.0.1:{server.port}"
    carries(f"tls://{place}?ca={cert}&certificate={cert}&key={key}")
    refusal(f"tls://{place}?ca={cert}")


def test_a_server_without_tls_where_it_was_asked_for(serve):
    server = serve()
    assert "does not offer TLS" in refusal(f"tls://127.0.0.1:{server.port}")


@pytest.mark.parametrize("secret", ["me:s3cret@", "s3cret@", ""])
def test_no_secret_is_sent_in_the_clear_where_tls_was_asked_for(tmp_path, secret):
    """As by one in the middle who takes TLS out of what the server says."""
    _, credentials = make_credentials()
    (tmp_path / "creds").write_text(credentials)
    option = "" if secret else f"?credentials={tmp_path}/creds"
    info = {"server_id": "x", "version": "2.10.0", "max_payload": 1 << 20, "auth_required": True, "nonce": "abc"}
    with pretender(b"INFO " + json.dumps(info).encode() + b"\r\n") as (place, heard):
        assert "does not offer TLS" in refusal(f"tls://{secret}{place}{option}")
    assert b"".join(heard) == b""


def test_closing_while_a_lost_connection_is_made_again(serve, monkeypatch):
    server = serve()
    broker = Broker(parse_servers(server.url), "somebody", is_guarded=False)
    broker.open()
    tried = []

    async def connect(client, *_, **__):
        """As nats-py does: what cancels the task that waits for a server reads as if there were none."""
        tried.append(client)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise errors.NoServersError from None

    monkeypatch.setattr(Client, "connect", connect)
    server.kill()
    assert until(lambda: broker.wait(0.05) or tried)
    assert not broker.is_up
    broker.close()
    assert len(tried) == 1
