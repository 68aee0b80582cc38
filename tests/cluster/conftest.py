from __future__ import annotations

import logging

import pytest

from tests.cluster.support import Lines, Nodes


@pytest.fixture(params=["memory", "tcp", "nats"])
def nodes(request):
    made = Nodes(request.getfixturevalue("nats_server").url if request.param == "nats" else request.param)
    yield made
    made.close()


@pytest.fixture(params=["memory", "tcp"])
def joining_nodes(request):
    """For what is about addresses that are joined."""
    made = Nodes(request.param)
    yield made
    made.close()


@pytest.fixture
def memory_nodes():
    made = Nodes("memory")
    yield made
    made.close()


@pytest.fixture
def tcp_nodes():
    made = Nodes("tcp")
    yield made
    made.close()


@pytest.fixture
def lines():
    handler = Lines()
    logging.getLogger("manifold").addHandler(handler)
    yield handler.lines
    logging.getLogger("manifold").removeHandler(handler)
