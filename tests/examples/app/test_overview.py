"""What the overview makes of the beats of nodes: rates, states, and the ring as a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from xxhash import xxh3_64_intdigest

import manifold
from examples.guild_presence.app import overview as overview_module
from examples.guild_presence.app.overview import DEGREES, OVERVIEW, Overview, _Drawn, _samples, start_pulse
from examples.guild_presence.app.tally import guilds_here
from tests.cluster.support import until
from tests.support import Recorder, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_there_is_a_key_for_each_degree() -> None:
    places = [xxh3_64_intdigest(key.encode()) * DEGREES >> 64 for key in _samples()]
    assert places == list(range(DEGREES))


@pytest.mark.parametrize("names", [[], ["a"], ["b", "a"], [f"guilds-{number}" for number in range(7)]], ids=len)
def test_a_ring_as_a_circle(names: list[str]) -> None:
    drawn = _Drawn(manifold.Ring(names))
    assert [name for name, _ in drawn.shares] == sorted(names)
    assert sum(share for _, share in drawn.shares) == pytest.approx(1.0 if names else 0.0)
    assert len(drawn.arcs) == (DEGREES if names else 0)
    for index, (_, share) in enumerate(drawn.shares):
        assert drawn.arcs.count(index) / DEGREES == pytest.approx(share, abs=0.1)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[manifold.Node]:
    monkeypatch.setattr(overview_module, "PULSE_S", 0.05)
    with manifold.Node("guilds-1", workers=1, roles=("guild",)) as node:
        yield node


def look(node: manifold.Node) -> tuple[manifold.PID, Recorder]:
    overview = node.spawn(Overview)
    manifold.register(OVERVIEW, overview).get()
    (looks,) = spawn(node, 1)
    node.send(overview, {"op": "overview", "on": True, "session": looks.pid})
    return overview, looks


def latest(looks: Recorder, name: str) -> dict[str, Any] | None:
    return next((each for each in looks.got[-1]["nodes"] if each["name"] == name), None) if looks.got else None


def busy_looks(looks: Recorder) -> list[dict[str, Any]]:
    return [each for each in looks.got if each["events_per_s"] > 0]


async def test_a_node_that_beats_is_up_and_its_figures_are_rates(node: manifold.Node) -> None:
    overview, looks = look(node)
    await start_pulse(node, "guild")
    guilds_here.enter("lobby")
    try:
        assert until(lambda: (latest(looks, "guilds-1") or {}).get("guilds") == ["lobby"])
        assert until(lambda: guilds_here.count(100, 0) or busy_looks(looks))
    finally:
        guilds_here.leave("lobby")
    busy = busy_looks(looks)[0]
    assert busy["events_per_s"] == sum(each["events_per_s"] for each in busy["nodes"] if each["role"] == "guild")
    assert busy["handoffs_per_event"] == pytest.approx(0.0, abs=0.1)  # of what went to nobody
    assert busy["rings"] == {"gateway": [], "guild": [["guilds-1", 1.0]]}
    assert busy["arcs"] == {"gateway": [], "guild": [0] * DEGREES}
    node.send(overview, {"op": "stopping", "name": "guilds-1"})
    node.send(overview, {"op": "stopping", "name": "nobody"})
    assert until(lambda: latest(looks, "guilds-1")["state"] == "stopping")  # type: ignore[index]
    node.send(overview, {"op": "overview", "on": False, "session": looks.pid})
    node.ask(looks.pid, {"nodes": []}).get()
    node.ask(node.spawn(Recorder), "").get()


def test_a_node_that_died_is_shown_for_a_while(node: manifold.Node, monkeypatch: pytest.MonkeyPatch) -> None:
    overview, looks = look(node)
    beat = {
        "name": "gateway-1",
        "id": "gateway-1@dead",
        "role": "gateway",
        "url": "http://there",
        "pid": 1,
        "sessions": 7,
        "guilds": [],
        "guild_count": 0,
        "figures": {"delivered": 5, "events": 0, "event_handoffs": 0},
    }
    node.send(overview, {"op": "beat", "beat": beat})
    assert until(lambda: latest(looks, "gateway-1"))
    shown = latest(looks, "gateway-1")
    assert shown is not None
    assert (shown["state"], shown["sessions"], shown["url"], shown["pid"]) == ("down", 0, "http://there", 1)
    assert (shown["deliveries_per_s"], shown["handoffs_per_event"]) == (0.0, None)
    monkeypatch.setattr(overview_module, "FORGET_S", 0.0)
    assert until(lambda: latest(looks, "gateway-1") is None)


def test_who_does_not_look_is_told_nothing(node: manifold.Node) -> None:
    overview, looks = look(node)
    assert until(lambda: looks.got)
    node.send(overview, {"op": "overview", "on": False, "session": looks.pid})
    node.ask(node.spawn(Recorder), "").get()
    told = len(looks.got)
    (other,) = spawn(node, 1)
    node.send(overview, {"op": "overview", "on": True, "session": other.pid})
    assert until(lambda: len(other.got) >= 2)
    assert len(looks.got) == told


def test_the_last_figures_of_a_node_that_died_count_no_more(node: manifold.Node) -> None:
    overview, looks = look(node)
    about = {"role": "guild", "url": None, "pid": 1, "sessions": 0, "guilds": [], "guild_count": 0}
    for name, identity, handoffs in (("guilds-1", node.id, 1), ("guilds-2", "guilds-2@dead", 9)):
        for events in (1, 2):
            figures = {"delivered": 0, "events": events, "event_handoffs": handoffs * events}
            beat = {**about, "name": name, "id": identity, "figures": figures}
            node.send(overview, {"op": "beat", "beat": beat})
    assert until(lambda: latest(looks, "guilds-2"))
    assert looks.got[-1]["events_per_s"] > 0
    assert looks.got[-1]["handoffs_per_event"] == pytest.approx(1.0)
