"""`python -m bench websockets`: clients that miss nothing, on each server; and what is said of a result."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import report
from bench.__main__ import main
from bench.cluster.redis_server import why_no_redis
from bench.plan import SocketsPlan, Unmeasurable, make_sockets_plan
from bench.websockets import messages, sides
from bench.websockets.client import Crowd, Guild, Lost
from bench.websockets.dialects import DIALECTS
from bench.websockets.load import Load, Options
from bench.websockets.results import TABLES, figures
from bench.websockets.sides import CHANNELS, LAYER, MANIFOLD, SOCKETIO, make_sides, why_no_sockets
from bench.websockets.watch import Sent, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TINY = SocketsPlan(rounds=1, sockets=20, guilds=2, window=3, warm_s=0.1, seconds=0.3)
EVENT = {"t": "MESSAGE_CREATE", "epoch": 1, "user": "user-0", "text": "x" * 120, "at": 1.5}


def text(payload: bytes) -> bytes:
    size = len(payload)
    return b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


def event(seq: int, nonce: int) -> bytes:
    said = {"t": EVENT["t"], "epoch": 1, "seq": seq, **EVENT, "nonce": str(nonce)}
    return text(json.dumps(said, separators=(",", ":")).encode())


class Served:
    """A server that takes one socket, greets it, and then writes what a test wants it to."""

    def __init__(self, *, watched: bool) -> None:
        self.sent = Sent(str(EVENT["text"]))
        self.watch = Watch(self.sent) if watched else None
        self.guild = Guild("guild-0")
        self.crowd = Crowd(DIALECTS["plain"]())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self.link = self.crowd.connect(url, "user-0", self.guild, self.watch)
            self.there, _ = listening.accept()
        assert self.there.recv(4096).startswith(b"GET /socket?user=user-0&guild=guild-0 HTTP/1.1\r\n")

    def greet(self, behind: bytes = b"") -> None:
        greeting = {"t": "SNAPSHOT", "guild": "guild-0", "user": "user-0", "epoch": 1, "seq": 0}
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
        self.there.sendall(head + text(json.dumps(greeting).encode()) + behind)
        self.crowd.poll(10)

    def write(self, data: bytes) -> None:
        self.there.sendall(data)
        assert self.crowd.poll(10) == 1

    def close(self) -> None:
        self.there.close()
        self.crowd.close()


@pytest.fixture(params=[True, False], ids=["watched", "counted"])
def served(request):
    with closing(Served(watched=request.param)) as server:
        for _ in range(9):
            server.sent.add("user-0", 0.0)
        yield server


def test_frames_are_counted_wherever_they_are_cut(served):
    stream = event(1, 0) + text(b'{"t":"TYPING_START","epoch":1,"seq":2}') + event(3, 1) + event(4, 2)
    served.greet(stream[:3])
    for byte in range(3, len(stream)):
        served.write(stream[byte : byte + 1])
    assert (served.link.got, served.guild.got) == (3, 3)
    served.write(event(5, 3) + event(6, 4) + event(7, 5)[:9])
    served.write(event(7, 5)[9:])
    assert (served.link.got, served.guild.got) == (6, 6)
    if served.watch is not None:
        assert (served.watch.doubled, served.watch.disordered, served.watch.wrong) == (0, 0, 0)
        assert len(served.watch.seconds) == 6


def test_a_ping_is_answered_and_no_message(served):
    served.greet()
    served.write(b"\x89\x02hi" + event(1, 0))
    assert served.there.recv(100) == b"\x8a\x82\0\0\0\0hi"
    assert served.link.got == 1


@pytest.mark.parametrize("data", [b"\x88\x02\x03\xf4", text(b'{"t":"ERROR","text":"too much"}')])
def test_a_close_and_an_error_end_the_run(served, data):
    served.greet()
    with pytest.raises(Lost, match="user-0"):
        served.write(data)


def test_a_server_that_goes_away_ends_the_run(served):
    served.greet()
    served.there.close()
    with pytest.raises(Lost, match="closed the connection"):
        served.crowd.poll(10)


def test_a_handshake_that_is_refused_ends_the_run(served):
    with pytest.raises(Lost, match="403 Forbidden"):
        served.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def test_a_watched_socket_sees_what_is_doubled_missing_and_wrong():
    with closing(Served(watched=True)) as served:
        for user in ("user-0", "user-0", "user-9", "user-0"):
            served.sent.add(user, 0.0)
        served.greet()
        served.write(event(1, 0) + event(2, 1) + event(2, 1) + event(4, 2) + event(5, 77))
        assert served.watch is not None
        # The second one came again; the third has no number, and says another user; nobody has sent the last.
        assert (served.watch.doubled, served.watch.disordered, served.watch.wrong) == (1, 2, 2)
        assert served.link.got == 3


def test_socket_io_asks_whether_the_client_is_alive():
    dialect = DIALECTS["socketio"]()
    assert dialect.greet(b'0{"sid":"x"}', "ann", "lobby") == ('40{"user": "ann", "guild": "lobby"}', False)
    assert dialect.greet(b"2", "ann", "lobby") == ("3", False)
    assert dialect.greet(b'40{"sid":"y"}', "ann", "lobby") == ("", True)
    assert dialect.event(b"2") == {}
    assert b'42["e",{"t":"MESSAGE_CREATE"}]'[dialect.mark :].startswith(b"MESSAGE_CREATE")
    assert dialect.event(b'42["e",{"t":"MESSAGE_CREATE"}]') == {"t": "MESSAGE_CREATE"}


def handed_on(server: socket.socket, copies: list[int], before_the_last: Callable[[], None]) -> None:
    """Be a server that hands each message to its only client as often as `copies` says."""
    there, _ = server.accept()
    with there, there.makefile("rb") as heard:
        while heard.readline() != b"\r\n":
            pass
        greeting = {"t": "SNAPSHOT", "guild": "guild-0", "user": "user-0"}
        there.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + text(json.dumps(greeting).encode()))
        for seq, times in enumerate(copies):
            size = int.from_bytes(heard.read(8)[2:4], "big")
            op = json.loads(heard.read(size))
            if seq == len(copies) - 1:
                before_the_last()
            said = {"t": "MESSAGE_CREATE", "epoch": 1, "seq": seq, "user": "user-0", **op}
            there.sendall(text(json.dumps(said, separators=(",", ":")).encode()) * times)
        heard.read(1)  # until the client goes


def test_what_a_server_loses_and_doubles_is_told(monkeypatch):
    def be_impatient() -> None:  # only now: until then it would be the server that is late
        monkeypatch.setattr("bench.websockets.load._PATIENCE_S", 0.3)

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=handed_on, args=(server, [1, 0, 1, 2], be_impatient))
        thread.start()
        with Load(Options([url], "plain", asks=False, sockets=1, guilds=1)) as load:
            found = load.pace(per_s=20, seconds=0.2)
        thread.join()
    assert (found["sent"], found["deliveries"]) == (4, 3)
    assert (found["lost"], found["doubled"], found["disordered"]) == (1, 1, 2)


def hung_up(server: socket.socket) -> None:
    """Be a server that hangs up on its first client."""
    there, _ = server.accept()
    with there:
        assert there.recv(4096)


def test_when_one_cannot_join_none_is_left_open():
    """It would be a warning of Python's at the latest when they are collected."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Lost, match="user-0: the server closed"):
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=hung_up, args=(server,))
        thread.start()
        load = Load(Options([url], "plain", asks=False, sockets=3, guilds=1))
        with load:
            pytest.fail("it has joined")
    thread.join()
    assert [link.sock.fileno() for guild in load._guilds for link in guild.links] == [-1] * 3


def exact(found: dict, sent: int) -> bool:
    """Whether each of `sent` messages came to each of ten sockets once, and one socket of each guild saw it whole."""
    counts = [found[name] for name in ("sent", "deliveries", "lost", "doubled", "wrong", "watched")]
    return counts == [sent, 10 * sent, 0, 0, 0, sent]


def checked(side: sides.Side) -> None:
    flood = side.measure("flood", warm_s=0.1, seconds=0.3, window=3)
    assert exact(flood, flood["sent"]), flood
    assert flood["sent"] >= 6
    pace = side.measure("pace", per_s=100, seconds=0.2)
    assert exact(pace, 20), pace
    assert set(pace["cpu_us"]) == set(side.processes)


@pytest.mark.skipif(bool(why_no_sockets(20)), reason=why_no_sockets(20) or "all is there")
def test_every_message_of_the_application_comes_once_and_in_order(monkeypatch):
    monkeypatch.setattr(sides, "why_no_redis", lambda: "not now")
    with ExitStack() as stack:
        (side,), skipped = make_sides(TINY, stack)
        assert skipped == dict.fromkeys((CHANNELS, LAYER, SOCKETIO), "not now")
        assert set(side.processes) == {"gateway-1", "gateway-2", "guilds-1", "supervisor", "clients"}
        checked(side)
        assert side.measure("pace", per_s=100, seconds=0.2)["disordered"] == 0


@pytest.mark.skipif(bool(why_no_redis()), reason=why_no_redis() or "it is there")
@pytest.mark.parametrize("name", [CHANNELS, LAYER, SOCKETIO])
def test_every_message_of_the_others_comes_once(name):
    with ExitStack() as stack:
        side = sides._make_other(name, TINY, stack)
        assert set(side.processes) == {"server-1", "server-2", "redis", "clients"}
        checked(side)


def test_what_is_missing_is_said(monkeypatch):
    assert "are needed" in why_no_sockets(1 << 40)
    monkeypatch.setattr(sides, "find_spec", lambda _: None)
    assert "manifold-actors[demo]" in why_no_sockets(20)
    with pytest.raises(Unmeasurable, match="httptools"):
        messages.measure(TINY)


def test_sizes_of_the_command_line_stand_for_those_of_the_plan():
    assert make_sockets_plan(sockets=70, rounds=None) == SocketsPlan(sockets=70)
    assert make_sockets_plan(quick=True, seconds=2.5).seconds == 2.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sockets", "0"], "'0' is not a number, 1 or more"),
        (["--guilds", "-3"], "'-3' is not a number, 1 or more"),
        (["--seconds", "0"], "'0' is not a number of seconds above 0"),
        (["--seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["--only", "nope"], "no section nope; there are messages"),
    ],
)
def test_a_bad_option_is_one_clear_line(options, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["websockets", *options])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error
    assert error.count("\n") == 1


def test_more_guilds_than_sockets_is_one_clear_line(capsys):
    assert main(["websockets", "--sockets", "3", "--guilds", "4"]) == 2
    assert capsys.readouterr().err.strip() == "python -m bench websockets: 3 sockets cannot be in 4 guilds"


@pytest.mark.skipif(bool(why_no_sockets(20)), reason=why_no_sockets(20) or "all is there")
def test_a_smoke_run_measures_all_that_is_there(tmp_path):
    options = ["--quick", "--sockets", "20", "--seconds", "0.3", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "bench", "websockets", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "Figures to reach" in done.stdout
    data = json.loads((tmp_path / "websockets.json").read_text())["messages"]
    there = [MANIFOLD] if why_no_redis() else [MANIFOLD, CHANNELS, LAYER, SOCKETIO]
    assert [row["contender"] for row in data["flood"]] == there
    assert [row["contender"] for row in data["pace"]] == [*there, f"{MANIFOLD}, 10 x that"]
    assert all(row["lost"] == row["doubled"] == row["wrong"] == 0 for row in data["flood"] + data["pace"])


def flood_row(name: str, rates: list[float], cpu_us: float) -> dict:
    errors = dict.fromkeys(("lost", "doubled", "disordered", "wrong"), 0)
    cpu = {"gateway-1": cpu_us, "clients": 2.0}
    return {"contender": name, "deliveries_per_s": rates[0], "rates": rates, "sent": 9, **errors, "cpu_us": cpu}


def pace_row(name: str, p99_us: list[float]) -> dict:
    row = flood_row(name, [1.0], 10.0)
    us = {"50": 1_000.0, "90": 1_500.0, "99": p99_us[0], "99.9": 9_000.0, "100": 9_000.0}
    return {**row, "us": us, "us_rounds": {"50": [1_000.0] * 2, "99": p99_us}}


DATA = {
    "sockets": 2_000,
    "guilds": 4,
    "gateways": 2,
    "window": 16,
    "load_per_s": 4_000.0,
    "skipped": {"something": "not there"},
    "flood": [
        flood_row(MANIFOLD, [200_000.0, 300_000.0], 4.0),
        flood_row(CHANNELS, [8_000.0, 8_000.0], 200.0),
        flood_row(LAYER, [60_000.0, 60_000.0], 30.0),
        flood_row(SOCKETIO, [40_000.0, 30_000.0], 40.0),
    ],
    "pace": [
        pace_row(MANIFOLD, [9_000.0, 6_000.0]),
        pace_row(CHANNELS, [99_000.0, 99_000.0]),
        pace_row(LAYER, [9_000.0, 9_000.0]),
        pace_row(SOCKETIO, [18_000.0, 18_000.0]),
        pace_row(f"{MANIFOLD}, 10 x that", [12_000.0, 12_000.0]),
    ],
}


def test_each_figure_is_read_where_it_stands():
    found = {figure.name: (figure.measured, figure.quiet, figure.verdict) for figure in figures({"messages": DATA})}
    assert found == {
        "deliveries/s against the faster rival": (7.5, 10.0, "met"),
        "the same, by the servers' processor time": (10.0, None, "met"),
        "latency p99 at equal load against its": (pytest.approx(5 / 12), pytest.approx(1 / 3), "met"),
        "ours lost, doubled, out of order, or wrong": (0, None, "met"),
    }


@pytest.mark.parametrize("data", [{}, {"messages": {**DATA, "flood": DATA["flood"][:1], "pace": DATA["pace"][:1]}}])
def test_nothing_is_said_of_rivals_that_were_not_there(data):
    assert {figure.measured for figure in figures(data)} <= {None, 0}


def test_the_tables_say_what_was_measured(capsys):
    report.show({"messages": DATA}, TABLES, figures({"messages": DATA}))
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    for words in ("2,000 WebSockets in 4 guilds", "200,000", "7.5 x", "4,000 deliveries/s", "18.0 ms", "not there"):
        assert words in said, words


def test_a_result_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.plots import draw

    paths = draw({"messages": DATA}, tmp_path, "websockets")
    assert [path.name for path in paths] == ["websockets-rates.png", "websockets-latency.png"]
    assert all(path.stat().st_size for path in paths)
