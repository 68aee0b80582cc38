"""The command line of the campaign: what it keeps, sums and exits with."""

from __future__ import annotations

import json

import pytest

from tests.campaign import cli
from tests.campaign.state import Result, Sums, append, load
from tests.campaign.table import rows

PLAYED: list[int] = []


def played(seed):
    PLAYED.append(seed)
    wrong = [f"{seed} is odd"] if seed % 10 == 9 else []
    return Result(seed, wrong, {"kill": 1}, {"sent": 5, "delivered": 3, "dead": 2}, "digest")


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    PLAYED.clear()
    monkeypatch.setitem(cli.RUNS, "sim", lambda _: played)


def test_it_sums_up_and_exits_with_0(capsys):
    assert cli.main(["sim", "--schedules", "5", "--seed", "3"]) == 0
    assert PLAYED == [3, 4, 5, 6, 7]
    said = capsys.readouterr().out
    assert "FAILED" not in said
    assert "fault: kill" in said


def test_what_fails_is_told_with_its_seed_and_exits_with_1(capsys):
    assert cli.main(["sim", "--schedules", "10"]) == 1
    said = capsys.readouterr().out
    assert "FAILED: python -m tests.campaign sim --seed 9 --schedules 1\n  9 is odd" in said
    assert "seed 9: 9 is odd" in said


def test_it_goes_on_where_it_ended(tmp_path, capsys):
    file = tmp_path / "kept.jsonl"
    assert cli.main(["sim", "--schedules", "4", "--resume", str(file)]) == 0
    with file.open("a") as cut_short:
        cut_short.write('{"seed": 4, "wro')
    assert cli.main(["sim", "--schedules", "6", "--resume", str(file)]) == 0
    assert PLAYED == [0, 1, 2, 3, 4, 5]
    assert "4 were played before; 2 are left" in capsys.readouterr().out


def test_it_ends_when_its_time_is_over(capsys):
    assert cli.main(["sim", "--schedules", "50", "--minutes", "1e-9"]) == 0
    assert PLAYED == [0]


def test_what_is_kept_is_what_was_found(tmp_path):
    results = [played(seed) for seed in range(3)]
    for result in results:
        append(tmp_path / "kept", result)
    assert load(tmp_path / "kept") == results
    assert [json.loads(line)["seed"] for line in (tmp_path / "kept").read_text().splitlines()] == [0, 1, 2]


def test_the_table_says_what_is_not_accounted_for():
    sums = Sums()
    for seed in range(3):
        sums.add(played(seed))
    sums.add(Result(3, counts={"sent": 7, "lost": 1}))
    table = dict(rows(sums))
    assert table["schedules"] == "4"
    assert table["sent"] == "22"
    assert table["sent, and not accounted for"] == "7"
    assert (table["lost"], table["doubled"]) == ("1", "0")
