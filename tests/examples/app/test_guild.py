"""A guild and sessions that only record: a welcome first, then each event once, to whoever is there at that moment."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import manifold
from examples.guild_presence.app import guild as guild_module
from examples.guild_presence.app.guild import MESSAGES_MAX, MISSED_MAX_CHARACTERS, OFFLINE_MAX, RECENT_MAX, find_guild
from examples.guild_presence.app.tally import guilds_here
from tests.cluster.support import Nodes, until
from tests.support import Recorder, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

LOBBY = "lobby"


class Lobby:
    """A guild, to which sessions come and say things.

    Their node has one worker: when one of them has heard of something, all have.
    """

    def __init__(self, node: manifold.Node) -> None:
        self.node = node
        (self._asks,) = spawn(node, 1)

    def join(self, *users: str, status: str = "online", since: Any = None) -> list[Recorder]:
        sessions = spawn(self.node, len(users))
        self.knock(*zip(sessions, users), status=status, since=since)
        return sessions

    def knock(self, *those: tuple[Recorder, str], status: str = "online", since: Any = None) -> None:
        for session, user in those:
            self.say(session, "join", user=user, status=status, since=since)
        self.settle()

    def say(self, session: Recorder, op: str, **what: Any) -> None:
        self.node.send(find_guild(LOBBY), {"op": op, "session": session.pid, **what})

    def settle(self) -> None:
        """Wait until the guild has done all that it was told, and what it told itself, and all have heard of it."""
        for _ in range(2):
            self._asks.got.clear()
            self.say(self._asks, "typing")
            assert until(lambda: self._asks.got == [{"t": "STRANGER"}])

    def messages(self, session: Recorder, *texts: str) -> None:
        for text in texts:
            self.say(session, "message", text=text, nonce=None)
        self.settle()


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    with manifold.Node("guilds-1", workers=1, roles=("guild",)) as node:
        yield Lobby(node)


def events(session: Recorder) -> list[dict[str, Any]]:
    return [message for message in session.got if "seq" in message]


def brief(session: Recorder) -> list[Any]:
    """Give what it got, without what is the same in all."""
    told = []
    for message in session.got:
        if "welcome" in message:
            told.append((message["welcome"]["t"], message["welcome"]["seq"], len(message["missed"])))
        elif "members" in message:
            told.append((message["t"], message["seq"], dict(message["members"])))
        elif "seq" in message:
            told.append((message["t"], message["seq"], message.get("text") or message["user"]))
        else:
            told.append(message["t"])
    return told


def test_a_snapshot_first_and_then_each_event_once(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    (bob,) = lobby.join("bob")
    lobby.messages(bob, "hi")
    assert brief(ann) == [
        ("SNAPSHOT", 0, 0),
        ("JOIN", 1, {"ann": "online"}),
        ("JOIN", 2, {"bob": "online"}),
        ("MESSAGE_CREATE", 3, "hi"),
    ]
    assert brief(bob) == [("SNAPSHOT", 1, 0), *brief(ann)[2:]]
    assert events(ann)[1:] == events(bob)
    assert bob.got[0]["welcome"]["members"] == [["ann", "online"], ["bob", "online"]]
    assert len({message["epoch"] for message in events(ann)}) == 1
    assert bob.got[0]["home"].node == lobby.node.id


class Gate(manifold.Actor):
    """Holds up its worker, on which the guild is, too, until it is opened."""

    def on_receive(self, opened: threading.Event) -> None:
        assert opened.wait(60)


@contextmanager
def at_once(lobby: Lobby) -> Iterator[None]:
    """Let all that is sent in the block be there before the guild handles any of it."""
    opened = threading.Event()
    lobby.node.send(lobby.node.spawn(Gate), opened)
    yield
    opened.set()


def test_those_who_come_together_share_an_event(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    others = spawn(lobby.node, 100)
    with at_once(lobby):
        for number, session in enumerate(others):
            lobby.say(session, "join", user=f"u{number}", status="online", since=None)
    lobby.settle()
    assert [len(message["members"]) for message in events(ann)] == [1, 100]
    with at_once(lobby):
        for number, session in enumerate(others):
            lobby.say(session, "status", status="idle" if number % 2 else "online")
    lobby.settle()
    (changed,) = [message["members"] for message in events(ann)[2:]]
    assert sorted(changed) == sorted([f"u{n}", "idle" if n % 2 else "online"] for n in range(100))


def test_several_devices_are_one_user(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    phone, desk = lobby.join("bob", "bob")
    lobby.say(phone, "status", status="idle")
    lobby.settle()
    desk.stop()
    assert until(lambda: len(events(ann)) == 4)
    phone.stop()
    assert until(lambda: len(events(ann)) == 5)
    assert [message["t"] for message in events(ann)] == ["JOIN", "JOIN"] + ["PRESENCE_UPDATE"] * 3
    assert [dict(message["members"])["bob"] for message in events(ann)[1:]] == ["online", "online", "idle", "offline"]


def test_nick(lobby: Lobby) -> None:
    ann, phone, desk = lobby.join("ann", "bob", "bob")
    lobby.say(phone, "nick", to="ann")
    lobby.say(phone, "nick", to="bob")
    lobby.say(phone, "nick", to="rob")
    lobby.say(desk, "message", text="hi", nonce=None)
    lobby.settle()
    nicks = [(message["user"], message["to"]) for message in events(ann) if message["t"] == "NICK"]
    assert nicks == [("bob", "bob"), ("bob", "rob")]
    assert events(ann)[-1]["user"] == "rob"
    for session in (phone, desk):
        own = [message for message in session.got if message.get("t") == "RENAMED"]
        assert own == [{"t": "RENAMED", "user": "bob"}, {"t": "RENAMED", "user": "rob"}]
    assert {"t": "ERROR", "text": "ann is here already"} in phone.got


def test_leave_takes_all_devices_along(lobby: Lobby) -> None:
    ann, phone, desk = lobby.join("ann", "bob", "bob")
    lobby.say(desk, "leave")
    lobby.messages(ann, "gone?")
    assert brief(ann)[-2:] == [("LEAVE", 2, "bob"), ("MESSAGE_CREATE", 3, "gone?")]
    assert phone.got[-1] == desk.got[-1] == {"t": "LEFT"}
    for session in (phone, desk):
        session.stop()
    (new,) = lobby.join("new")
    assert new.got[0]["welcome"]["members"] == [["ann", "online"], ["new", "online"]]


@pytest.mark.parametrize("op", ["message", "typing", "status", "nick", "leave"])
def test_strangers_are_told_so(lobby: Lobby, op: str) -> None:
    (ann,) = lobby.join("ann")
    (stranger,) = spawn(lobby.node, 1)
    lobby.say(stranger, op, text="hi", nonce=None, status="idle", to="eve")
    lobby.settle()
    assert stranger.got == [{"t": "STRANGER"}]
    assert len(events(ann)) == 1


def test_a_nonce_counts_once_for_its_user(lobby: Lobby) -> None:
    ann, bob = lobby.join("ann", "bob")
    for session, nonce in ((ann, "1"), (ann, "1"), (bob, "1"), (ann, None), (ann, None), (ann, "2"), (bob, "1")):
        lobby.say(session, "message", text="hi", nonce=nonce)
    lobby.settle()
    said = [(message["user"], message["nonce"]) for message in events(ann) if message["t"] == "MESSAGE_CREATE"]
    assert said == [("ann", "1"), ("bob", "1"), ("ann", None), ("ann", None), ("ann", "2")]


def test_a_nonce_is_known_for_as_long_as_one_can_go_on(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    lobby.say(ann, "message", text="once", nonce="1")
    lobby.messages(ann, *map(str, range(RECENT_MAX - 2)))
    lobby.say(ann, "message", text="once", nonce="1")
    lobby.settle()
    assert [event["text"] for event in events(ann) if event.get("nonce") == "1"] == ["once"]


def test_knocking_again_changes_nothing(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    lobby.knock((ann, "ann"), (ann, "ann"))
    assert brief(ann) == [("SNAPSHOT", 0, 0), ("JOIN", 1, {"ann": "online"}), ("SNAPSHOT", 1, 0), ("SNAPSHOT", 1, 0)]
    lobby.messages(ann, "once")
    assert brief(ann)[4:] == [("MESSAGE_CREATE", 2, "once")]


def test_going_on_from_every_place_within_reach_and_beyond(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    extra = 40
    lobby.messages(ann, *map(str, range(RECENT_MAX + extra - 1)))
    epoch, latest = events(ann)[-1]["epoch"], events(ann)[-1]["seq"]
    assert latest == RECENT_MAX + extra
    places = [*range(extra - 2, latest + 1, 7), extra - 1, extra, extra + 1, latest - 1, latest, latest + 1, 2**53 - 1]
    for seq in places:
        lobby.knock((ann, "ann"), since=(epoch, seq))
        told = ann.got[-1]
        if extra <= seq <= latest:
            assert (told["welcome"]["t"], told["welcome"]["seq"]) == ("RESUMED", seq)
            assert told["missed"] == events(ann)[seq:]
        else:
            assert (told["welcome"]["t"], told["welcome"]["seq"], told["missed"]) == ("SNAPSHOT", latest, [])
    lobby.knock((ann, "ann"), since=(epoch + 1, latest))
    assert ann.got[-1]["welcome"]["t"] == "SNAPSHOT"
    assert [said["seq"] for said in ann.got[-1]["welcome"]["messages"]] == list(
        range(latest - MESSAGES_MAX + 1, latest + 1)
    )


def test_who_has_missed_more_than_a_snapshot_is_gets_a_snapshot(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    number = MISSED_MAX_CHARACTERS // 2000
    lobby.messages(ann, *["x" * 2000] * (number + 1))
    epoch, latest = events(ann)[-1]["epoch"], events(ann)[-1]["seq"]
    lobby.knock((ann, "ann"), since=(epoch, latest - number))
    assert len(ann.got[-1]["missed"]) == number
    lobby.knock((ann, "ann"), since=(epoch, latest - number - 1))
    assert ann.got[-1]["welcome"]["t"] == "SNAPSHOT"


def test_an_event_that_could_not_be_sent_to_all_is_spoken_of_later(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,) = lobby.join("ann")
    send, shed = manifold.send, []

    def overloaded(to: Any, message: Any, **options: Any) -> Any:
        if isinstance(to, manifold.Audience) and len(shed) < 2:
            shed.append(message)
            raise manifold.Overloaded(["gateway-1"], 1, "the outbox")
        return send(to, message, **options)

    monkeypatch.setattr(guild_module, "REMIND_S", 0.01)
    monkeypatch.setattr(manifold, "send", overloaded)
    lobby.say(ann, "message", text="hello", nonce=None)
    assert until(lambda: ann.got[-1].get("t") == "LATEST")
    # The reminder was shed, too, and came again.
    assert [message["t"] for message in shed] == ["MESSAGE_CREATE", "LATEST"]
    assert ann.got[-1] == {"t": "LATEST", "epoch": shed[0]["epoch"], "latest": shed[0]["seq"]}


def test_only_so_many_who_are_offline_are_kept(lobby: Lobby) -> None:
    (ann,) = lobby.join("ann")
    others = lobby.join(*(f"u{number}" for number in range(OFFLINE_MAX + 20)))
    for session in others:
        session.stop()
    lobby.settle()
    first = [f"u{number}" for number in range(20)]
    assert until(lambda: [message["user"] for message in events(ann) if message["t"] == "LEAVE"] == first)
    (new,) = lobby.join("new")
    assert len(new.got[0]["welcome"]["members"]) == OFFLINE_MAX + 2


def test_an_empty_guild_ends_and_begins_afresh(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guild_module, "EMPTY_S", 0.01)
    (ann,) = lobby.join("ann")
    assert guilds_here.read().guilds == [LOBBY]
    ann.stop()
    assert until(lambda: guilds_here.read().guilds == [] and lobby.node.stats().actors == 1)
    assert lobby.node._timers._pending == 0
    (again,) = lobby.join("ann")
    assert again.got[0]["welcome"]["epoch"] != ann.got[0]["welcome"]["epoch"]


def test_a_guild_that_is_not_empty_any_more_stays(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    (ann,) = lobby.join("ann")
    ann.stop()
    lobby.settle()
    (bob,) = lobby.join("bob")
    lobby.say(bob, "empty")  # what the timer says
    lobby.messages(bob, "here")
    assert brief(bob)[-1][2] == "here"


# From one node to another.


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes("memory")
    yield nodes
    nodes.close()


def test_all_it_knows_moves_with_it(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = nodes.node("gateway-1", workers=1)
    first = nodes.node("guilds-1", roles=("guild",))
    assert until(lambda: gateway.ring("guild").nodes)
    lobby = Lobby(gateway)
    ann, bob, cid = lobby.join("ann", "bob", "cid")
    lobby.say(bob, "status", status="idle")
    lobby.messages(ann, *(f"text {number}" for number in range(60)))
    cid.stop()
    assert until(lambda: events(ann)[-1]["t"] == "PRESENCE_UPDATE")
    before = len(events(ann))
    second = nodes.node("guilds-2", roles=("guild",))
    assert until(lambda: len(gateway.ring("guild").nodes) == len(first.ring("guild").nodes) == 2)
    first.leave().get(timeout=20)
    assert until(lambda: list(gateway.ring("guild").nodes) == ["guilds-2"])

    lobby.messages(bob, "after")
    (new,) = lobby.join("new")
    welcome, seqs = new.got[0], [message["seq"] for message in events(ann)]
    assert welcome["home"].node == second.id
    assert seqs == list(range(1, len(seqs) + 1))
    assert len({message["epoch"] for message in [*events(ann), welcome["welcome"]]}) == 1
    members = {"ann": "online", "bob": "idle", "cid": "offline", "new": "online"}
    assert dict(welcome["welcome"]["members"]) == members
    assert [said["text"] for said in welcome["welcome"]["messages"]][-2:] == ["text 59", "after"]
    lobby.knock((new, "new"), since=(welcome["welcome"]["epoch"], before - 50))
    assert new.got[-1]["welcome"]["t"] == "RESUMED"
    assert new.got[-1]["missed"] == events(ann)[before - 50 :]

    monkeypatch.setattr(guild_module, "EMPTY_S", 0.01)
    for session in (ann, bob, new):
        session.stop()
    assert until(lambda: second.stats().actors == 0)


def test_an_empty_guild_that_moves_still_ends(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = nodes.node("gateway-1", workers=1)
    first = nodes.node("guilds-1", roles=("guild",))
    assert until(lambda: gateway.ring("guild").nodes)
    (ann,) = Lobby(gateway).join("ann")
    ann.stop()
    Lobby(gateway).settle()
    second = nodes.node("guilds-2", roles=("guild",))
    assert until(lambda: len(first.ring("guild").nodes) == 2)
    homes: list[str] = []
    take_over = guild_module.Guild.on_takeover

    def noted(self: guild_module.Guild, state: Any) -> None:
        homes.append(self.node.name)
        take_over(self, state)

    monkeypatch.setattr(guild_module.Guild, "on_takeover", noted)
    monkeypatch.setattr(guild_module, "EMPTY_S", 0.01)
    first.leave().get(timeout=20)
    assert until(lambda: homes == ["guilds-2"])
    assert until(lambda: second.stats().actors == 0 and guilds_here.read().guilds == [])
    assert first._timers._pending == 0
