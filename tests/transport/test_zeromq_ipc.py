"""ZeroMQ over sockets of this machine."""

from __future__ import annotations

import itertools
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from manifold.testing.transport_suite import Runner, TransportSuite
from manifold.transport import AddressError
from manifold.transport.zeromq import ZeroMQ

numbers = itertools.count()


@pytest.fixture
def path():
    # pytest's own directories may be longer than a socket's path can be.
    with tempfile.TemporaryDirectory(prefix="mf") as directory:
        yield Path(directory) / "s"


class TestIpc(TransportSuite):
    @pytest.fixture(autouse=True)
    def _in(self, path):
        self.path = path

    def make(self, listen=""):
        return ZeroMQ(listen)

    def fresh_address(self):
        return f"ipc://{self.path}{next(numbers)}"


def test_a_path_that_a_crash_left_behind_is_taken_over(path):
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    assert path.exists()
    with Runner(ZeroMQ(f"ipc://{path}")) as receiver, Runner(ZeroMQ()) as sender:
        sender.dial(receiver.address)
        sender.send(receiver.address, b"x")
        receiver.wait(lambda: receiver.packets == [b"x"])
    assert not path.exists()


def test_a_path_where_somebody_listens_is_left_to_him(path):
    with Runner(ZeroMQ(f"ipc://{path}")) as first, Runner(ZeroMQ()) as sender:
        with pytest.raises(AddressError, match="listens there already"):
            ZeroMQ(first.address).open(lambda _: None, lambda _: None)
        sender.dial(first.address)
        sender.send(first.address, b"still mine")
        first.wait(lambda: first.packets == [b"still mine"])


def test_a_file_is_never_replaced(path):
    path.write_text("precious")
    with pytest.raises(AddressError, match="file at this path"):
        ZeroMQ(f"ipc://{path}").open(lambda _: None, lambda _: None)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "address", ["ipc://relative", "ipc://@abstract", "ipc:///" + "x" * 200, "ipc:///no/such/dir/s"]
)
def test_where_it_cannot_listen(address):
    with pytest.raises(AddressError):
        ZeroMQ(address).open(lambda _: None, lambda _: None)


def test_without_a_cookie_only_the_same_user_may_come(path):
    with Runner(ZeroMQ(f"ipc://{path}")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
