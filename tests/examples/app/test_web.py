"""What a gateway serves: where users belong, the page, and which sockets are let in; the gateway behind it only records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from examples.guild_presence.app.web import application

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_NAMES = ["", " ", "a" * 33, " ann", "a\nb", "\u200b"]


class Recording:
    """A gateway that keeps what it is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.told: list[dict[str, Any]] = []
        self.closed: list[str] = []

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
def web(gateway: Recording) -> Iterator[TestClient]:
    made = application(gateway)  # type: ignore[arg-type]

    async def with_a_wire(scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})["wire"] = "a wire"
        await made(scope, receive, send)

    with TestClient(with_a_wire, base_url="http://localhost:8000") as web:
        yield web


def test_where_a_user_belongs(web: TestClient) -> None:
    answer = web.get("/gateway", params={"user": "Zoë & co"}, headers={"Origin": "http://elsewhere.example"})
    assert (answer.status_code, answer.json()) == (200, {"gateway": "gateway-2", "url": "http://there/Zoë & co"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("user", [*BAD_NAMES, None], ids=ascii)
def test_a_bad_name_is_told_so(web: TestClient, user: str | None) -> None:
    answer = web.get("/gateway", params={} if user is None else {"user": user})
    assert answer.status_code == 400
    assert "a user must have a name" in answer.json()["error"]
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_page_and_what_is_beside_it(web: TestClient) -> None:
    page = web.get("/")
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert web.get("/page/style.css").status_code == 200
    for path in ("/page/../app/web.py", "/page/%2e%2e/app/web.py", "/page//etc/passwd", "/page/", "/app/web.py", "/socket"):
        assert web.get(path).status_code == 404, path


def test_a_socket_is_a_session_until_it_closes(web: TestClient, gateway: Recording) -> None:
    with web.websocket_connect("/socket?user=ann&guild=lobby") as socket:
        socket.send_text('{"op": "typing", "more": 1}')
        socket.send_text('{"op": "fly"}')
        socket.send_bytes(b'{"op": "typing"}')
        socket.send_text('{"op": "leave"}')
    assert gateway.opened == [("a wire", "ann", "lobby", None)]
    assert [op["op"] for op in gateway.told] == ["typing", "refused", "refused", "leave"]
    assert gateway.told[0] == {"op": "typing"}
    assert gateway.closed == ["pid"]


def test_a_socket_says_what_it_has_seen(web: TestClient, gateway: Recording) -> None:
    with web.websocket_connect("/socket?user=ann&guild=lobby&epoch=7&seq=0"):
        pass
    assert gateway.opened[0][-1] == (7, 0)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user=ann",
        "guild=lobby",
        "user=ann&guild=",
        "user=%20ann&guild=lobby",
        f"user=ann&guild={'g' * 33}",
        "user=%ED%A0%80&guild=a%00b",
        "user=ann&guild=lobby&epoch=7",
        "user=ann&guild=lobby&epoch=7&seq=x",
        "user=ann&guild=lobby&epoch=-7&seq=1",
    ],
)
def test_a_bad_handshake_is_refused(web: TestClient, gateway: Recording, query: str) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, web.websocket_connect(f"/socket?{query}"):
        pass
    assert refused.value.code == 1008
    assert gateway.opened == []


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://localhost:8001", "https://LOCALHOST", None])
def test_pages_of_this_host_are_let_in(web: TestClient, gateway: Recording, origin: str | None) -> None:
    with web.websocket_connect("/socket?user=ann&guild=lobby", headers={} if origin is None else {"Origin": origin}):
        pass
    assert len(gateway.opened) == 1


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "localhost", "http://localhost.evil.example", "http://[", "file://"]
)
def test_pages_of_other_hosts_are_refused(web: TestClient, gateway: Recording, origin: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        web.websocket_connect("/socket?user=ann&guild=lobby", headers={"Origin": origin}),
    ):
        pass
    assert refused.value.code == 1008
    assert gateway.opened == []
