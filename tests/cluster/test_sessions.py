"""The numbers of sessions come from the clock on the wall, which may be wrong, and the same on many nodes."""

from __future__ import annotations

import pytest

import manifold
from manifold.surroundings import Process
from tests.cluster.support import Nodes, meet, quiet, record


class NoClock(Process):
    """A machine whose clock stands where it stood when it was made."""

    def time_ns(self):
        return 1


class Placed(manifold.Node):
    around = NoClock()


@pytest.fixture
def nodes(monkeypatch, place):
    monkeypatch.setattr(manifold, "Node", Placed)
    made = Nodes(place("tcp"))
    yield made
    made.close()


def test_nodes_without_a_clock_meet(nodes):
    """Each of them has the same numbers for its sessions with different others."""
    made = [nodes.node(name) for name in "abcdef"]
    meet(*made)
    got = [record(node) for node in made]
    for number, node in enumerate(made):
        node.send([one.pid for one in got], number)
    for node in made:
        assert quiet(node).delivered == len(made)
    assert all(sorted(one.got) == list(range(len(made))) for one in got)
