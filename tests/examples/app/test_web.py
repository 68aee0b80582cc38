"""What a gateway serves: where users belong, the page, and which sockets are let in. The gateway itself records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from examples.guild_presence.app import web as web_module
from examples.guild_presence.app.protocol import OP_MAX_BYTES
from examples.guild_presence.app.web import application
from examples.guild_presence.app.wire import Wire
from tests.examples.app.support import served, socket_url, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BAD_NAMES = ["", " ", "a" * 33, " ann", "a\nb", "\u200b"]


class Recording:
    """A gateway that keeps what it is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.told: list[dict[str, Any]] = []
        self.closed: list[str] = []

    urls: ClassVar = {"gateway-1": "http://here", "gateway-2": "http://there"}

    async def find(self, user: str) -> tuple[str, str]:
        return "gateway-2", f"http://there/{user}"

    def open(self, *about: Any) -> str:
        self.opened.append(about)
        return "pid"

    def close(self, pid: str) -> None:
        self.closed.append(pid)

    def tell(self, pid: str, op: dict[str, Any]) -> None:
        assert pid == "pid"
        self.told.append(op)


@pytest.fixture
def gateway() -> Recording:
    return Recording()


@pytest.fixture
async def url(gateway: Recording) -> AsyncIterator[str]:
    async with served(application(gateway)) as url:  # type: ignore[arg-type]
        yield url


@pytest.fixture
async def web(gateway: Recording) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(gateway))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as web:
        yield web


async def test_where_a_user_belongs(web: httpx.AsyncClient, gateway: Recording) -> None:
    answer = await web.get("/gateway", params={"user": "Zoë & co"}, headers={"Origin": "http://elsewhere.example"})
    told = {"gateway": "gateway-2", "url": "http://there/Zoë & co", "gateways": gateway.urls}
    assert (answer.status_code, answer.json()) == (200, told)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("user", [*BAD_NAMES, None], ids=ascii)
async def test_a_bad_name_is_told_so(web: httpx.AsyncClient, user: str | None) -> None:
    answer = await web.get("/gateway", params={} if user is None else {"user": user})
    assert answer.status_code == 400
    assert "a user must have a name" in answer.json()["error"]
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_the_page_and_what_is_beside_it(web: httpx.AsyncClient) -> None:
    page = await web.get("/")
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert (await web.get("/page/style.css")).status_code == 200
    for path in (
        "/page/../app/web.py",
        "/page/%2e%2e/app/web.py",
        "/page//etc/passwd",
        "/page/",
        "/app/web.py",
        "/socket",
    ):
        assert (await web.get(path)).status_code == 404, path


async def test_a_socket_is_a_session_until_it_closes(url: str, gateway: Recording) -> None:
    async with connect(socket_url(url, "Zoë & co", "lobby")) as socket:
        await socket.send('{"op": "typing", "more": 1}')
        await socket.send('{"op": "fly"}')
        await socket.send(b'{"op": "typing"}')
        await socket.send('{"op": "leave"}')
        await until(lambda: len(gateway.told) == 4)
    assert [op["op"] for op in gateway.told] == ["typing", "refused", "refused", "leave"]
    assert gateway.told[0] == {"op": "typing"}
    ((wire, *about),) = gateway.opened
    assert isinstance(wire, Wire)
    assert about == ["Zoë & co", "lobby", None]
    await until(lambda: gateway.closed == ["pid"])


async def test_a_socket_says_what_it_has_seen(url: str, gateway: Recording) -> None:
    async with connect(socket_url(url, "ann", "lobby", (7, 0))):
        await until(lambda: gateway.opened)
        assert gateway.opened[0][-1] == (7, 0)


async def test_as_much_as_may_be_said_at_once_and_more(url: str, gateway: Recording) -> None:
    async with connect(socket_url(url, "ann", "lobby")) as socket:
        op = '{"op": "typing", "n": ""}'
        await socket.send(op.replace('""', '"' + "x" * (OP_MAX_BYTES - len(op)) + '"'))
        await until(lambda: gateway.told == [{"op": "typing"}])
        await socket.send(op.replace('""', '"' + "x" * (OP_MAX_BYTES + 1 - len(op)) + '"'))
        await socket.wait_closed()
        assert socket.close_code == 1009
    await until(lambda: gateway.closed == ["pid"])
    assert len(gateway.told) == 1


async def test_who_says_too_much_is_read_more_slowly(
    url: str, gateway: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_module, "OPS_BURST", 5.0)
    monkeypatch.setattr(web_module, "OPS_PER_S", 20.0)
    async with connect(socket_url(url, "ann", "lobby")) as socket, connect(socket_url(url, "bob", "lobby")) as other:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(15):
            await socket.send('{"op": "typing"}')
        await other.send('{"op": "leave"}')
        await until(lambda: {"op": "leave"} in gateway.told)
        assert gateway.told.count({"op": "typing"}) < 15 or loop.time() - began >= 0.5
        await until(lambda: gateway.told.count({"op": "typing"}) == 15)
        assert loop.time() - began >= 0.45  # ten more than at once, twenty a second; nothing is lost


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user=ann",
        "guild=lobby",
        "user=ann&guild=",
        "user=%20ann&guild=lobby",
        f"user=ann&guild={'g' * 33}",
        "user=ann&guild=a%00b",
        "user=ann&guild=lobby&epoch=7",
        "user=ann&guild=lobby&epoch=7&seq=x",
        "user=ann&guild=lobby&epoch=-7&seq=1",
    ],
)
async def test_a_bad_handshake_is_refused(url: str, gateway: Recording, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url.replace('http', 'ws')}/socket?{query}")
    assert refused.value.response.status_code == 403
    assert gateway.opened == []


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://127.0.0.1", "https://127.0.0.1:1", None])
async def test_pages_of_this_host_are_let_in(url: str, gateway: Recording, origin: str | None) -> None:
    async with connect(socket_url(url, "ann", "lobby"), origin=origin):  # type: ignore[arg-type]
        await until(lambda: len(gateway.opened) == 1)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "127.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://[",
        "file://",
        "http://user@",
    ],
)
async def test_pages_of_other_hosts_are_refused(url: str, gateway: Recording, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(socket_url(url, "ann", "lobby"), origin=origin)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    assert gateway.opened == []
