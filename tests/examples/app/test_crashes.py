"""What those notice whom it concerns, and nobody else, when a node or the whole application is killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time

import pytest

from examples.guild_presence.app.supervisor import Supervisor
from tests.examples.app.support import Client, Clients, is_alive, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE_DOWN_AFTER_S = 4.0
"""More than the application waits: where others use the machine, too, a node may be silent for a second or two."""
OFFLINE_S = NODE_DOWN_AFTER_S + 10.0
"""Within what time the users of a gateway that was killed are shown offline, at the very most."""
_GUILDS = (f"guild-{number}" for number in itertools.count())


async def test_the_users_of_a_killed_gateway_are_offline_soon_and_others_notice_nothing_else(
    clients: Clients, app: Supervisor
) -> None:
    guild, killed, left = next(_GUILDS), await app.add("gateway"), await app.add("gateway")
    kept = [await clients.open(user, guild) for user in await clients.users_of(left, 8, "kept")]
    lost = [await clients.open(user, guild) for user in await clients.users_of(killed, 8, "lost")]
    sizes = len(kept[0].got)
    talking = asyncio.create_task(_talk(kept[0]))
    await kept[-1].until(lambda: len(kept[-1].texts) > 10)

    at = time.monotonic()
    await app.kill(killed)
    for client in kept:
        await client.until(lambda client=client: all(client.members[each.user] == "offline" for each in lost))
        gone = [when for when, message in zip(client.at, client.got) if message["t"] == "PRESENCE_UPDATE" and when > at]
        print(f"offline after {gone[-1] - at:.2f} s")
        assert gone[-1] - at <= OFFLINE_S
    for client in lost:
        assert await client.ended() == 1006

    again = [await clients.open(client.user, guild, since=client.since) for client in lost]
    for client in kept:
        await client.until(lambda client=client: set(client.members.values()) == {"online"})
    for client in again:
        assert client.got[0]["t"] == "RESUMED"
    talking.cancel()
    sent, came = await talking
    for client in kept:
        await client.until(lambda client=client: len(client.texts) == len(sent))
        assert {message["t"] for message in client.got[sizes:]} <= {"MESSAGE_CREATE", "PRESENCE_UPDATE", "JOIN"}
        assert client.code is None
    slowest = max(after - before for before, after in zip(sent, came))
    print(f"slowest message {slowest:.2f} s")
    assert slowest < NODE_DOWN_AFTER_S  # none had to wait until it was known that another is dead
    await app.stop(left)


async def _talk(client: Client) -> tuple[list[float], list[float]]:
    """Say things until cancelled; give when each was said and when it was heard."""
    sent: list[float] = []
    came: list[float] = []
    try:
        for number in itertools.count():
            sent.append(time.monotonic())
            await asyncio.shield(client.say_surely(f"{client.user} {number}"))
            came.append(time.monotonic())
            await asyncio.sleep(0.01)  # a stream, and not as much as there is room for
    except asyncio.CancelledError:
        return sent, came
    raise AssertionError


async def test_the_guilds_of_a_killed_node_come_back_elsewhere_and_others_notice_nothing(
    clients: Clients, app: Supervisor
) -> None:
    guilds = [next(_GUILDS) for _ in range(8)]
    members = {guild: [await clients.open(f"u{number}", guild) for number in range(4)] for guild in guilds}
    homes = await _homes(clients.all[0], guilds)
    killed = homes[guilds[0]]
    idle = members[guilds[0]][0]
    await idle.say("status", status="idle")
    for client in members[guilds[0]]:
        await client.hear("PRESENCE_UPDATE", members=[["u0", "idle"]])

    await app.kill(killed)
    for guild, those in members.items():
        for client in those:
            if homes[guild] == killed:
                snapshot = await client.until(lambda client=client: client.of("SNAPSHOT")[1:])
                assert snapshot[0]["epoch"] != client.of("SNAPSHOT")[0]["epoch"]
                await client.until(lambda client=client: len(client.members) == 4)
    for client in members[guilds[0]]:
        assert client.members == {"u0": "idle", "u1": "online", "u2": "online", "u3": "online"}
    for guild, those in members.items():
        await those[0].say("message", text="goes on", nonce=guild)
        for client in those:
            await client.hear("MESSAGE_CREATE", text="goes on")
            assert len(client.of("SNAPSHOT")) == (2 if homes[guild] == killed else 1)
            assert client.code is None
            assert client.of("RESUMED") == []
    again = await app.add("guilds")
    for guild, those in members.items():
        await those[0].say("message", text="and on", nonce=f"{guild} 2")
        for client in those:
            await client.hear("MESSAGE_CREATE", text="and on")
            assert len(client.of("SNAPSHOT")) == (2 if homes[guild] == killed else 1)
    assert again not in homes.values()


async def _homes(client: Client, guilds: list[str]) -> dict[str, str]:
    """Learn from the overview which node each guild is on, when it shows them all."""

    def homes() -> dict[str, str]:
        shown = client.of("OVERVIEW")[-1:]
        return {guild: node["name"] for each in shown for node in each["nodes"] for guild in node["guilds"]}

    await client.say("overview", on=True)
    await client.until(lambda: homes().keys() >= set(guilds))
    await client.say("overview", on=False)
    return homes()


async def test_what_was_said_through_a_gateway_that_was_away_for_a_while_is_said_again(
    clients: Clients, app: Supervisor
) -> None:
    guild = next(_GUILDS)
    ann, bob = [await clients.open(user, guild, via=via) for user, via in (("ann", "gateway-1"), ("bob", "gateway-2"))]
    await ann.hear("JOIN", members=[["bob", "online"]])
    os.kill(app.pid("gateway-2"), signal.SIGSTOP)
    try:
        saying = asyncio.create_task(bob.say_surely("still here"))
        await ann.hear("PRESENCE_UPDATE", members=[["bob", "offline"]])
    finally:
        os.kill(app.pid("gateway-2"), signal.SIGCONT)
    await saying
    await ann.hear("PRESENCE_UPDATE", members=[["bob", "online"]])
    await ann.hear("MESSAGE_CREATE", text="still here")
    assert (ann.texts, bob.texts) == (["still here"], ["still here"])
    assert bob.of("RESUMED")


async def test_the_overview_shows_who_was_killed(clients: Clients, app: Supervisor) -> None:
    ann = await clients.open("ann", next(_GUILDS))
    await ann.say("overview", on=True)
    name = await app.add("guilds")
    await ann.until(lambda: ann.of("OVERVIEW") and _state(ann, name) == "up")
    killed = app.pid(name)
    await ann.say("command", do="kill", node=name)
    assert (await ann.hear("RESULT"))["text"] == f"{name} was killed"
    assert not is_alive(killed)
    # The ring changes a moment later than it is known that the node is down.
    await ann.until(lambda: _state(ann, name) == "down" and not _is_in_ring(ann, name))
    await ann.until(lambda: _state(ann, name) is None)
    await ann.say("overview", on=False)


def _state(client: Client, name: str) -> str | None:
    shown = client.of("OVERVIEW")[-1]
    return next((node["state"] for node in shown["nodes"] if node["name"] == name), None)


def _is_in_ring(client: Client, name: str) -> bool:
    return name in [each for each, _ in client.of("OVERVIEW")[-1]["rings"]["guild"]]


async def test_the_last_of_a_kind_cannot_be_killed(clients: Clients) -> None:
    ann = await clients.open("ann", next(_GUILDS))
    app = clients.app
    for kind in ("gateway", "guilds"):
        while len(names := [name for name in app.names if name.startswith(kind)]) > 1:
            await app.kill(next(name for name in names if app.urls.get(name) != _url_of(ann)))
    for name in app.names:
        for do in ("stop", "kill"):
            before = len(ann.of("RESULT"))
            await ann.say("command", do=do, node=name)
            result = await ann.until(lambda before=before: ann.of("RESULT")[before:])
            assert result[0] == {"t": "RESULT", "ok": False, "text": f"{name} is the last of its kind"}
    await ann.say("command", do="add", node="gateway")
    added = (await ann.until(lambda: [each for each in ann.of("RESULT") if each["ok"]]))[0]["text"]
    assert added.endswith(" has joined")
    # One that ends by itself counts no more.
    os.kill(app.pid(added.split()[0]), signal.SIGKILL)
    await until(lambda: added.split()[0] not in app.names)
    await ann.say("command", do="kill", node=next(iter(app.urls)))
    await ann.until(lambda: "last of its kind" in ann.of("RESULT")[-1]["text"])
    assert set(await app.counts()) == {"supervisor", *app.names}


def _url_of(client: Client) -> str:
    host, port = client._socket.remote_address[:2]
    return f"http://{host}:{port}"
