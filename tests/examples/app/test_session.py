"""A session between a wire and a guild that only record: each event goes out once, in order, whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import manifold
from examples.guild_presence.app import session as session_module
from examples.guild_presence.app.overview import OVERVIEW
from examples.guild_presence.app.session import COMMANDS, Session
from tests.cluster.support import until
from tests.support import spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH, SEQ = 7, 100


class Told:
    """A wire that keeps what a session does to it; the frames are the messages themselves."""

    def __init__(self) -> None:
        self.pushed: list[dict[str, Any]] = []
        self.ended: list[int] = []

    def push(self, frame: dict[str, Any]) -> None:
        if frame.get("text") == "fail":
            raise RuntimeError("a wire that fails")
        self.pushed.append(frame)

    def end(self, code: int, reason: str) -> None:
        self.ended.append(code)

    def of(self, message: dict[str, Any]) -> dict[str, Any]:
        return message


class Scene:
    """A session, the actor that it takes for its guild, and its wire."""

    def __init__(self, node: manifold.Node, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.guild, self._probe = spawn(node, 2)
        self.wire = Told()
        monkeypatch.setattr(session_module, "find_guild", lambda _name: self.guild.pid)
        monkeypatch.setattr(session_module, "RETRY_S", 600.0)  # it asks again when a test says so

    def start(self, since: tuple[int, int] | None = None) -> None:
        self.pid = self.node.spawn(Session, self.wire, self.wire, "ann", "lobby", since)
        self.settle()

    def settle(self) -> None:
        """Wait until all that was sent is handled: there is one worker."""
        for _ in range(3):
            self.node.ask(self._probe.pid, "there?").get(timeout=20)

    def tell(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.node.send(self.pid, message)
        self.settle()

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What the guild was sent since the last look."""
        self.settle()
        heard, self.guild.got[:] = list(self.guild.got), []
        return heard

    def snapshot(self, seq: int = SEQ, epoch: int = EPOCH) -> dict[str, Any]:
        return self.welcome("SNAPSHOT", seq, epoch)

    def welcome(self, kind: str, seq: int, epoch: int = EPOCH, missed: list[Any] | None = None) -> dict[str, Any]:
        return {"welcome": {"t": kind, "epoch": epoch, "seq": seq}, "home": self.guild.pid, "missed": missed or []}

    @property
    def seen(self) -> list[Any]:
        """What went out: the numbers of events, and the kinds of all else."""
        return [m["seq"] if m["t"] == "EVENT" else m["t"] for m in self.wire.pushed]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with manifold.Node("gateway-1", workers=1) as node:
        yield Scene(node, monkeypatch)


def event(seq: int, epoch: int = EPOCH, **what: Any) -> dict[str, Any]:
    return {"t": "EVENT", "epoch": epoch, "seq": seq, **what}


def test_it_knocks_and_passes_on_what_it_gets(scene: Scene) -> None:
    scene.start()
    assert scene.heard == [{"op": "join", "session": scene.pid, "user": "ann", "status": "online", "since": None}]
    scene.tell(scene.snapshot(), event(101), event(102), {"t": "ERROR", "text": "no"}, event(103))
    assert scene.seen == ["SNAPSHOT", 101, 102, "ERROR", 103]
    assert scene.heard == []


def test_the_welcome_comes_first_even_if_an_event_that_would_be_due_comes_before(scene: Scene) -> None:
    scene.start(since=(EPOCH, 98))
    scene.tell(event(99), scene.welcome("RESUMED", 98, missed=[event(99), event(100)]), event(101))
    assert scene.seen == ["RESUMED", 99, 100, 101]


def test_who_cannot_go_on_begins_afresh(scene: Scene) -> None:
    scene.start(since=(EPOCH, 3))
    assert scene.heard[0]["since"] == (EPOCH, 3)
    scene.tell(scene.snapshot(100), event(4), event(101))
    assert scene.seen == ["SNAPSHOT", 101]


def test_what_comes_twice_goes_out_once(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), event(101), event(101), event(100), event(102), event(101))
    assert scene.seen == ["SNAPSHOT", 101, 102]
    assert len(scene.heard) == 1


def test_a_gap_makes_it_ask_again_once_with_what_it_has(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), event(101), event(104), event(105))
    first, again = scene.heard
    assert again == {**first, "since": (EPOCH, 101)}
    scene.tell(scene.welcome("RESUMED", 101, missed=[event(n) for n in (102, 103, 104, 105)]), event(106))
    assert scene.seen == ["SNAPSHOT", 101, 102, 103, 104, 105, 106]


def test_a_gap_that_nobody_can_fill_makes_it_begin_afresh(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), event(999), scene.snapshot(999), event(1000))
    assert scene.seen == ["SNAPSHOT", "SNAPSHOT", 1000]


def test_a_second_answer_to_the_same_question_says_nothing(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), scene.snapshot(), event(101), scene.snapshot(101), event(102))
    scene.tell(scene.welcome("RESUMED", 100, missed=[event(101), event(102)]))
    assert scene.seen == ["SNAPSHOT", 101, 102]


def test_of_another_epoch_it_takes_the_snapshot_alone(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), event(101, epoch=8), scene.snapshot(5, epoch=8), event(102), event(6, epoch=8))
    scene.tell(scene.welcome("RESUMED", 100, EPOCH, [event(101), event(102)]), event(7, epoch=8))
    assert scene.seen == ["SNAPSHOT", "SNAPSHOT", 6, 7]
    assert [message["epoch"] for message in scene.wire.pushed] == [7, 8, 8, 8]


def test_it_asks_until_there_is_an_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "RETRY_S", 0.05)
    scene.start(since=(EPOCH, 5))
    assert until(lambda: len(scene.guild.got) >= 3)
    scene.tell(scene.snapshot())
    asked = scene.heard
    assert all(each == asked[0] for each in asked)
    scene.tell({"op": "retry"})  # one that was under way
    assert scene.heard == []


def test_a_stranger_comes_back_with_its_status_and_its_name(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), {"t": "RENAMED", "user": "zoe"}, {"op": "status", "status": "idle"}, event(101))
    assert scene.heard[1:] == [{"op": "status", "status": "idle", "session": scene.pid}]
    scene.tell({"t": "STRANGER"})
    assert scene.heard == [{"op": "join", "session": scene.pid, "user": "zoe", "status": "idle", "since": (EPOCH, 101)}]


def test_the_client_hears_when_what_it_said_may_be_lost(scene: Scene) -> None:
    scene.start()
    resumed = scene.welcome("RESUMED", 101, missed=[event(102), event(103)])
    scene.tell(scene.snapshot(), event(101), {"t": "STRANGER"}, event(102), resumed, event(104))
    assert scene.seen == ["SNAPSHOT", 101, 102, "RESUMED", 103, 104]
    assert scene.wire.pushed[3]["seq"] == 102
    scene.tell(event(106), scene.welcome("RESUMED", 104, missed=[event(105), event(106)]))  # a gap loses no op
    assert scene.seen[6:] == [105, 106]


def test_when_the_guild_ends_it_knocks_at_the_next_one(scene: Scene) -> None:
    scene.start()
    old, new = spawn(scene.node, 2)
    scene.tell({**scene.snapshot(), "home": old.pid}, {**scene.welcome("RESUMED", SEQ), "home": new.pid})
    assert len(scene.heard) == 1
    old.stop()  # from there it has moved already
    scene.settle()
    assert scene.heard == []
    new.stop()
    scene.settle()
    (knock,) = scene.heard
    assert knock["since"] == (EPOCH, SEQ)
    scene.tell(scene.snapshot(1, epoch=9), event(2, epoch=9))
    assert scene.seen == ["SNAPSHOT", "SNAPSHOT", 2]


def test_who_has_left_never_knocks_again(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), {"t": "LEFT"})
    assert scene.wire.ended == [1000]
    assert len(scene.heard) == 1
    scene.tell({"t": "STRANGER"}, {"op": "retry"}, event(105))
    assert scene.heard == []


def test_a_session_that_fails_closes_its_socket(scene: Scene) -> None:
    scene.start()
    scene.tell(scene.snapshot(), event(101, text="fail"))
    assert scene.wire.ended == [1011]
    assert scene.node.stats().actors == 2  # the guild and the probe


def test_one_that_is_gone_leaves_nothing(scene: Scene) -> None:
    scene.start()
    scene.tell({"op": "gone"})
    assert scene.node.stats().actors == 2
    assert len(scene.heard) == 1
    assert until(lambda: scene.node._timers._pending == 0)


def test_what_is_for_others_goes_to_them(scene: Scene) -> None:
    scene.start()
    overview, commands = spawn(scene.node, 2)
    for name, actor in ((OVERVIEW, overview), (COMMANDS, commands)):
        manifold.register(name, actor.pid).get()
    scene.tell({"op": "overview", "on": True}, {"op": "command", "do": "add", "node": "gateway"})
    scene.tell({"op": "refused", "text": "no"}, {"t": "RESULT", "ok": True, "text": "yes"})
    assert until(lambda: overview.got and commands.got)
    assert overview.got == [{"op": "overview", "on": True, "session": scene.pid}]
    assert commands.got == [{"op": "command", "do": "add", "node": "gateway", "session": scene.pid}]
    assert scene.wire.pushed == [{"t": "ERROR", "text": "no"}, {"t": "RESULT", "ok": True, "text": "yes"}]


def test_without_a_guild_node_it_says_so_and_goes_on_asking(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    scene.start()  # for the real guild, of which this node is none
    scene.tell({"op": "typing"})
    assert scene.wire.pushed[-1]["text"] == "there is no guild node: not done"


def test_word_of_an_event_that_did_not_come_makes_it_ask_again(scene: Scene) -> None:
    scene.start()
    latest = {"t": "LATEST", "epoch": EPOCH, "latest": 101}
    scene.tell(scene.snapshot(), event(101), latest, {**latest, "latest": 102, "epoch": EPOCH + 1})
    assert len(scene.heard) == 1
    scene.tell({**latest, "latest": 102}, {**latest, "latest": 103})
    assert [op["since"] for op in scene.heard] == [(EPOCH, 101)]
    assert scene.seen == ["SNAPSHOT", 101]
