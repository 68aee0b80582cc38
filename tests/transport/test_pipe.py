"""The pipe: frames come whole and in order, in whatever pieces the socket takes and gives them."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from manifold.core.link_terms import LinkDown, LinkFull
from manifold.transport.pipe import Channel, Frame, Pipe, cost_of


@pytest.fixture
def pair():
    ends = socket.socketpair()
    stuck = []
    pipes = [Pipe(end, 1_000_000, lambda: stuck.append(1)) for end in ends]
    pipes[0].stuck = stuck
    yield pipes
    for pipe in pipes:
        pipe.close()


def plain(frames):
    return [(frame.channel, frame.kind, bytes(frame.body)) for frame in frames]


def test_a_frame_arrives_as_it_was_sent_in_one_write(pair):
    one, other = pair
    one.send(3, 16, [b"ab", b"", b"cd"])
    assert one.writes == 1
    assert plain(other.read()) == [(3, 16, b"abcd")]
    assert other.read() == []


def test_channels_share_the_pipe_in_order(pair):
    one, other = pair
    first, second = Channel(one, 1, 1000), Channel(one, 70_000, 1000)
    for number in range(50):
        (first if number % 3 else second).send(number, [bytes([number])])
    assert [frame.kind for frame in other.read()] == list(range(50))


def frames_of(sent):
    return [Frame(channel, kind, memoryview(body)) for channel, kind, body in sent]


@pytest.mark.parametrize("seed", range(5))
def test_frames_of_every_size_come_whole_and_in_order(pair, seed):
    one, other = pair
    one._max_bytes = 1 << 40
    rng = random.Random(seed)
    sizes = [rng.choice([0, 1, 9, 100, 70_000, 900_000]) for _ in range(60)]
    sent = [(rng.randrange(9), rng.randrange(16, 99), rng.randbytes(size)) for size in sizes]

    def write():
        for channel, kind, body in sent:
            one.send(channel, kind, [body[:5], body[5:]])

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    while len(got) < len(sent):
        one.flush()
        frames = other.read()
        assert frames is not None
        got += plain(frames)
    writer.join()
    assert got == sent
    assert one.flush()
    assert other.read_bytes == 0
    for frame in frames_of(sent):
        other.handled(frame)
    assert other.read_bytes == sum(cost_of(len(body)) for _, _, body in sent)


def test_what_the_socket_does_not_take_waits_and_is_told_once(pair):
    one, other = pair
    body = bytes(900_000)
    one.send(0, 16, [body])
    assert one.stuck == [1]
    with pytest.raises(LinkFull):
        one.send(0, 17, [body, body])
        one.send(0, 17, [b"x"])
    one.send(0, 18, [b"must go"], must_fit=False)
    assert one.stuck == [1]
    frames = []
    while len(frames) < 3:
        one.flush()
        frames += plain(other.read())
    assert [kind for _, kind, _ in frames] == [16, 17, 18]


def test_what_the_other_side_tells_makes_room(pair):
    one, other = pair
    one.send(0, 16, [bytes(1000)])
    assert one.pending_bytes == cost_of(1000)
    (frame,) = other.read()
    one.told(other.read_bytes, 0)
    assert one.pending_bytes == cost_of(1000)
    other.handled(frame)
    one.told(other.read_bytes, 400)
    assert one.pending_bytes == 400
    one.told(other.read_bytes, 0)
    assert one.pending_bytes == 0


def test_the_end_of_the_other_side_is_seen_and_a_closed_pipe_sends_nothing(pair):
    one, other = pair
    other.close()
    one.send(0, 16, [b"into the void"])
    assert one.read() is None
    one.close()
    with pytest.raises(LinkDown):
        one.send(0, 16, [b"x"])


def test_frames_that_came_before_the_end_are_read(pair):
    one, other = pair
    one.send(0, 16, [b"last words"])
    one.close()
    assert plain(other.read()) == [(0, 16, b"last words")]
    assert other.read() is None
