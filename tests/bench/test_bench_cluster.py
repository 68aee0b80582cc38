"""What `bench cluster` says of a result, and how it measures: the real bytes, every message counted, no child left."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

import manifold
from bench import report
from bench.cluster import brokers, overload
from bench.cluster.bare import BarePair
from bench.cluster.brokers import NatsSubjects, RedisChannels, RedisGroup
from bench.cluster.fanout import FarLists
from bench.cluster.far import Crew, far_nodes
from bench.cluster.figures import figures
from bench.cluster.redis_server import redis_server, why_no_redis
from bench.cluster.tables import TABLES
from bench.cluster.wire import carried
from bench.contenders import MESSAGE, Miscounted, settle
from bench.fresh import ROOT, environment
from bench.plan import CLUSTER_SECTIONS
from tests.bench.cluster_record import RECORD, contender, flood, wire

CHILD_ENDS_S = 30


def found(record):
    return {figure.name: figure for figure in figures(record)}


def test_an_empty_result_measures_nothing():
    assert {figure.measured for figure in figures({})} == {None}


def test_each_figure_is_read_where_it_stands():
    measured = {name: figure.measured for name, figure in found(RECORD).items()}
    assert measured == {
        "10,000 recipients, list sends": pytest.approx(25),
        "10,000 recipients, audience": pytest.approx(50),
        "sender's time, list, back to back": pytest.approx(110),
        "sender's time, list, idle": pytest.approx(130),
        "sender's time, audience, back to back": pytest.approx(10),
        "sender's time, audience, idle": pytest.approx(100),
        "on the wire, list": pytest.approx(8.03),
        "on the wire, audience": pytest.approx(64.5),
        "single sends to one node": pytest.approx(50_000),
        "round trip, ask and get, p50": pytest.approx(240),
        "round trip, ask and get, p99": pytest.approx(475.2),
        "round trip, actor to actor, p50": pytest.approx(240),
        "round trip, actor to actor, p99": pytest.approx(475.2),
        "sender's time, audience on 4 nodes, 40,000 / 10,000": pytest.approx(1),
        "overload, list sends: offered": pytest.approx(10.5),
        "overload, list sends: Overloaded raised": 7,
        "overload, list sends: memory of both grew by": pytest.approx(40),
        "overload, single sends: offered": pytest.approx(10.5),
        "overload, single sends: Overloaded raised": 7,
        "overload, single sends: memory of both grew by": pytest.approx(60),
    }


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("10,000 recipients, list sends", "met"),
        ("10,000 recipients, audience", "NOT met"),
        ("sender's time, list, idle", "met when quiet"),
        ("on the wire, audience", "NOT met"),
        ("single sends to one node", "met when quiet"),
        ("overload, list sends: memory of both grew by", "met"),
        ("overload, single sends: memory of both grew by", "NOT met"),
    ],
)
def test_verdicts(name, verdict):
    assert found(RECORD)[name].verdict == verdict


def test_figures_are_read_at_their_own_sizes_only():
    record = {
        "fanout": {
            "rows": [contender("manifold, list", 1_000, 0.9)],
            "sender": {"recipients": 1_000, "idle": {"list": {"median_us": 1, "quiet_us": 1}}},
        },
        "wire": {"message_bytes": 220, "rows": [wire("list", 1_000, "in a row", 8_000.0)]},
    }
    assert {figure.measured for figure in figures(record)} == {None}


def test_what_the_system_does_not_tell_is_not_measured():
    record = {
        "wire": {"message_bytes": 220, "rows": [wire("list", 10_000, "in a row", None)]},
        "overload": {"floods": [flood("list", None)]},
    }
    assert found(record)["on the wire, list"].measured is None
    assert found(record)["overload, list sends: memory of both grew by"].measured is None


def test_every_section_has_its_tables(capsys):
    assert set(TABLES) == set(CLUSTER_SECTIONS)
    report.show(RECORD, TABLES, figures(RECORD))
    said = capsys.readouterr().out
    for words in (
        "manifold, list",
        "Discord's (Erlang)",
        "overhead",
        "actor to actor",
        "20.0 MB",
        "met",
        "redis-server",
        "nats-py",
    ):
        assert words in said, words


def test_every_section_that_has_a_plot_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.plots import draw

    paths = draw(RECORD, tmp_path, "cluster")
    assert [path.name.removeprefix("cluster-").removesuffix(".png") for path in paths] == [
        "throughput",
        "cost",
        "sender",
        "roundtrip",
        "nodes",
        "brokers",
        "overload-list",
        "overload-single",
    ]
    assert all(path.stat().st_size for path in paths)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux tells")
def test_bytes_are_those_that_tcp_carried():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
        here, _ = server.accept()
        with here:
            before = carried()
            for _ in range(3):
                there.sendall(b"x" * 1000)
                assert len(here.recv(1000, socket.MSG_WAITALL)) == 1000
            assert carried().since(before) == (3000, 3000, 3)


def test_a_far_crew_is_counted():
    with far_nodes() as (far,):
        crew = Crew(far, 3)
        settle(manifold.send(crew.pids, MESSAGE, receipt=True))
        crew.received(1, "one")
        settle(manifold.send(crew.pids[:2], MESSAGE, receipt=True))
        with pytest.raises(Miscounted, match=r"two: 3 recipients should .* 2 messages each; 3 received from 1 to 2"):
            crew.received(1, "two")
        assert len(crew.order("floor", 5)) == 5
        assert crew.order("received") == [7, 7, 6]


def test_the_bare_pair_counts_too():
    with BarePair() as pair:
        assert len(pair.send(1)) == 1
        assert len(pair.send(1000)) == 1000
        pair._out.send(b"one too many")
        with pytest.raises(Miscounted, match="2 packets were sent, and 3 came"):
            pair.send(2)


def test_subscribers_without_the_library_are_counted(nats_server):
    contender = NatsSubjects(nats_server.url, 3)
    try:
        burst = contender.burst(5)
        assert len(burst.calls) == 5
        assert contender.ask() > 0
        contender.sent -= 2
        with pytest.raises(Miscounted, match="should have received 4 messages each"):
            contender.burst(1)
    finally:
        contender.close()


@pytest.mark.skipif(bool(why_no_redis()), reason=why_no_redis() or "it is there")
@pytest.mark.parametrize("kind", [RedisGroup, RedisChannels])
def test_channels_over_redis_are_counted(kind):
    with redis_server() as url:
        contender = kind(url, 3)
        try:
            assert len((contender.burst(5)).calls) == 5
        finally:
            contender.close()


def test_what_is_missing_for_redis_is_said(monkeypatch):
    monkeypatch.setattr("bench.cluster.redis_server.shutil.which", lambda _: None)
    assert "redis-server is not installed" in why_no_redis()


def test_the_same_crew_is_reached_over_nats(nats_server):
    with far_nodes() as (far,), brokers._nats(f"{nats_server.url}?cluster=bench") as (context, far_nats):
        crew = Crew(far, 3)
        lane = brokers.Within(context, lambda: FarLists(Crew(far_nats, 4)))
        assert lane.name == "manifold over NATS, list"
        assert len(lane.burst(2).calls) == 2
        assert manifold.current_node().id != far_nats.id
        assert crew.order("received") == [0, 0, 0]


def offer(received, *, expected, calls, shed):
    crew = SimpleNamespace(order=lambda _: received)
    size = len(received) // len(expected)
    return SimpleNamespace(crew=crew, expected=expected, size=size, calls=[0.0] * calls, shed=shed)


def counts(**known):
    return dict.fromkeys(("sent", "delivered", "dead", "shed", "unreachable", "in_flight"), 0) | known


def test_an_overload_that_reconciles():
    overload._check(offer([2, 2], expected=[2], calls=3, shed=2), counts(sent=6, delivered=4, shed=2))
    overload._check(offer([1, 2], expected=[1, 2], calls=4, shed=1), counts(sent=4, delivered=3, shed=1))


@pytest.mark.parametrize(
    ("received", "counted"),
    [
        ([2, 1], counts(sent=6, delivered=4, shed=2)),
        ([2, 2], counts(sent=6, delivered=3, shed=2, dead=1)),
        ([2, 2], counts(sent=6, delivered=3, shed=3)),
        ([2, 2], counts(sent=6, delivered=3, shed=2, in_flight=1)),
    ],
)
def test_an_overload_that_does_not_reconcile(received, counted):
    with pytest.raises(Miscounted, match="overload"):
        overload._check(offer(received, expected=[2], calls=3, shed=2), counted)


DRIVER = """
import sys
from bench.cluster.far import far_nodes
with far_nodes() as (far,):
    print(far.process, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_child_ends_with_its_driver(end):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with driver:
        child = os.pidfd_open(int(driver.stdout.readline()))
        driver.send_signal(end)
        ended, _, _ = select.select([child], [], [], CHILD_ENDS_S)
        os.close(child)
        driver.kill()
    assert ended
