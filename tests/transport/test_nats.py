"""Packets over NATS, through a real server."""

from __future__ import annotations

import itertools

import pytest

from manifold.testing.transport_suite import Runner, TransportSuite
from manifold.transport.nats import Nats

numbers = itertools.count()


class TestNats(TransportSuite):
    cookie = None

    @pytest.fixture(autouse=True)
    def _at(self, nats_server):
        self.url = nats_server.url

    def make(self, listen=""):
        name = listen.rpartition(".")[2]
        return Nats(self.url, name, cookie=self.cookie)

    def fresh_address(self):
        return f"subject://manifold.default.{next(numbers)}"
