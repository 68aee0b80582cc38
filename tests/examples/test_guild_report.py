"""`report`: the figures add up, and a fault cannot hide."""

from __future__ import annotations

import pytest

from examples.guild_presence.logs.report import FIGURES, GuildReport, Report, as_text, verdict

GOOD = {"lines": 10, "events": 8, "deliveries_expected": 30, "deliveries": 30}


def test_the_json_has_its_names_and_sums() -> None:
    report = Report([GuildReport("a", **GOOD), GuildReport("b", **GOOD)], seconds=0.5)
    assert report.as_json() == {
        "guilds": 2,
        "lines": 20,
        "events": 16,
        "ignored": 4,
        "deliveries_expected": 60,
        "deliveries": 60,
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
        "seconds": 0.5,
        "deliveries_per_s": 120,
        "nodes": 1,
        "handoffs": 0,
    }


def test_an_empty_report() -> None:
    assert Report().as_json()["deliveries_per_s"] == 0
    assert Report().flawless


@pytest.mark.parametrize("fault", [{"lost": 1}, {"duplicated": 1}, {"reordered": 1}, {"deliveries": 29}])
def test_one_fault_is_enough(fault: dict[str, int]) -> None:
    report = Report([GuildReport("a", **GOOD), GuildReport("b", **(GOOD | fault))], seconds=0.5)
    assert not report.flawless
    assert verdict(report).startswith("FAULTS: ")


def test_what_no_session_accounts_for_is_lost() -> None:
    guild = GuildReport("a", deliveries_expected=30, lost=30)
    guild.account((20, 20, 0, 0, 0))
    assert (guild.deliveries, guild.lost) == (20, 10)
    guild.account((10, 11, 1, 2, 3))
    assert (guild.deliveries, guild.lost, guild.duplicated, guild.reordered) == (31, 1, 2, 3)


def test_trouble_with_a_node_is_no_good_end() -> None:
    report = Report([GuildReport("a", **GOOD)], troubles=["node-2 was killed by SIGKILL"])
    assert not report.flawless
    assert verdict(report).endswith(
        "0 reordered; +0 deliveries against what the rules give; node-2 was killed by SIGKILL."
    )


def test_faults_do_not_cancel_out() -> None:
    one, other = GOOD | {"deliveries": 29}, GOOD | {"deliveries": 31}
    assert not Report([GuildReport("a", **one), GuildReport("b", **other)]).flawless
    assert not Report([GuildReport("a", **GOOD, lost=1, duplicated=1)]).flawless


def test_the_plain_summary_reads_well() -> None:
    text = as_text(Report([GuildReport("a.log", **GOOD)], seconds=0.5))
    head, row, total, blank, speed, well = text.split("\n")
    assert head.split() == ["guild", *FIGURES]
    assert row.split() == ["a.log", "10", "8", "2", "30", "30", "0", "0", "0"]
    assert total.split()[0] == "all"
    assert len(head) == len(row) == len(total)
    assert not blank
    assert speed.startswith("30 deliveries of 8 events in 0.500 s: 60 a second")
    assert well.startswith("Nothing lost")


def test_the_plain_summary_tells_of_nodes() -> None:
    text = as_text(Report([GuildReport("a.log", **GOOD)], seconds=0.5, nodes=3, handoffs=1234))
    assert "60 a second on 3 nodes, with 1,234 hand-offs between them" in text
