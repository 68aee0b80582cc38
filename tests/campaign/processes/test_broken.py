"""That the campaign over real processes finds what is broken on purpose."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from random import Random

import pytest

import manifold
from manifold.cluster.membership import _Queue
from tests.campaign.cli import prepared
from tests.campaign.processes.plan import limits, plan
from tests.campaign.processes.run import play
from tests.campaign.processes.stage import Stage
from tests.campaign.processes.theatre import FAULTS
from tests.campaign.test_campaign import what_is_sent_again_is_taken_again


@pytest.fixture(autouse=True)
def quiet():
    with prepared():
        yield


def test_it_finds_what_is_broken(monkeypatch):
    """The driver's node forgets what it has taken: what was not acknowledged comes again when a connection breaks."""
    what_is_sent_again_is_taken_again(monkeypatch)
    monkeypatch.setitem(FAULTS, "unheard", unheard)
    plans = (mild(seed, "unheard") for seed in range(10))
    assert any("duplicated" in line for what in plans for line in play(what).wrong)


def unheard(theatre, kind):
    """Break the connection by which the driver's node is sent to, while nobody hears what it has taken."""
    theatre._proxies["b"].stall(1.0)
    theatre._pass(0.5)
    theatre._proxies["a"].break_all()
    theatre._pass(0.5)


def test_it_finds_a_change_that_a_node_does_not_tell_of(monkeypatch):
    put = _Queue.put
    monkeypatch.setattr(_Queue, "put", lambda self, event: put(self, event) if event is None else None)
    monkeypatch.setattr("tests.campaign.processes.stage.HEARD_S", 0.1)  # it never will hear
    (wrong,) = play(mild(6, "cut")).wrong
    assert "told [] of [(" in wrong


def test_it_waits_for_the_task_that_listens(monkeypatch):
    """It is not the node's fault if the machine has no time for that task until all is over."""
    looked, heard, sum_up = threading.Event(), [], Stage._sum_up

    async def late(world, node):
        async for event in node.events():
            await asyncio.to_thread(looked.wait, 60.0)
            world.book.told(node.id, event.node, "" if isinstance(event, manifold.NodeUp) else event.reason)

    def look(stage):
        heard.append(sum_up(stage))
        looked.set()
        return heard[-1]

    monkeypatch.setattr("tests.campaign.processes.stage.listen", late)
    monkeypatch.setattr(Stage, "_sum_up", look)
    assert play(mild(6, "cut")).wrong == []
    assert (heard[0], heard[-1]) == (False, True)


def mild(seed, *steps):
    """Give a plan by which no node may lose another, however busy the machine is."""
    what = plan(seed, "zeromq")
    bounds = limits(Random(seed), is_grave=False, is_tight=False)
    return dataclasses.replace(what, children=1, is_tight=False, is_grave=False, limits=bounds, steps=steps)
