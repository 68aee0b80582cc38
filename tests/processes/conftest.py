"""A node with two worker processes, shared by the tests of a module."""

from __future__ import annotations

import pytest

import manifold


@pytest.fixture(scope="module")
def node():
    node = manifold.Node("procs", worker_kind="process", workers=2)
    yield node
    node.stop()
