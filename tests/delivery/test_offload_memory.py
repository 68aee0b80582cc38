"""What was offloaded is let go of when it is done, and not when there is something else to do."""

from __future__ import annotations

import weakref

import manifold
from tests.cluster.support import until


class Deaf(manifold.Actor):
    """Keeps nothing."""


class Thing:
    """What is sent: it can be seen to be gone."""


def test_nothing_is_kept_of_the_last_offloaded_send():
    with manifold.Node(workers=1) as node:
        thing = Thing()
        gone = weakref.ref(thing)
        node.send([node.spawn(Deaf)], thing, send_mode="offload")
        del thing
        assert until(lambda: gone() is None)
