"""`actors` and `replay` on a running node: nothing lost, and what goes wrong is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manifold
from examples.guild_presence.logs.log import read_lines
from examples.guild_presence.logs.traffic import make_up
from examples.guild_presence.replay.actors import Session
from examples.guild_presence.replay.driver import BATCH_LINES, How, replay
from examples.guild_presence.replay.ledger import Ledger
from examples.guild_presence.replay.messages import FAREWELL
from tests.examples.by_hand import REAL_LOGS, needs_real_logs
from tests.examples.replaying import assert_as_by_hand, both_ways, run
from tests.examples.sample_logs import EVERY_CASE, RECIPIENTS, logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.guild_presence.logs.report import Report


@both_ways
def test_every_case(*, plain_list: bool) -> None:
    report = run({"a": EVERY_CASE}, plain_list=plain_list)
    recipients = [number for number in RECIPIENTS if number is not None]
    assert report.as_json() | {"seconds": 0, "deliveries_per_s": 0} == {
        "guilds": 1,
        "lines": len(EVERY_CASE),
        "events": len(recipients),
        "ignored": RECIPIENTS.count(None),
        "deliveries_expected": sum(recipients),
        "deliveries": sum(recipients),
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
        "seconds": 0,
        "deliveries_per_s": 0,
        "nodes": 1,
        "handoffs": 0,
    }
    assert report.seconds > 0
    assert report.deliveries_per_s > 0


@both_ways
def test_made_up_guilds(*, plain_list: bool) -> None:
    guilds = make_up(8, 120, 1500, seed=5)
    assert_as_by_hand(run(guilds, plain_list=plain_list), guilds)


@both_ways
def test_a_guild_of_many(*, plain_list: bool) -> None:
    guilds = make_up(1, 700, 100, seed=5)
    assert_as_by_hand(run(guilds, plain_list=plain_list, workers=1), guilds)


@both_ways
@pytest.mark.parametrize("workers", [1, 3])
def test_workers(workers: int, *, plain_list: bool) -> None:
    guilds = make_up(4, 60, 600, seed=6)
    assert_as_by_hand(run(guilds, plain_list=plain_list, workers=workers), guilds)


def test_every_replay_starts_from_an_empty_room() -> None:
    guilds = {"a": EVERY_CASE, "b": ["=== ann has joined #x", "=== bob has left #x"]}
    assert_as_by_hand(run(guilds, repeat=3), guilds, repeat=3)


def test_a_log_without_an_event() -> None:
    report = run({"a": ["", "nothing here"]})
    assert report.flawless
    assert (report.total("lines"), report.total("ignored"), report.total("deliveries")) == (2, 2, 0)


def test_the_clock_of_the_log_is_kept() -> None:
    report = run({"a": ["[23:59] <ann> hi", "[00:01] <ann> hi"]}, speed=400)
    assert report.seconds >= 2 * 60 / 400
    assert report.total("deliveries") == 2


def test_progress_is_told_for_every_line() -> None:
    guilds = make_up(3, 40, BATCH_LINES * 3, seed=7)
    told: dict[str, int] = dict.fromkeys(guilds, 0)
    sent = []

    def on_step(name: str, lines: int, step: Any) -> None:
        told[name] += lines
        sent.append(step["sent"])

    report = replay(guilds, How(repeat=2), on_step)
    assert told == {name: 2 * len(lines) for name, lines in guilds.items()}
    assert sum(sent) == report.total("deliveries_expected")


@given(given_logs=st.lists(logs, min_size=1, max_size=3), plain_list=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_logs(given_logs: list[list[str]], *, plain_list: bool) -> None:
    guilds = {str(number): lines for number, lines in enumerate(given_logs)}
    assert_as_by_hand(run(guilds, plain_list=plain_list), guilds)


@needs_real_logs
@both_ways
def test_the_real_logs(*, plain_list: bool) -> None:
    guilds = {path.name: read_lines(path) for path in REAL_LOGS}
    assert_as_by_hand(run(guilds, plain_list=plain_list), guilds)


@pytest.fixture
def node() -> Iterator[manifold.Node]:
    yield manifold.start(workers=1)
    manifold.stop()


@pytest.mark.parametrize(
    ("arrived", "tally"),
    [
        ([2, 3, 4], (3, 3, 0, 0, 0)),
        ([2, 4], (3, 2, 1, 0, 0)),
        ([2, 3], (3, 2, 1, 0, 0)),
        ([], (3, 0, 3, 0, 0)),
        ([2, 3, 3, 4], (3, 4, 0, 1, 0)),
        ([2, 4, 3], (3, 3, 0, 0, 1)),
    ],
)
@pytest.mark.usefixtures("node")
def test_a_session_enters_what_it_got_and_stops(arrived: list[int], tally: tuple[int, ...]) -> None:
    ledger = Ledger()
    session = Session.start("a", ledger).pid
    for seq in arrived:
        manifold.send(session, {"t": "MESSAGE", "seq": seq, "nick": "ann", "text": "hi"})
    farewell = manifold.send(session, {"t": FAREWELL, "spans": {session.id: (2, 4)}}, receipt=True)
    assert farewell is not None
    farewell.get(timeout=10)
    assert ledger.sums() == {"a": tally}
    with pytest.raises(pykka.ActorDeadError):
        manifold.ask(session, {"t": "MESSAGE", "seq": 5}).get(timeout=10)


def test_a_ledger_keeps_guilds_apart() -> None:
    ledger = Ledger()
    ledger.add("a", (1, 1, 0, 0, 0))
    ledger.add("b", (2, 1, 1, 0, 0))
    ledger.add("a", (3, 2, 1, 1, 1))
    assert ledger.sums() == {"a": (4, 3, 1, 1, 1), "b": (2, 1, 1, 0, 0)}


def tampered(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> Report:
    """Replay with a `send` that does something wrong with every tenth event."""
    send = manifold.send

    def tampering(to: Any, message: Any, **options: Any) -> Any:
        if message.get("seq", 0) % 10 == 9:
            return wrong(send, to, message)
        return send(to, message, **options)

    monkeypatch.setattr(manifold, "send", tampering)
    return run({"a": [f"[09:00] <user{number % 7}> hi" for number in range(200)]})


def test_lost_events_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    report = tampered(monkeypatch, lambda _send, _to, _message: None)
    lost = report.total("deliveries_expected") - report.total("deliveries")
    assert not report.flawless
    assert report.total("lost") == lost == 20 * 7


def test_doubled_events_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    report = tampered(monkeypatch, lambda send, to, message: (send(to, message), send(to, message)))
    doubled = report.total("deliveries") - report.total("deliveries_expected")
    assert not report.flawless
    assert report.total("duplicated") == doubled == 20 * 7


def test_reordered_events_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Any] = []
    send = manifold.send

    def swapping(to: Any, message: Any, **options: Any) -> Any:
        if message.get("seq", 0) % 10 == 9:
            held.append(message)
            return None
        sent = send(to, message, **options)
        if held:
            send(to, held.pop())
        return sent

    monkeypatch.setattr(manifold, "send", swapping)
    report = run({"a": [f"[09:00] <user{number % 7}> hi" for number in range(200)]})
    assert not report.flawless
    assert (report.total("reordered"), report.total("lost"), report.total("duplicated")) == (20 * 7, 0, 0)


@both_ways
def test_a_session_that_dies_has_lost_what_was_for_it(monkeypatch: pytest.MonkeyPatch, *, plain_list: bool) -> None:
    on_receive = Session.on_receive

    def fragile(self: Session, message: dict[str, Any]) -> Any:
        if message["t"] == "JOIN" and message["seq"] == 3:
            monkeypatch.setattr(Session, "on_receive", on_receive)
            raise SystemExit
        return on_receive(self, message)

    monkeypatch.setattr(Session, "on_receive", fragile)
    report = run({"a": [f"=== {nick} has joined #x" for nick in "abcdef"]}, plain_list=plain_list, workers=1)
    assert not report.flawless
    assert report.total("lost") in {6, 5, 4}
    assert report.total("deliveries") == report.total("deliveries_expected") - report.total("lost")
