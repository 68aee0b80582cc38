"""Packets over NATS, through a real server, and what can be wrong with servers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from manifold.testing.transport_suite import TIMEOUT_S, Runner, TransportSuite
from manifold.transport import Finder, nats, nats_callers, nats_dial
from manifold.transport.nats import Nats
from manifold.transport.nats_wire import PIECE_COST_MAX
from tests.cluster.support import until
from tests.ordering.proxy import Proxy
from tests.transport.raw import open_files

numbers = itertools.count()


class TestNats(TransportSuite):
    cookie = None
    prefix = "manifold.default"

    @pytest.fixture(autouse=True)
    def _at(self, nats_server):
        self.url = nats_server.url

    def make(self, listen=""):
        return Nats(self.url, listen.rpartition(".")[2], cookie=self.cookie)

    def fresh_address(self):
        return f"subject://{self.prefix}.{next(numbers)}"


class TestSealed(TestNats):
    cookie = "secret"

    @pytest.fixture(autouse=True)
    def _under(self, _at):
        self.prefix = Nats(self.url, cookie=self.cookie)._subject.rpartition(".")[0]


@contextmanager
def connected(url, other_url=None, **options):
    """One that listens, and one that has dialled it."""
    with (
        Runner(Nats(url, f"r{next(numbers)}", **options)) as receiver,
        Runner(Nats(other_url or url, **options)) as sender,
    ):
        sender.dial(receiver.address)
        yield receiver, sender


# Packets.


def test_one_subject_one_subscription(nats_server):
    def subscriptions():
        return [each["subject"] for each in nats_server.ask("subsz?subs=1")["subscriptions_list"]]

    with Runner(Nats(nats_server.url, "one")) as one, Runner(Nats(nats_server.url, "other")) as other:
        one.dial(other.address)
        other.dial(one.address)
        one.send(other.address, b"x")
        other.wait(lambda: other.packets)
        mine = [subject for subject in subscriptions() if subject.startswith("manifold.default.one")]
        assert mine == [one.address.removeprefix("subject://")]


def test_packets_larger_than_the_server_takes(serve):
    server = serve(config="max_payload: 4096")
    with connected(server.url) as (receiver, sender):
        packets = [os.urandom(size) for size in (4078, 4079, 4096, 100_000, 1, 3_000_000)]
        sender.send(receiver.address, *packets)
        receiver.wait(lambda: len(receiver.packets) == len(packets))
        assert receiver.packets == packets


def test_large_packets_of_many_senders_do_not_mix(nats_server):
    with Runner(Nats(nats_server.url, f"r{next(numbers)}")) as receiver:
        senders = [Runner(Nats(nats_server.url)) for _ in range(4)]
        for sender in senders:
            sender.dial(receiver.address)
        packets = [bytes([number]) * 3_000_000 for number in range(4)]
        for sender, packet in zip(senders, packets):
            sender.send(receiver.address, packet, packet)
        receiver.wait(lambda: len(receiver.packets) == 8)
        assert sorted(receiver.packets) == sorted(packets * 2)
        for sender in senders:
            sender.close()


@pytest.mark.parametrize("end", ["hang up", "close"])
def test_a_packet_that_waits_for_credit_gets_out_before_the_end(nats_server, end, monkeypatch):
    for module in (nats, nats_dial):
        monkeypatch.setattr(module, "LINGER_S", TIMEOUT_S)  # a busy machine may need longer than half a second
    packet = os.urandom(5 * nats_callers.WINDOW_BYTES)
    with connected(nats_server.url) as (receiver, sender):
        if end == "close":
            sender.send(receiver.address, packet)
            sender.close()
        else:
            sender.call(
                lambda: sender.transport.send(receiver.address, packet) and sender.transport.hang_up(receiver.address)
            )
        receiver.wait(lambda: receiver.packets == [packet])


def test_the_largest_packet_of_a_sender_whose_limit_is_higher_is_not_put_together(nats_server):
    with (
        Runner(Nats(nats_server.url, f"r{next(numbers)}", packet_max_bytes=200_000)) as receiver,
        Runner(Nats(nats_server.url)) as sender,
    ):
        sender.dial(receiver.address)
        sender.send(receiver.address, bytes(200_000), bytes(200_001))
        sender.wait(lambda: sender.connected == [receiver.address] * 2)
        sender.send(receiver.address, b"after it")
        receiver.wait(lambda: len(receiver.packets) == 2)
        assert receiver.packets == [bytes(200_000), b"after it"]


def test_what_others_publish_is_dropped_and_told_of_once(nats_server, caplog):
    async def bother(subject):
        import nats

        client = await nats.connect(nats_server.url)
        for data in (
            b"",
            b"hello",
            bytes(18),
            b"\x01\x07" + bytes(16),
            b"\x02\x01" + bytes(16),
            b"\x01\x63" + bytes(16),
        ):
            await client.publish(subject, data)
        await client.publish(subject, b"\x01\x01" + bytes(16) + b"no subject * of > any kind")
        await client.publish(subject, b"\x01\x05" + bytes(16) + b"\xff" * 1000)
        await client.flush()
        await client.close()

    with connected(nats_server.url) as (receiver, sender):
        asyncio.run(bother(receiver.address.removeprefix("subject://")))
        sender.send(receiver.address, b"sane")
        receiver.wait(lambda: receiver.packets == [b"sane"])
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_with_a_cookie_nothing_can_be_read_or_forged(nats_server):
    """Somebody who may do anything on the server listens, and publishes again what he heard, here and there."""
    heard = []

    async def listen(ready, stop):
        import nats

        client = await nats.connect(nats_server.url)

        async def note(message):
            if message.data:  # else it only asks whether a subject is taken
                heard.append((message.subject, message.data))

        await client.subscribe("manifold.>", cb=note)
        await client.flush()
        ready.set()
        await asyncio.to_thread(stop.wait, TIMEOUT_S)
        for subject, data in heard[:]:
            await client.publish(subject, data)
            await client.publish(subject, data[:-1] + bytes([data[-1] ^ 1]))
            await client.publish(other.address.removeprefix("subject://"), data)
        await client.flush()
        await client.close()

    ready, stop = threading.Event(), threading.Event()
    thief = threading.Thread(target=lambda: asyncio.run(listen(ready, stop)))
    thief.start()
    assert ready.wait(TIMEOUT_S)
    with (
        connected(nats_server.url, cookie="c") as (receiver, sender),
        Runner(Nats(nats_server.url, f"o{next(numbers)}", cookie="c")) as other,
    ):
        secret = b"the quick brown fox " * 50
        sender.send(receiver.address, secret)
        receiver.wait(lambda: receiver.packets == [secret])
        stop.set()
        thief.join(TIMEOUT_S)
        # What says that a connection is over may be published again, too: then another one is made.
        end = time.monotonic() + TIMEOUT_S
        while b"last" not in receiver.packets:
            assert time.monotonic() < end
            sender.send(receiver.address, b"last")
            receiver.call(lambda: None)
        assert receiver.packets[0] == secret
        assert set(receiver.packets[1:]) == {b"last"}
        assert other.packets == []
    assert sum(len(data) for _, data in heard) > len(secret)
    assert not any(b"quick" in data or b"manifold" in data for _, data in heard)


def test_other_cookies_are_other_subjects(nats_server):
    names = {Nats(nats_server.url, "a", cookie=cookie)._subject for cookie in (None, "b", "c")}
    assert len(names) == 3


# Finding each other.


def found_by(url, name, **options):
    transport, found = Nats(url, name, announce_s=0.05, **options), []
    assert isinstance(transport, Finder)
    transport.find(found.append)
    return Runner(transport), found


def test_nodes_find_each_other_and_nobody_else(nats_server):
    url = f"{nats_server.url}?cluster=f{next(numbers)}"
    a, at_a = found_by(url, "a")
    b, at_b = found_by(url, "b")
    with a, b:
        others = [
            found_by(f"{nats_server.url}?cluster=g{next(numbers)}", "c")[0],
            found_by(url, "d", cookie="another")[0],
            Runner(Nats(url, "e")),
        ]
        again = len(at_a) + 3
        end = time.monotonic() + TIMEOUT_S
        while not (at_b and len(at_a) > again):
            assert time.monotonic() < end
            a.call(lambda: None)
        assert set(at_a) == {b.address}
        assert set(at_b) == {a.address}
        for other in others:
            other.close()


def test_a_name_with_dots_is_one_part_of_a_subject(nats_server):
    with Runner(Nats(nats_server.url, "a..b.@1")) as one:
        assert one.address == "subject://manifold.default.a__b_@1"


# The server goes, and comes back.


def test_the_server_is_killed_and_started_again(serve, caplog):
    server = serve()
    with connected(server.url) as (receiver, sender):
        for round_ in range(1, 4):
            sender.send(receiver.address, b"before %d" % round_)
            receiver.wait(lambda round_=round_: receiver.packets[-1:] == [b"before %d" % round_])
            server.kill()
            end = time.monotonic() + TIMEOUT_S
            while sender.call(lambda: sender.transport.send(receiver.address, b"lost")):
                assert time.monotonic() < end, "nobody notices"
            server = serve(port=server.port)
            sender.wait(lambda round_=round_: sender.connected == [receiver.address] * (round_ + 1))
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 6
    assert all("is lost" in warning for warning in warnings)


def test_nothing_arrives_twice_or_out_of_order_while_the_server_is_restarted(serve):
    server, sent, stop = serve(), itertools.count(), threading.Event()
    with connected(server.url) as (receiver, sender):

        def send_some():
            for _ in range(20):
                if not sender.transport.send(receiver.address, b"%d" % next(sent) * 500):
                    return

        def go_on():
            while not stop.is_set():
                sender.call(send_some)

        thread = threading.Thread(target=go_on)
        thread.start()
        for _ in range(3):
            count = len(receiver.packets)
            receiver.wait(lambda count=count: len(receiver.packets) > count + 500)
            server.kill()
            server = serve(port=server.port)
        count = len(receiver.packets)
        receiver.wait(lambda: len(receiver.packets) > count + 500)
        stop.set()
        thread.join(TIMEOUT_S)
        sender.send(receiver.address, b"last")
        receiver.wait(lambda: receiver.packets[-1] == b"last")
        got = [int(packet[: len(packet) // 500]) for packet in receiver.packets[:-1]]
        assert got == sorted(set(got))


class Cutting(Proxy):
    """A proxy that cuts so many connections when their client has subscribed, and waits for an answer to that."""

    left = 0
    subscribed = False

    def _passes(self, data):
        self.subscribed |= b"SUB " in data
        if self.left and self.subscribed and b"PING" in data:
            self.left -= 1
            self.subscribed = False
            return False
        return True


def test_connections_that_break_while_they_are_made(nats_server, proxies):
    proxy = Cutting(nats_server.port, proxies)
    with connected(nats_server.url, proxy.address.replace("tcp:", "nats:")) as (receiver, sender):
        proxy.left, proxy.subscribed = 6, False  # to wait for the answer of each would take four seconds
        proxy.break_all()
        sender.wait(lambda: sender.connected == [receiver.address] * 2)
        assert proxy.left == 0
        sender.send(receiver.address, b"after")
        receiver.wait(lambda: receiver.packets == [b"after"])
    proxy.close()


@pytest.fixture
def proxies():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(TIMEOUT_S)
    loop.close()


def test_while_the_server_is_away_nothing_piles_up(serve):
    server = serve()
    with connected(server.url) as (receiver, sender):
        server.kill()
        end = time.monotonic() + TIMEOUT_S
        while sender.call(lambda: sender.transport.send(receiver.address, bytes(1000))):
            assert time.monotonic() < end
        for _ in range(100):
            assert not sender.call(lambda: sender.transport.send(receiver.address, bytes(1000)))
        assert sender.call(lambda: sender.transport._broker._outgoing.qsize()) == 0


def test_a_server_that_stands_still_does_not_hold_up_the_end(serve):
    server = serve()
    with connected(server.url) as (receiver, sender):
        server.process.send_signal(signal.SIGSTOP)
        sender.call(lambda: sender.transport.send(receiver.address, bytes(500_000)))
        began = time.monotonic()
        sender.close()
        receiver.close()
        server.process.send_signal(signal.SIGCONT)
        assert time.monotonic() - began < TIMEOUT_S / 2


def test_another_server_is_taken_when_one_is_gone(serve):
    one = serve()
    with connected(f"nats://127.0.0.1:1,{one.url}") as (receiver, sender):
        sender.send(receiver.address, b"x")
        receiver.wait(lambda: receiver.packets == [b"x"])


def test_servers_that_are_one_cluster(serve):
    """Two nodes at different servers; then one server goes, and its node learns of the other by itself."""
    one = serve("--cluster_name", "c", "--cluster", "nats://127.0.0.1:-1")
    route = f"nats://127.0.0.1:{one.ask()['cluster']['cluster_port']}"
    two = serve("--cluster_name", "c", "--cluster", "nats://127.0.0.1:-1", "--routes", route)
    with connected(one.url, two.url) as (receiver, sender):
        sender.send(receiver.address, b"over the route")
        receiver.wait(lambda: receiver.packets == [b"over the route"])
        two.kill()
        sender.wait(lambda: len(sender.connected) == 2)
        sender.send(receiver.address, b"by the other")
        receiver.wait(lambda: receiver.packets[-1] == b"by the other")


# A node that stands still.


def test_whoever_stands_still_is_not_cut_off(serve):
    server = serve()
    code = "import sys; from manifold.transport.nats import Nats; t = Nats(sys.argv[1], 'still')\n"
    code += "t.open(lambda packet: print(len(packet), flush=True), print); print(t.address, flush=True)\n"
    code += "while True: t.poll(10)"
    with subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE, text=True) as node:
        address = node.stdout.readline().strip()
        senders = [Runner(Nats(server.url)) for _ in range(20)]
        for sender in senders:
            sender.dial(address)
            sender.send(address, bytes(500_000))  # which shows that it has something to say
        for _ in range(20):
            assert node.stdout.readline() == "500000\n"
        node.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, node.pid, os.WSTOPPED)
        sent = sum(sender.call(lambda sender=sender: fill(sender, address)) for sender in senders)
        most = nats_callers.BUDGET_BYTES + 20 * PIECE_COST_MAX
        assert nats_callers.BUDGET_BYTES / 2 < sent <= most
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pending = [each["pending_bytes"] for each in server.ask("connz")["connections"]]
            assert len(pending) == 21
            assert max(pending) <= most
        assert server.ask()["slow_consumers"] == 0
        node.send_signal(signal.SIGCONT)
        for sender in senders:
            sender.send(address, b"last")
            assert sender.connected == [address]
            sender.close()
        taken = 0
        while taken < sent // 60_256 * 60_000 + 20 * 4:
            taken += int(node.stdout.readline())
        assert server.ask()["slow_consumers"] == 0
        node.kill()


def fill(runner, address):
    """Send until nothing more is taken; give what it cost."""
    sent = 0
    while runner.transport.send(address, bytes(60_000)):
        sent += 60_000 + 256
        runner.transport.poll(0)
    return sent


# Inside other loops.


async def test_it_opens_and_closes_where_a_loop_runs(nats_server):
    transport = Nats(nats_server.url, f"l{next(numbers)}")
    transport.open(print, print)
    transport.close()


def test_a_failed_start_leaves_nothing(nats_server):
    def fail():
        with Runner(Nats(nats_server.url, "taken")), pytest.raises(ValueError, match="listens there already"):
            Nats(nats_server.url, "taken").open(print, print)

    fail()
    files, threads = open_files(), threading.active_count()
    for _ in range(3):
        fail()
    assert until(lambda: open_files() <= files and threading.active_count() <= threads)
