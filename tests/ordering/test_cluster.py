"""Three nodes that stay alive, one of them on an event loop; senders of every kind on each, every form of send, while
audiences change, workers come and go, actors crash and end, connections break: nothing is lost, doubled or reordered,
and all is counted.
"""

from __future__ import annotations

import logging
import threading

import pytest

import manifold
from manifold.testing import HUB
from tests.cluster.support import Nodes
from tests.ordering.play import SEED, TIMES, Play
from tests.ordering.proxy import Proxies

SENDS = 400 * TIMES
"""Of each sender, at least; about 25 deliveries each, from 12 senders."""
BREAKS = 30 * TIMES
"""How many times a connection breaks, at least."""

pytestmark = pytest.mark.timeout(120 * TIMES)

LIMITS = manifold.Limits(node_down_after_s=30.0, stop_grace_s=10.0)


class Steady:
    """No trouble."""

    count = BREAKS

    def change(self, random):
        pass

    def heal(self):
        pass


class Cuts:
    """Cuts connections of the memory transport, one at a time."""

    def __init__(self, play):
        self.play = play
        self.count = 0
        self._lock = threading.Lock()
        self._cut = None

    def change(self, random):
        with self._lock:
            if not self.heal():
                one, other = random.sample(self.play.casts, 2)
                self._cut = one.node.address, other.node.address
                HUB.cut(*self._cut)
                self.count += 1

    def heal(self):
        cut, self._cut = self._cut, None
        if cut is not None:
            HUB.heal(*cut)
        return cut is not None


class Breaks:
    """Breaks connections of TCP: of all that a node has accepted; or lets nothing through for a while."""

    def __init__(self, proxies):
        self.proxies = proxies

    @property
    def count(self):
        return sum(proxy.broken for proxy in self.proxies.made)

    def change(self, random):
        proxy = random.choice(self.proxies.made)
        if random.random() < 0.7:
            proxy.break_all()
        else:
            proxy.stall(random.choice([0.01, 0.1, 0.3]))

    def heal(self):
        pass


@pytest.fixture(params=["memory, cut", "tcp", "tcp, broken", "nats"])
def troubled(request, caplog, monkeypatch):
    """A play, and what troubles its connections."""
    caplog.set_level(logging.CRITICAL, logger="pykka")
    caplog.set_level(logging.CRITICAL, logger="manifold")
    proxies = Proxies(monkeypatch) if request.param == "tcp, broken" else None
    transport = request.param.partition(",")[0]
    nodes = Nodes(request.getfixturevalue("nats_server").url if transport == "nats" else transport)
    cookie = "of all three" if proxies else None
    play = Play(nodes, "ab", members=12, crashing=2, limits=LIMITS, cookie=cookie)
    play.enter("c", worker_kind="loop", workers=1)
    trouble = Breaks(proxies) if proxies else Cuts(play) if request.param == "memory, cut" else Steady()
    yield play, trouble
    trouble.heal()
    play.close()
    if proxies:
        proxies.close()


def test_everything_arrives_once_and_in_order_between_nodes_that_live(troubled):
    play, trouble = troubled

    def disturb(source):
        draw = source.random.random()
        cast = source.random.choice(play.casts)
        if draw < 0.2:
            cast.resize(source.random)
        elif draw < 0.6:
            trouble.change(source.random)
        elif draw < 0.8:
            play.watching.say(cast)
        else:
            play.watching.part(cast)

    play.disturb = disturb
    play.wait(play.go(SENDS))
    while trouble.count < BREAKS:
        play.wait(play.go(SENDS // 10))
    trouble.heal()
    play.verify()
    for cast in play.casts:
        stats = cast.node.stats()
        assert stats.unreachable == 0, play.note()
    assert play.checker.total > 100_000 * TIMES, f"seed {SEED}: {play.checker.total}"
