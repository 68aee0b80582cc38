"""The short campaign over real processes, which is part of the tests."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from tests.campaign.cli import prepared
from tests.campaign.plan import sizes
from tests.campaign.processes.plan import RELIEF, TROUBLES, plan
from tests.campaign.processes.run import play

GRAVE = ("cut", "long pause", "kill", "cut again and again")
OVER_NATS = ("cut", "server kill", "long pause", "kill", "server kill", "cut")
MILD = ("cut", "pause", "cut again and again", "clock jump", "cut")


@pytest.fixture(autouse=True)
def quiet():
    with prepared():
        yield


def short(transport, steps, **changes):
    """Give a plan that takes some seconds."""
    what = plan(3 if "kill" in steps else 1, transport)
    limits = what.limits | ({"node_down_after_s": 0.8} if what.is_grave else {})
    return dataclasses.replace(what, children=1, steps=steps, limits=limits, troubles=TROUBLES + RELIEF, **changes)


def played(what):
    result = play(what)
    assert not result.wrong, "\n".join(map(str, [what, *result.wrong]))
    counts = result.counts
    assert counts["sent"] == sum(counts[name] for name in ("delivered", "dead", "shed", "unreachable"))
    assert counts["delivered"] > 100
    assert counts["lost"] == counts["doubled"] == counts["reordered"] == 0
    return result


@pytest.mark.parametrize(
    ("transport", "steps", "errors"), [("zeromq", GRAVE, "full disk"), ("nats", OVER_NATS, "broken pipe")]
)
def test_nodes_that_are_killed_cut_off_and_stopped(transport, steps, errors):
    result = played(short(transport, steps, errors=errors))
    assert result.faults["kill"] == 1
    assert result.counts["unreachable"]


def test_nodes_that_have_too_much_to_do_and_lose_nobody():
    what = short("zeromq", MILD, errors="full pipe", is_tight=True)
    result = played(dataclasses.replace(what, limits=what.limits | sizes(Random(0))))
    assert result.counts["connections cut"]
    assert result.counts["overloads"]
    assert result.counts["shed"]
    assert not result.counts["unreachable"]
