from __future__ import annotations

import logging

import pytest

from tests.cluster.support import Lines, Nodes


@pytest.fixture(params=["memory", "tcp"])
def transport(request):
    return request.param


@pytest.fixture
def nodes(transport):
    made = Nodes(transport)
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
