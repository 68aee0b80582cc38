"""Lines and callers without a server: messages are lost, time passes, and credit is never exceeded nor lost."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from manifold.transport import nats_callers, nats_wire
from manifold.transport.nats_callers import BUDGET_BYTES, CALLERS_MAX, WINDOW_BYTES, Callers
from manifold.transport.nats_dial import Lines
from manifold.transport.nats_wire import (
    ANNOUNCE,
    CALL,
    GRANT,
    HANGUP,
    LAST,
    MORE,
    PIECE_COST_MAX,
    PING,
    RESET,
    Message,
    cost,
    decode,
    encode,
)

PACKET_MAX = 500_000
PIECE = 60_000


class World:
    """Some who dial one; what is on the way is in two queues for each, and may be lost."""

    def __init__(self, dice, senders):
        self.dice = dice
        self.now = 0.0
        self.back = {f"s{number}": deque() for number in range(senders)}
        self.there = {name: deque() for name in self.back}
        self.lines = {name: Lines(name, self.poster(self.there[name])) for name in self.back}
        self.callers = Callers(lambda subject, message: self.back[subject].append(message), PACKET_MAX)
        self.sent = dict.fromkeys(self.back, 0)
        self.got = {name: [] for name in self.back}
        self.connected = dict.fromkeys(self.back, 0)
        for lines in self.lines.values():
            lines.dial("subject://r", "r", 0.0)

    def poster(self, queue):
        return lambda _, message: queue.append(message)

    def send(self, name, size):
        packet = b"%s %d " % (name.encode(), self.sent[name])
        packet += bytes(max(0, size - len(packet)))
        taken = self.lines[name].send("subject://r", packet, PIECE)
        self.sent[name] += taken
        return taken

    def deliver(self, name):
        """Let one message through, one way or the other."""
        if self.there[name] and (not self.back[name] or self.dice.random() < 0.5):
            self.on_there(self.there[name].popleft())
        elif self.back[name]:
            self.on_back(name, self.back[name].popleft())

    def on_there(self, message):
        if message.kind in (CALL, PING):
            act = self.callers.on_call if message.kind == CALL else self.callers.on_ping
            act(message, bytes(message.body).decode(), self.now)
        elif message.kind in (MORE, LAST):
            packet = self.callers.on_piece(message, self.now)
            if packet is not None:
                name, number, zeros = packet.split(b" ", 2)
                assert not zeros.strip(b"\0")
                self.got[name.decode()].append(int(number))
        else:
            assert message.kind == HANGUP
            self.callers.on_hangup(message, self.now)

    def on_back(self, name, message):
        if message.kind == GRANT:
            self.connected[name] += self.lines[name].on_grant(message, self.now) is not None
        else:
            assert message.kind == RESET
            self.lines[name].on_reset(message, self.now)

    def lose(self, name):
        queue = self.dice.choice([self.there, self.back])[name]
        if queue:
            del queue[self.dice.randrange(len(queue))]

    def pass_time(self, seconds):
        self.now += seconds
        for lines in self.lines.values():
            if self.now >= lines.due:
                lines.tick(self.now)
        if self.now >= self.callers.due:
            self.callers.tick(self.now)

    def settle(self):
        for _ in range(6):
            self.pass_time(1.1)
            while any(self.there.values()) or any(self.back.values()):
                for name in self.lines:
                    self.deliver(name)

    def check(self):
        callers = self.callers._callers.values()
        assert self.callers.ahead == sum(caller.ahead for caller in callers)
        assert all(0 <= caller.ahead <= WINDOW_BYTES for caller in callers)
        assert self.callers.ahead <= BUDGET_BYTES + len(callers) * PIECE_COST_MAX
        for name, numbers in self.got.items():
            assert numbers == sorted(set(numbers)), name

    def on_the_way(self):
        return sum(
            cost(len(message.body))
            for queue in self.there.values()
            for message in queue
            if message.kind in (MORE, LAST)
        )


@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_nothing_is_doubled_or_mixed_and_credit_comes_back(seed, senders, is_lossy):
    dice = random.Random(seed)
    world = World(dice, senders)
    names = list(world.lines)
    for _ in range(300):
        name, draw = dice.choice(names), dice.random()
        if draw < 0.35:
            world.send(name, dice.choice([10, 1000, PIECE, PIECE + 1, 400_000]))
        elif draw < 0.9:
            for _ in range(dice.randrange(8)):
                world.deliver(name)
        elif draw < 0.95 and is_lossy:
            world.lose(name)
        else:
            world.pass_time(dice.choice([0.01, 0.5, 2.0]))
        world.check()
        assert world.on_the_way() <= world.callers.ahead or is_lossy
    world.settle()
    for name in names:
        if not is_lossy:
            assert world.got[name] == list(range(world.sent[name]))
        last = world.sent[name]
        assert world.send(name, 100_000), "its credit is gone"
        world.settle()
        assert world.got[name][-1] == last
    world.check()


def test_one_that_is_busy_gets_more_and_all_together_no_more_than_there_is():
    world = World(random.Random(1), 40)
    world.settle()
    assert world.callers.ahead == 40 * PIECE_COST_MAX
    for _ in range(40):
        for name in world.lines:
            world.send(name, PIECE)
        world.settle()
        world.check()
    assert world.callers.ahead > BUDGET_BYTES / 2
    # A single one that stands still after that has no more on the way.
    for name in world.lines:
        while world.send(name, PIECE):
            pass
    assert world.on_the_way() <= world.callers.ahead


def test_who_exceeds_its_credit_or_leaves_something_out_is_cut():
    said = []
    for number, size in ((1, 10), (0, PIECE_COST_MAX)):
        callers = Callers(lambda subject, message: said.append((subject, message.kind)), PACKET_MAX)
        callers.on_call(Message(CALL, 7), "s", 0.0)
        assert callers.on_piece(Message(LAST, 7, number, bytes(size)), 0.0) is None
        assert callers.ahead == 0
    assert said == [("s", GRANT), ("s", RESET)] * 2


def test_what_is_published_again_is_not_taken_again():
    said = []
    callers = Callers(lambda subject, message: said.append(message.kind), PACKET_MAX)
    callers.on_call(Message(CALL, 7), "s", 0.0)
    first = Message(LAST, 7, 0, b"first")
    assert callers.on_piece(first, 0.0) == b"first"
    assert callers.on_piece(first, 0.0) is None
    assert callers.on_piece(Message(LAST, 7, cost(5), b"second"), 0.0) == b"second"
    assert RESET not in said


def test_callers_are_bounded_and_forgotten():
    callers = Callers(lambda *_: None, PACKET_MAX)
    for number in range(CALLERS_MAX + 10):
        callers.on_call(Message(CALL, number), "s", 0.0)
    assert len(callers._callers) == CALLERS_MAX
    callers.tick(nats_callers._FORGET_S)
    assert (len(callers._callers), callers.ahead) == (0, 0)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_none(data):
    message = decode(data)
    assert message is None or encode(message) == data


def test_messages_are_as_they_were_written_down():
    assert encode(Message(MORE, 2, 3, b"body")).hex() == "0103" + "0200000000000000" + "0300000000000000" + "626f6479"
    assert (CALL, GRANT, MORE, LAST, PING, RESET, HANGUP, ANNOUNCE) == tuple(range(1, 9))  # noqa: SIM300
    assert decode(encode(Message(PING, 2**64 - 1, 2**64 - 1, memoryview(b"me")))) == (PING, 2**64 - 1, 2**64 - 1, b"me")
    assert nats_wire.HEADER_BYTES == 18
