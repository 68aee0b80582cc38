"""The application as real processes: what clients of it see when all goes well, and when nodes come and go in order."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

import manifold
from examples.guild_presence.app import supervisor
from examples.guild_presence.app.supervisor import StartError, Supervisor
from tests.examples.app.support import PATIENCE_S, Client, Clients, is_alive, not_reading, socket_url, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
_GUILDS = (f"guild-{number}" for number in itertools.count())


@pytest.fixture
def guild() -> str:
    """A guild that no other test has."""
    return next(_GUILDS)


# What two see of each other.


async def test_two_see_each_other_come_and_go(clients: Clients, guild: str) -> None:
    ann = await clients.open("ann", guild)
    snapshot = ann.got[0]
    assert (snapshot["t"], snapshot["guild"], snapshot["user"], snapshot["messages"]) == ("SNAPSHOT", guild, "ann", [])
    first = await ann.hear("JOIN")
    assert (first["members"], first["seq"]) == ([["ann", "online"]], snapshot["seq"] + 1)
    bob = await clients.open("bob", guild)
    await ann.hear("JOIN", members=[["bob", "online"]])
    await bob.hear("JOIN", members=[["bob", "online"]])
    assert ann.members == bob.members == {"ann": "online", "bob": "online"}
    await bob.say("typing")
    await ann.hear("TYPING_START", user="bob")
    await bob.say("message", text="hi, <b>ann</b> \U0001f600", nonce="n1")
    said = await ann.hear("MESSAGE_CREATE", user="bob", text="hi, <b>ann</b> \U0001f600", nonce="n1")
    assert said == await bob.hear("MESSAGE_CREATE")
    await bob.say("status", status="idle")
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "idle"]])
    await bob.close()
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "offline"]])
    again = await clients.open("bob", guild)
    assert again.got[0]["messages"] == [said]
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "online"]])
    await again.say("leave")
    await ann.hear("LEAVE", user="bob")
    assert await again.ended() == 1000
    assert ann.members == {"ann": "online"}


async def test_several_devices_of_a_user_are_one(clients: Clients, app: Supervisor, guild: str) -> None:
    ann = await clients.open("ann", guild)
    desk, phone = [await clients.open("bob", guild, via=gateway) for gateway in ("gateway-1", "gateway-2")]
    await desk.say("status", status="idle")
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "online"]])
    await phone.close()
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "idle"]])
    phone = await clients.open("bob", guild, via="gateway-2")
    await phone.say("nick", to="rob")
    assert [await each.hear("NICK") for each in (ann, desk, phone)] == [ann.got[-1]] * 3
    await desk.say("message", text="as rob")
    assert (await ann.hear("MESSAGE_CREATE"))["user"] == "rob"
    await desk.say("leave")
    assert [await each.ended() for each in (desk, phone)] == [1000, 1000]
    await ann.hear("LEAVE", user="rob")
    await ann.say("message", text="alone")
    await ann.hear("MESSAGE_CREATE", text="alone")
    assert ann.members == {"ann": "online"}


async def test_who_has_left_does_not_come_back_by_what_was_said_behind_it(clients: Clients, guild: str) -> None:
    ann = await clients.open("ann", guild)
    tabs = [await clients.open("bob", guild, via=gateway) for gateway in ("gateway-1", "gateway-2")]
    for tab in tabs * 5:
        await tab.send_text('{"op": "leave"}')
        await tab.send_text('{"op": "status", "status": "idle"}')
    assert [await tab.ended() for tab in tabs] == [1000, 1000]
    await ann.hear("LEAVE", user="bob")
    for text in ("a", "b"):  # a stranger's knock would have been answered by now
        await ann.say("message", text=text)
        await ann.hear("MESSAGE_CREATE", text=text)
    assert (len(ann.of("LEAVE")), ann.members) == (1, {"ann": "online"})


async def test_a_nick_that_is_taken_is_refused_and_ones_own_changes_nothing(clients: Clients, guild: str) -> None:
    ann, bob = await clients.open("ann", guild), await clients.open("bob", guild)
    await ann.say("nick", to="bob")
    assert "bob" in (await ann.hear("ERROR"))["text"]
    await ann.say("nick", to="ann")
    await bob.hear("NICK", user="ann", to="ann")
    assert bob.members == {"ann": "online", "bob": "online"}
    assert bob.of("ERROR") == []


async def test_what_comes_twice_is_said_once(clients: Clients, guild: str) -> None:
    ann = await clients.open("ann", guild)
    for nonce in ("1", "1", "2", "1"):
        await ann.say("message", text=f"nonce {nonce}", nonce=nonce)
    await ann.say("message", text="end")
    await ann.hear("MESSAGE_CREATE", text="end")
    assert ann.texts == ["nonce 1", "nonce 2", "end"]


async def test_each_event_once_and_in_order_under_a_stream_of_several_senders(clients: Clients, guild: str) -> None:
    early = [await clients.open(f"early-{number}", guild) for number in range(4)]

    async def talk(client: Client) -> None:
        for number in range(50):
            await client.say("message", text=f"{client.user} {number}")

    talking = [asyncio.create_task(talk(client)) for client in early]
    late = [await clients.open(f"late-{number}", guild) for number in range(4)]
    await asyncio.gather(*talking, *(talk(client) for client in late))
    for client in clients.all:
        await client.until(lambda client=client: client.since == early[0].since and len(early[0].texts) == 400)
    for sender in clients.all:
        said = [text for text in early[0].texts if text.startswith(f"{sender.user} ")]
        assert said == [f"{sender.user} {number}" for number in range(50)]
    for client in clients.all:
        assert client.texts == early[0].texts[-len(client.texts) :]
        assert client.members == {each.user: "online" for each in clients.all}


async def test_a_reconnect_goes_on_where_it_was(clients: Clients, guild: str) -> None:
    ann, bob = await clients.open("ann", guild), await clients.open("bob", guild)
    await ann.hear("JOIN", members=[["bob", "online"]])
    await ann.close()
    await bob.hear("PRESENCE_UPDATE", members=[["ann", "offline"]])
    for number in range(20):
        await bob.say("message", text=str(number))
    await bob.hear("MESSAGE_CREATE", text="19")
    again = await clients.open("ann", guild, since=ann.since)
    assert again.got[0] == {"t": "RESUMED", "guild": guild, "user": "ann", "epoch": ann.since[0], "seq": ann.since[1]}  # type: ignore[index]
    await again.hear("PRESENCE_UPDATE", members=[["ann", "online"]])
    assert again.texts == [str(number) for number in range(20)]


@pytest.mark.parametrize(("epoch", "seq"), [(0, 1), (1, 999), (1, 2**53 - 1), (2**53 - 1, 9)])
async def test_a_bogus_place_gives_a_snapshot(clients: Clients, guild: str, epoch: int, seq: int) -> None:
    ann = await clients.open("ann", guild)
    bob = await clients.open("bob", guild, since=(ann.got[0]["epoch"] if epoch == 1 else epoch, seq))
    await ann.say("message", text="hi")
    assert [bob.got[0]["t"], (await bob.hear("MESSAGE_CREATE"))["text"]] == ["SNAPSHOT", "hi"]


async def test_garbage_is_refused_and_the_session_goes_on(clients: Clients, guild: str) -> None:
    ann, bob = await clients.open("ann", guild), await clients.open("bob", guild)
    garbage = [
        "",
        "{",
        "[]",
        '{"op": "fly"}',
        '{"op": ["message"]}',
        b"\x00\xff",
        '{"op": "message", "text": "\\ud83d"}',
    ]
    for text in garbage:
        await ann.send_text(text)
    await ann.until(lambda: len(ann.of("ERROR")) == len(garbage))
    await ann.say("message", text="after all")
    await bob.hear("MESSAGE_CREATE", text="after all")
    assert bob.of("ERROR") == []


async def test_who_does_not_read_is_cut_off_and_the_others_go_on(clients: Clients, app: Supervisor, guild: str) -> None:
    ann, bob = [await clients.open(user, guild, via="gateway-1") for user in ("ann", "bob")]
    async with not_reading(socket_url(app.urls["gateway-1"], "slow", guild)):
        await bob.hear("JOIN", members=[["slow", "online"]])
        took, number = [], 0
        while not bob.of("PRESENCE_UPDATE"):
            at, text = asyncio.get_running_loop().time(), f"{number} ".ljust(2000, "\U0001f600")
            await ann.say("message", text=text)
            await bob.until(lambda: len(bob.texts) > number)  # noqa: B023 - waited for here
            took.append(asyncio.get_running_loop().time() - at)
            number += 1
            assert number < 5000
        assert bob.of("PRESENCE_UPDATE")[0]["members"] == [["slow", "offline"]]
        print(f"cut off after {number} messages; slowest for another {max(took):.3f} s")
        assert sorted(took)[-2] < 2.0  # the machine itself may stand still once


# What the page's panel shows, and what it does.


async def test_the_overview(clients: Clients, app: Supervisor, guild: str) -> None:
    looks = await clients.open("ann", guild)
    others = [await clients.open(f"u{number}", guild) for number in range(8)]
    await looks.say("overview", on=True)
    for number in range(200):
        await others[number % 8].say("message", text=str(number))
    await looks.until(lambda: next((each for each in looks.of("OVERVIEW") if each["events_per_s"] > 20), None))
    latest = await looks.until(lambda: next(filter(_shows_nine, looks.of("OVERVIEW")[2:]), None))
    assert [node["name"] for node in latest["nodes"]] == [
        "gateway-1",
        "gateway-2",
        "guilds-1",
        "guilds-2",
        "supervisor",
    ]
    assert {node["state"] for node in latest["nodes"]} == {"up"}
    by_name = {node["name"]: node for node in latest["nodes"]}
    assert {name: by_name[name]["url"] for name in app.urls} == app.urls
    assert all(by_name[name]["pid"] == app.pid(name) for name in app.names)
    assert [guild in node["guilds"] for node in latest["nodes"] if node["role"] == "guild"].count(True) == 1
    for role, names in (("gateway", ["gateway-1", "gateway-2"]), ("guild", ["guilds-1", "guilds-2"])):
        ring = latest["rings"][role]
        assert [name for name, _ in ring] == names
        assert sum(share for _, share in ring) == pytest.approx(1.0)
        assert all(0.4 < share < 0.6 for _, share in ring)
        assert len(latest["arcs"][role]) == 360
        for index, (_, share) in enumerate(ring):
            assert latest["arcs"][role].count(index) / 360 == pytest.approx(share, abs=0.1)
    busy = [each for each in looks.of("OVERVIEW") if each["events_per_s"]]
    handoffs = sum(each["handoffs_per_event"] * each["events_per_s"] for each in busy)
    assert handoffs / sum(each["events_per_s"] for each in busy) == pytest.approx(2.0, abs=1.0)  # one for each gateway
    assert max(each["deliveries_per_s"] for each in looks.of("OVERVIEW")) > 9  # each event is one for each of the nine
    await looks.say("overview", on=False)
    await looks.say("message", text="end")
    await looks.hear("MESSAGE_CREATE", text="end")


def _shows_nine(overview: dict[str, Any]) -> bool:
    """Tell whether all nodes have told of themselves since nine sessions are open, and none of another test's is."""
    nodes = overview["nodes"]
    return len(nodes) == 5 and sum(node["sessions"] for node in nodes) == 9


@pytest.mark.parametrize(
    ("do", "node", "text"),
    [
        ("add", "sessions", "there are nodes of"),
        ("stop", "gateway-9", "there is no node"),
        ("kill", "supervisor", "there is no node"),
        ("stop", "gateway", "there is no node"),
    ],
)
async def test_commands_that_cannot_be_followed(clients: Clients, guild: str, do: str, node: str, text: str) -> None:
    ann = await clients.open("ann", guild)
    await ann.say("command", do=do, node=node)
    assert text in (await ann.hear("RESULT", ok=False))["text"]


# Nodes that come and go in order, while others talk.


class Talk:
    """Two who talk all the time, on a guild, until they have said enough behind a moment."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.said: dict[str, list[str]] = {client.user: [] for client in clients}
        self._going = [asyncio.create_task(self._talk(client)) for client in clients]

    async def _talk(self, client: Client) -> None:
        for number in itertools.count():
            self.said[client.user].append(f"{client.user} {number}")
            await client.say_surely(f"{client.user} {number}")

    async def go_on(self, more: int = 20) -> None:
        due = {user: len(said) + more for user, said in self.said.items()}
        await until(lambda: all(len(self.said[user]) >= number for user, number in due.items()) or self._failed())

    def _failed(self) -> bool:
        return any(task.done() for task in self._going)

    async def end(self) -> None:
        """Stop, and see that each has heard all that both have said, once and in order."""
        assert not self._failed(), [task.exception() for task in self._going if task.done()]
        for task in self._going:
            task.cancel()
        await asyncio.wait(self._going)
        for client in self.clients:
            for user, said in self.said.items():
                await client.hear("MESSAGE_CREATE", text=said[-1])
                heard = [text for text in client.texts if text.startswith(f"{user} ")]
                assert heard[: len(said)] == said
            assert client.faults == []


async def test_a_guild_node_comes_and_goes_and_nobody_notices(clients: Clients, app: Supervisor) -> None:
    ring = manifold.Ring([name for name in app.names if name.startswith("guilds")])
    plan = ring.plan(add=f"guilds-{app._started['guilds'] + 1}")
    names = [next(_GUILDS) for _ in range(50)]
    moving = [name for name in names if plan.ring.find(name) != ring.find(name)]
    guilds = moving[:3] + [name for name in names if name not in moving][:3]
    pairs = [[await clients.open(user, guild) for user in ("ann", "bob")] for guild in guilds]
    talks = [Talk(pair) for pair in pairs]
    await asyncio.gather(*(talk.go_on() for talk in talks))
    name = await app.add("guilds")
    assert plan.ring.nodes.keys() == {*ring.nodes, name}
    await asyncio.gather(*(talk.go_on() for talk in talks))
    await app.stop(name)
    await asyncio.gather(*(talk.go_on() for talk in talks))
    await asyncio.gather(*(talk.end() for talk in talks))
    for client in clients.all:
        assert len({message["epoch"] for message in client.got}) == 1
        assert [message["t"] for message in client.got if message["t"] in ("SNAPSHOT", "RESUMED", "MOVE")] == [
            "SNAPSHOT"
        ]
        assert client.members == {"ann": "online", "bob": "online"}


async def test_a_gateway_that_comes_gets_its_share_and_one_that_stops_loses_nothing(
    clients: Clients, app: Supervisor, guild: str
) -> None:
    users = [f"user-{number}" for number in range(60)]
    opened = {user: await clients.open(user, guild) for user in users}
    watch = await clients.open("watch", guild, via=await clients.home_of("watch"))
    name = await app.add("gateway")
    await clients.users_of(name, 1)  # by then it is known who belongs there
    movers = [user for user in users if await clients.home_of(user) == name]
    assert 60 / 3 * 0.4 < len(movers) < 60 / 3 * 1.8
    for user in movers:
        assert (await opened[user].hear("MOVE"))["url"] == app.urls[name]
    await watch.say("message", text="moving")
    moved = await asyncio.gather(*(clients.open(user, guild, since=opened[user].since) for user in movers))
    await asyncio.gather(*(opened[user].close() for user in movers))
    for client in moved:
        await client.hear("MESSAGE_CREATE", text="moving")
        assert client.got[0]["t"] == "RESUMED"
    assert [user for user in users if user not in movers and opened[user].of("MOVE")] == []

    stopping = asyncio.create_task(app.stop(name))
    for client in moved:
        assert (await client.hear("MOVE"))["url"] in app.urls.values()
    await watch.say("message", text="moving back")
    back = await asyncio.gather(
        *(Client.open(client.of("MOVE")[-1]["url"], client.user, guild, client.since) for client in moved)
    )
    clients.all += back
    await asyncio.gather(*(client.close() for client in moved))
    await stopping
    await watch.say("message", text="moved")
    for old, new in zip(moved, back):
        await new.hear("MESSAGE_CREATE", text="moved")
        assert new.got[0]["t"] == "RESUMED"
        assert (old.texts + new.texts)[-2:] == ["moving back", "moved"]
    await watch.hear("MESSAGE_CREATE", text="moved")
    assert watch.members == dict.fromkeys([*users, "watch"], "online")
    assert {user for each in watch.of("PRESENCE_UPDATE") for user, _ in each["members"]} <= set(movers)


async def test_every_gateway_comes_to_know_where_the_others_serve(clients: Clients, app: Supervisor) -> None:
    async def all_know() -> None:
        for url in app.urls.values():
            while (await clients.ask(url))["gateways"] != app.urls:
                pass

    async with asyncio.timeout(PATIENCE_S):
        await all_know()
        name = await app.add("gateway")
        await all_know()
        await app.stop(name)
        await all_know()


async def test_who_does_not_go_when_told_is_closed(clients: Clients, app: Supervisor, guild: str) -> None:
    name = await app.add("gateway")
    ann = await clients.open((await clients.users_of(name, 1))[0], guild)
    await app.stop(name)
    assert (await ann.hear("MOVE"))["url"] in app.urls.values()
    assert await ann.ended() == 1012


# Beginnings that fail, and ends.


async def test_when_a_node_cannot_start_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_can_listen", lambda *_: True)  # it could, a moment ago
    before = {task for task in asyncio.all_tasks() if not task.done()}
    application = Supervisor(1, 1, host="192.0.2.1")  # an address that no machine has
    with pytest.raises(StartError, match=r"^gateway-1 ended before it was ready: OSError: .* bind .*$"):
        await application.__aenter__()
    assert application.names == []
    await until(lambda: {task for task in asyncio.all_tasks() if not task.done()} <= before)


async def test_everything_ends_with_the_context() -> None:
    async with Supervisor(1, 1, node_down_after_s=20.0) as app:
        pids = [app.pid(name) for name in app.names]
        url = app.urls["gateway-1"]
        client = await Client.open(url, "ann")
        assert set(await app.counts()) == {"supervisor", "gateway-1", "guilds-1"}
        start = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - start < 10.0  # nobody had to be killed
    assert await client.ended() == 1012
    assert client.of("MOVE") == []
    assert not any(map(is_alive, pids))
