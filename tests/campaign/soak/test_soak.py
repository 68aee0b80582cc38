"""A short soak, which is part of the tests; and that its judge finds what it is there to find."""

from __future__ import annotations

import copy

import pytest

from tests.campaign.soak.command import planned
from tests.campaign.soak.faults import FAULTS
from tests.campaign.soak.ledger import Ledger, read
from tests.campaign.soak.report import judge, slope, summed_up, text
from tests.campaign.soak.run import Record, soak

LENGTH_S = 4.0
DOWN_AFTER_S = 2.0


@pytest.mark.timeout(300)
def test_a_short_soak(tmp_path):
    record = soak(LENGTH_S, ["resize", "outbox filled", "kill", "connections cut"], 0, tmp_path, DOWN_AFTER_S)
    result = summed_up(record)
    assert result["verdict"]["ok"], text(result)
    assert [fault["kind"] for fault in result["faults"]] == ["resize", "outbox filled", "kill", "connections cut"]
    assert sum(node["handled"] for node in result["nodes"]) > 1_000


def good() -> Record:
    """Give what a good soak finds, of one node that lived through and one that was killed."""
    record = Record(0, {}, warm_s=60.0, ended_s=1260.0)
    record.samples = {"a": [(float(second), 30_000 + second % 7, 7, 38) for second in range(1300)]}
    record.held = {"a": {time: {"actors": 5, "monitors": 0} for time in ("start", "warm", "end")}}
    record.blocks = {"a": {"start": 90_000, "warm": 100_000, "end": 100_100}}
    counts = {"sent": 10, "delivered": 6, "dead": 1, "shed": 1, "unreachable": 2, "in_flight": 0}
    live = {"node": "a@1", "origin": 0, "stats": counts, "sent": 10, "handled": {0: 6}, "out of order": 0}
    killed = {"node": "c@2", "origin": 1, "stats": None, "handled": {0: 1}, "out of order": 0}
    record.ended = [live, killed]
    return record


def test_a_good_one_is_good():
    record = good()
    assert judge(record) == []
    assert "**ok**" in text(summed_up(record))


def leaks(record):
    record.held["a"]["end"]["monitors"] = 1


def grows(record):
    record.samples["a"] = [(at, kb + int(2 * at), *rest) for at, kb, *rest in record.samples["a"]]


def keeps_blocks(record):
    record.blocks["a"]["end"] = 110_000


def loses(record):
    record.ended[0]["handled"] = {0: 4}


def doubles(record):
    record.ended[0]["handled"] = {0: 9}


def reorders(record):
    record.ended[1]["out of order"] = 1


def forgets(record):
    record.ended[0]["stats"]["sent"] = record.ended[0]["sent"] = 11


def counts_what_nobody_sent(record):
    record.ended[0]["stats"] |= {"sent": 11, "dead": 2}


def never_settles(record):
    record.ended[0]["stats"] |= {"dead": 0, "in_flight": 1}


def is_not_counted(record):
    del record.held["a"]["end"]


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (leaks, "1 monitors when end, 0 at the start"),
        (grows, "grows by 120"),
        (keeps_blocks, "110,000 blocks"),
        (loses, "were handled"),
        (doubles, "were handled"),
        (reorders, "1 messages doubled or out of order"),
        (forgets, "does not account for all"),
        (counts_what_nobody_sent, "counts 11 as sent, which were 10"),
        (never_settles, "1 in flight"),
        (is_not_counted, "not counted at the end"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_finds(breaks, said):
    record = good()
    breaks(record)
    wrong = judge(record)
    assert len(wrong) == 1, wrong
    assert said in wrong[0]
    assert f"- {wrong[0]}" in text(summed_up(record))


def test_what_was_wrong_on_the_way_is_told():
    record = copy.deepcopy(good())
    record.wrong.append("7 s: kill of c: the nodes do not see each other")
    assert judge(record) == record.wrong


def test_a_slope_is_by_the_minute():
    assert slope([(0, 100), (60, 110), (120, 120)]) == pytest.approx(10)


def test_the_plan_has_all_kinds_by_turns():
    kinds = planned(30, seed=0)
    assert set(kinds[:8]) == set(kinds[8:16]) == set(FAULTS)
    assert kinds != planned(30, seed=1)


def test_a_ledger_outlives_its_writer(tmp_path):
    path = str(tmp_path / "ledger")
    ledger = Ledger(path)
    for origin in (0, 3, 3):
        ledger.handled(origin)
    ledger.out_of_order()
    assert read(path) == ({0: 1, 3: 2}, 1)
