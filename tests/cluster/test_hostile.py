"""Peers that send what no node sends: they are told of in the log, take no memory, and nobody else notices."""

from __future__ import annotations

import struct
import time

import pytest
import zmq

import manifold
from manifold.cluster.hub import Hub
from manifold.core.bodies import AudienceSend, Kind, Members, Outcome, Send, pack_ids
from manifold.core.codec import encode
from manifold.core.frames import Hello, encode_frame_header, encode_hello, encode_packet
from manifold.core.hashing import mint_id
from manifold.core.link import Link, State
from manifold.transport.zeromq import ZeroMQ
from tests.cluster.support import DOWN_AFTER_S, meet, outcome, quiet, reconciles, record, stays, until
from tests.transport.raw import resident_bytes

LIMITS = {"frame_max_bytes": 1 << 20, "window_bytes": 2 << 20}


class Rogue:
    """Keeps to the protocol of links, over ZeroMQ, and sends frames of any kind and content."""

    def __init__(self, address: str, **hello: object) -> None:
        self.transport = ZeroMQ("tcp://127.0.0.1:0")
        self.transport.open(self._receive, lambda _: self.link.reconnected())
        self.address = address
        self.transport.dial(address)
        me = Hello("rogue@1", self.transport.address)._replace(**hello)
        self.link = Link(me, time.time_ns(), now=time.monotonic())
        self.got: list[object] = []

    def _receive(self, data: bytes) -> None:
        self.got += self.link.receive_packet(data, time.monotonic())

    def turn(self) -> None:
        self.got += self.link.tick(time.monotonic())
        for packet in self.link.packets_to_send(time.monotonic()):
            self.transport.send(self.address, packet)
        self.transport.poll(0.005)

    def until(self, condition) -> bool:
        return until(lambda: self.turn() or condition())

    def send(self, kind: int, *parts: bytes) -> None:
        self.link.send(kind, parts)

    def close(self) -> None:
        self.transport.close()


@pytest.fixture
def rogues():
    made = []

    def make(node, **hello):
        made.append(Rogue(node.address, **hello))
        return made[-1]

    yield make
    for rogue in made:
        rogue.close()


@pytest.fixture
def say(tcp_nodes):
    """Send raw packets to a node, as a peer that authenticates as nobody."""
    context = zmq.Context()

    def say(node, *packets):
        with context.socket(zmq.PUSH) as socket:
            socket.sndhwm = 10  # what waits here is this process's memory, too
            socket.sndtimeo = 60_000
            socket.connect(node.address)
            for packet in packets:
                socket.send(packet)
            socket.close(linger=5000)

    yield say
    context.term()


def is_well(a, b):
    """Two nodes serve each other as ever."""
    actor = record(b)
    assert outcome(a.send([actor.pid], 1, receipt=True)) == {"b": {"delivered": 1}}
    assert b.id in a.nodes() and a.id in b.nodes()
    assert reconciles(a.stats()) and reconciles(b.stats())


HELLO = encode_hello(Hello("x@1", "tcp://127.0.0.1:1", LIMITS))
HEADER = struct.Struct("<2sBBQQQ")
BAD_PACKETS = {
    "nothing": b"",
    "noise": b"\x00\xff" * 500,
    "no magic": HEADER.pack(b"XX", 1, 0, 1, 0, 0) + HELLO,
    "another version": HEADER.pack(b"MF", 9, 0, 1, 0, 0) + HELLO,
    "no session": HEADER.pack(b"MF", 1, 0, 0, 0, 0) + HELLO,
    "cut short": encode_packet(1, 0, 0, [HELLO[:-3]]),
    "a claim of 4 GB": encode_packet(1, 0, 0, [encode_frame_header(1, 2**32 - 1)]),
    "a kind of a later version": encode_packet(1, 0, 0, [encode_frame_header(15, 0)]),
    "a hello of no map": encode_packet(1, 0, 0, [encode_frame_header(1, 1), b"\x01"]),
    "frames out of nowhere": encode_packet(1, 77, 5, [encode_frame_header(16, 3), b"abc"]),
    "a hello from nowhere": encode_packet(1, 0, 0, [encode_hello(Hello("x@1", "", LIMITS))]),
    "an address that is none": encode_packet(1, 0, 0, [encode_hello(Hello("x@1", "nonsense", LIMITS))]),
    "a name as this node's": encode_packet(1, 0, 0, [encode_hello(Hello("a@1", "tcp://127.0.0.1:1", LIMITS))]),
}
TOLD = {
    "noise": "begins with",
    "no magic": "begins with",
    "another version": "speaks version 9 of the protocol, this node version 1",
    "no session": "session 0",
    "cut short": "claims",
    "a claim of 4 GB": "4294967295 bytes",
    "a kind of a later version": "unknown kind 15",
    "a hello of no map": "cannot be read",
    "an address that is none": "nonsense",
    "a name as this node's": "the name 'a' is that of",
}


@pytest.mark.parametrize("name", BAD_PACKETS)
def test_a_bad_packet_is_told_of_once_and_harms_nobody(tcp_nodes, say, lines, name):
    a, b = tcp_nodes.together("a", "b")
    say(a, *[BAD_PACKETS[name]] * 50)
    if name in TOLD:
        assert until(lambda: lines), "not a line"
        assert TOLD[name] in lines[0]
    is_well(a, b)
    assert stays(lambda: len(lines) == (name in TOLD), 0.1), lines
    assert sorted(a.nodes()) == sorted([a.id, b.id])


def test_many_bad_packets_take_no_memory(tcp_nodes, say, lines):
    a, b = tcp_nodes.together("a", "b")
    say(a, *[bytes([number % 251]) * 10_000 for number in range(1000)])
    is_well(a, b)
    before = resident_bytes()
    for _ in range(15):  # 150 MB
        say(a, *[bytes([number % 251]) * 10_000 for number in range(1000)])
        is_well(a, b)
    assert resident_bytes() - before < 30_000_000  # a queue of 1,000 packets at the receiving socket, and noise
    assert len(lines) < 300


SENDS = {
    "an unknown kind": (200, b"abc"),
    "a send cut short": (Kind.SEND, b"\0" * 5),
    "more recipients than bytes": (Kind.SEND, struct.pack("<HQI", 0, 0, 2**32 - 1)),
    "a message that is none": (Kind.SEND, struct.pack("<HQI", 0, 0, 1) + pack_ids([mint_id(1)]) + b"\xc1"),
    "a message to an audience that is none": (Kind.AUDIENCE_SEND, b"".join(AudienceSend(9, 0, 3, b"\xc1").pack())),
    "an audience cut short": (Kind.AUDIENCE_CHANGE, struct.pack("<Q?", 1, True) + b"123"),
    "an ask cut short": (Kind.ASK, b""),
    "an answer to nothing": (Kind.ANSWER, struct.pack("<Q?", 99, False) + b"\xc1"),
    "an outcome of nothing": (Kind.OUTCOME, b"".join(Outcome(99, 1, 2, 3).pack())),
    "an end of nobody": (Kind.DOWN, struct.pack("<Q", 99)),
    "members that are none": (Kind.MEMBERS, encode([[1, 2]])),
}
SAID = dict.fromkeys(SENDS, "makes no sense") | {
    "an unknown kind": "unknown kind 200",
    "a message that is none": "shed",
    "a message to an audience that is none": None,  # its members may have left
    "an answer to nothing": None,
    "an outcome of nothing": None,
    "an end of nobody": None,
}


@pytest.mark.parametrize("name", SENDS)
def test_a_frame_that_makes_no_sense_is_dropped_and_what_follows_it_is_not(tcp_nodes, rogues, lines, name):
    a, b = tcp_nodes.together("a", "b")
    actor = record(a)
    assert actor.pid.id == mint_id(1)
    rogue = rogues(a)
    assert rogue.until(lambda: rogue.link.state is State.UP)
    kind, body = SENDS[name]
    for _ in range(50):
        rogue.send(kind, body)
    rogue.send(Kind.SEND, *Send(0, [actor.pid.id], encode("after")).pack())
    assert rogue.until(lambda: actor.got == ["after"])
    assert rogue.link.state is State.UP
    assert [line for line in lines if SAID[name] and SAID[name] not in line] == []
    assert bool(lines) == bool(SAID[name])
    assert len(lines) <= 10
    is_well(a, b)


def test_who_breaks_the_protocol_again_and_again_costs_few_lines(tcp_nodes, rogues, lines):
    (a,) = tcp_nodes.together("a")
    rogue = rogues(a)
    assert rogue.until(lambda: rogue.link.state is State.UP)
    for number in range(1000):
        rogue.send(30 + number % 200, b"")
    assert rogue.until(lambda: not rogue.link.unacked)
    assert len(lines) == 10
    assert lines[-1].endswith("more of this will not be logged")


def test_a_node_that_says_nothing_more_is_down_in_time(tcp_nodes, rogues):
    limits = manifold.Limits(node_down_after_s=DOWN_AFTER_S)
    a, b = tcp_nodes.together("a", "b", limits=limits)
    seen = tcp_nodes.watch(a)
    rogue = rogues(a)
    assert rogue.until(lambda: "rogue@1" in a.nodes())
    assert until(lambda: "rogue@1" not in a.nodes())
    assert ("down", "b") not in seen.short()
    is_well(a, b)


def test_one_that_tells_of_very_many_nodes_has_few_dialled_at_a_time_and_not_all(tcp_nodes, rogues, lines, monkeypatch):
    a, b = tcp_nodes.together("a", "b")
    rogue = rogues(a)
    assert rogue.until(lambda: rogue.link.state is State.UP)
    turn, more = Hub._turn, []

    def watched(hub):
        before = len(hub._live)
        turn(hub)
        more.append(len(hub._live) - before)

    monkeypatch.setattr(Hub, "_turn", watched)
    nodes = [(f"n{number}@1", f"tcp://127.0.0.{number % 250 + 1}:{number}") for number in range(1, 8000)]
    rogue.send(Kind.MEMBERS, *Members(nodes).pack())
    assert rogue.until(lambda: any("no more are dialled" in line for line in lines))
    assert max(more) == 16
    is_well(a, b)
    meet(a, b)
    quiet(a)
