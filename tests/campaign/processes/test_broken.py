"""That the campaign over real processes finds what is broken on purpose."""

from __future__ import annotations

import dataclasses

import pytest

from tests.campaign.cli import prepared
from tests.campaign.processes.plan import plan
from tests.campaign.processes.run import play
from tests.campaign.test_campaign import what_is_sent_again_is_taken_again


@pytest.fixture(autouse=True)
def quiet():
    with prepared():
        yield


def test_it_finds_what_is_broken(monkeypatch):
    """The driver's node forgets what it has taken: what was not acknowledged comes again when a connection breaks."""
    what_is_sent_again_is_taken_again(monkeypatch)
    steps = ("stall", "cut", "cut") * 3
    plans = (
        dataclasses.replace(plan(seed, "zeromq"), children=1, is_tight=False, steps=steps) for seed in (3, 4, 6, 7)
    )
    assert any("duplicated" in line for what in plans for line in play(what).wrong)
