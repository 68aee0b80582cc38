"""A link does what its table says, when the time it is given says so; the schedules are in tests/testing."""

import copy
import re
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.core import link_terms
from manifold.core.flow import frame_cost
from manifold.core.frames import (
    Ack,
    Frame,
    FrameError,
    FrameTooLarge,
    Garbage,
    Hello,
    decode_packet,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
)
from manifold.core.link import Link
from manifold.core.link_terms import (
    TRANSITIONS,
    Down,
    Input,
    LinkDown,
    LinkFull,
    LinkLimits,
    Refused,
    Room,
    Settled,
    State,
    Up,
)

LIMITS = LinkLimits(frame_max_bytes=1_000, window_bytes=4_000, outbox_max_bytes=20_000, ping_period_s=3.0)
A, B = Hello("a@1", "tcp://a"), Hello("b@1", "tcp://b")
WIRE_LIMITS = {"frame_max_bytes": 1_000, "window_bytes": 4_000}
RESET, GOODBYE = encode_frame_header(4, 0), encode_goodbye()
KIND = 20


def pair(limits_a=LIMITS, limits_b=LIMITS):
    """Two links that are up, and quiet, at time 0; sessions 10 and 20."""
    a, b = Link(A, 10, now=0.0, limits=limits_a), Link(B, 20, now=0.0, limits=limits_b)
    exchange(a, b, 0.0)
    assert (a.state, b.state) == (State.UP, State.UP)
    assert not a.packets_to_send(0.9)
    assert not b.packets_to_send(0.9)
    return a, b


def exchange(a, b, now):
    """Carry packets to and fro until there are none; events of both."""
    events = [], []
    while True:
        to_b, to_a = a.packets_to_send(now), b.packets_to_send(now)
        if not to_b and not to_a:
            return events
        events[1].extend(event for packet in to_b for event in b.receive_packet(packet, now))
        events[0].extend(event for packet in to_a for event in a.receive_packet(packet, now))


def feed(link, packets, now):
    return [event for packet in packets for event in link.receive_packet(packet, now)]


def read(packets):
    return [decode_packet(packet, 10**9) for packet in packets]


def numbers(events):
    return [int(bytes(event.body)) for event in events if isinstance(event, Frame)]


def send_numbers(link, *which):
    for number in which:
        link.send(KIND, [b"%d" % number], tag=number)


def from_peer(*frames, sender=20, receiver=10, first=0):
    return encode_packet(sender, receiver, first, frames)


def a_frame(body=b"x"):
    return encode_frame_header(KIND, len(body)) + body


def a_hello(node="b@1", **limits):
    return encode_hello(Hello(node, "", {**WIRE_LIMITS, **limits}))


# The table.


def test_the_table_is_as_drawn():
    rows = [re.findall(r"\w+", line) for line in link_terms.__doc__.splitlines() if line.startswith("| ")]
    head, *body = rows
    drawn = {State[row[0]]: {Input[i]: State[s] for i, s in zip(head, row[1:], strict=True)} for row in body}
    assert drawn == TRANSITIONS
    assert all(set(row) == set(Input) for row in TRANSITIONS.values())


def in_state(state):
    link = Link(A, 10, now=0.0, limits=LIMITS)
    if state is not State.CONNECTING:
        feed(link, [from_peer(a_hello(), receiver=0 if state is State.MEETING else 10)], 0.0)
    if state is State.DOWN:
        feed(link, [from_peer(GOODBYE)], 0.0)
    assert link.state is state
    link.packets_to_send(0.0)
    return link


DO = {
    Input.HELLO: lambda link: link.receive_packet(from_peer(a_hello(), sender=21, receiver=0), 1.0),
    Input.ECHO: lambda link: link.receive_packet(from_peer(encode_ack(Ack())), 1.0),
    Input.SUCCESSOR: lambda link: link._move(Input.SUCCESSOR),
    Input.RESET: lambda link: link.receive_packet(from_peer(RESET, sender=link.peer_session or 20), 1.0),
    Input.GOODBYE: lambda link: link.receive_packet(from_peer(GOODBYE), 1.0),
    Input.SILENCE: lambda link: link.tick(10.0),
    Input.CLOSE: lambda link: link.close() or [],
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("by", Input)
def test_every_transition(state, by):
    link = in_state(state)
    reason = link.reason
    events = DO[by](link)
    assert link.state is TRANSITIONS[state][by]
    if (state, link.state) == (State.MEETING, State.UP):
        assert events == [Up(Hello("b@1", "", WIRE_LIMITS, ()))]
    elif link.state in (state, State.MEETING):
        assert (events, link.reason) == ([], reason)
    else:
        assert link.reason == by.value
        assert events == ([] if by is Input.CLOSE else [Down(by.value)])


@pytest.mark.parametrize(
    "packet",
    [
        from_peer(a_frame(), first=1),
        from_peer(encode_ping(0)),
        from_peer(encode_ack(Ack())),
        from_peer(a_hello(), sender=19, receiver=0),  # late, of an earlier session
        from_peer(a_hello(), sender=19),
        from_peer(a_hello(), sender=21, receiver=0),  # later, but is it there?
        from_peer(a_hello("b@2"), sender=3, receiver=0),
        from_peer(encode_ping(0), sender=21),
        from_peer(RESET, sender=21),
        from_peer(a_hello(), receiver=9),  # to an earlier session of ours
        from_peer(RESET, receiver=9),
        from_peer(RESET, receiver=0),
        from_peer(GOODBYE, receiver=9),
        from_peer(GOODBYE, sender=19),
        from_peer(a_frame(), sender=21, first=1),
    ],
)
def test_nothing_else_moves_a_link(packet):
    link = in_state(State.UP)
    link.receive_packet(packet, 0.0)
    assert link.state is State.UP


@pytest.mark.parametrize("frame", [a_frame(), GOODBYE, encode_ping(3), encode_ack(Ack(5))])
def test_before_a_hello_nothing_is_taken(frame):
    link = in_state(State.CONNECTING)
    assert link.receive_packet(from_peer(frame, receiver=0, first=int(frame == a_frame())), 0.0) == []
    assert link.state is State.CONNECTING


@pytest.mark.parametrize(("node", "session"), [("b@1", 21), ("b@2", 3)])
def test_a_later_session_takes_over_once_it_shows_that_it_lives(node, session):
    link, successor = in_state(State.UP), Link(Hello(node), session, now=1.0, limits=LIMITS)
    assert feed(link, successor.packets_to_send(1.0), 1.0) == []
    assert link.next_timeout(1.0) == 0
    question, *_ = link.packets_to_send(1.0)
    assert read([question])[0].receiver == session
    assert feed(successor, [question], 1.0) == []
    assert feed(link, successor.packets_to_send(1.0), 1.0) == [Down("new session")]
    assert successor.state is State.CONNECTING
    ours = Link(A, 11, now=1.0, limits=LIMITS)
    events = exchange(ours, successor, 1.0)
    assert [type(event) for side in events for event in side] == [Up, Up]


def test_a_hello_of_a_session_that_is_over_ends_nothing():
    link, over = in_state(State.UP), Link(Hello("b@1"), 21, now=0.0, limits=LIMITS)
    hellos = [packet for now in (0.0, 0.2, 0.5) for packet in over.packets_to_send(now)]
    over.close()
    over.packets_to_send(0.6)
    assert len(hellos) == 3
    for hello in hellos:
        assert feed(link, [hello], 1.0) == []
        assert feed(over, link.packets_to_send(1.0), 1.0) == []
        assert feed(link, over.packets_to_send(1.0), 1.0) == []
    assert link.state is State.UP


def test_a_later_session_that_is_met_takes_over_at_once():
    link = in_state(State.MEETING)
    feed(link, [from_peer(a_hello(), sender=21, receiver=0)], 0.0)
    assert (link.state, link.peer_session) == (State.MEETING, 21)
    assert feed(link, [from_peer(encode_ack(Ack()))], 0.0) == []  # the former
    assert feed(link, [from_peer(encode_ack(Ack()), sender=21)], 0.0) == [Up(link.peer)]


@pytest.mark.parametrize("frame", [a_frame(), encode_ping(3), encode_ack(Ack())])
def test_while_meeting_nothing_is_taken_but_of_one_who_knows_us(frame):
    link, first = in_state(State.MEETING), int(frame == a_frame())
    assert link.receive_packet(from_peer(frame, receiver=0, first=first), 0.0) == []
    assert link.state is State.MEETING
    up, *rest = link.receive_packet(from_peer(frame, first=first), 0.0)
    assert isinstance(up, Up)
    assert len(rest) == first


# Coming up.


def test_both_come_up_with_three_packets_in_all_when_one_begins():
    a, b = Link(A, 10, now=0.0), Link(B, 20, now=0.0, hello_after_s=5.0)
    assert b.packets_to_send(0.0) == []
    hello = a.packets_to_send(0.0)
    assert feed(b, hello, 0.0) == []
    assert b.state is State.MEETING
    echo = b.packets_to_send(0.0)
    (up,) = feed(a, echo, 0.0)
    assert up.hello.node == "b@1"
    answer = a.packets_to_send(0.0)
    assert [len(hello), len(echo), len(answer)] == [1, 1, 1]
    assert read(answer)[0].hello is None
    (up,) = feed(b, answer, 0.0)
    assert up.hello.node == "a@1"


def test_both_come_up_when_they_begin_at_once():
    a, b = Link(A, 10, now=0.0), Link(B, 20, now=0.0)
    ups_a, ups_b = exchange(a, b, 0.0)
    assert [up.hello.node for up in ups_a + ups_b] == ["b@1", "a@1"]
    assert (a.peer_session, b.peer_session) == (20, 10)
    assert a.peer == ups_a[0].hello
    assert a.peer.limits["window_bytes"] == LinkLimits().window_bytes


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_they_come_up_whichever_packet_of_the_first_three_is_lost(lost):
    a, b = Link(A, 10, now=0.0), Link(B, 20, now=0.0, hello_after_s=5.0)
    sides, now, count = [a, b], 0.0, 0
    while now < 1.0:
        for packet in sides[0].packets_to_send(now):
            if count != lost:
                sides[1].receive_packet(packet, now)
            count += 1
        sides.reverse()
        now += 0.01
    assert (a.state, b.state) == (State.UP, State.UP)


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_a_hello_is_repeated_less_and_less_until_it_is_answered(jitter):
    link, now, at = Link(A, 10, now=0.0, jitter=jitter), 0.0, []
    while link.state is State.CONNECTING:
        if packets := read(link.packets_to_send(now)):
            assert packets[0].hello.node == "a@1"
            at.append(now)
        now += link.next_timeout(now)
        link.tick(now)
    gaps = [round((later - sooner) / (1 + jitter / 4), 6) for sooner, later in pairwise(at)]
    assert gaps[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert (now, link.reason) == (10.0, "silent")


def test_introduce_changes_what_is_said():
    a, b = Link(A, 10, now=0.0), Link(B, 20, now=0.0)
    a.introduce(Hello("a@1", "tcp://new", {"later": 1}, (("c", "tcp://c"),)))
    with pytest.raises(FrameTooLarge):
        a.introduce(Hello("x" * 2_000_000))
    (up,) = exchange(a, b, 0.0)[1]
    assert (up.hello.address, up.hello.members) == ("tcp://new", (("c", "tcp://c"),))
    assert up.hello.limits["later"] == 1


# Frames.


def test_small_frames_are_put_together_and_large_ones_go_alone():
    a, b = pair(LinkLimits(), LinkLimits())
    for _ in range(64):
        a.send(KIND, [b"x" * 60, b"y" * 40])
    a.send(KIND, [b"z" * 100_000])
    for _ in range(3):
        a.send(KIND, [])
    packets = a.packets_to_send(1.0)
    assert [len(packet.frames) for packet in read(packets)] == [64, 1, 3]
    assert [packet.first for packet in read(packets)] == [1, 65, 66]
    assert len(feed(b, packets, 1.0)) == 68
    for _ in range(10):
        a.send(KIND, [b"x" * 95])
    assert [len(packet.frames) for packet in read(a.packets_to_send(1.0, 28 + 300))] == [3, 3, 3, 1]
    for _ in range(5000):
        a.send(KIND, [])
    assert [len(packet.frames) for packet in read(a.packets_to_send(1.0))] == [4093, 907]


def test_what_send_refuses_is_not_queued():
    a, _ = pair()
    with pytest.raises(FrameTooLarge):
        a.send(KIND, [b"x" * 600, b"x" * 401])
    with pytest.raises(ValueError, match="link's own"):
        a.send(15, [b""])
    assert a.pending_bytes == a.unacked == 0
    for _ in range(100):
        try:
            a.send(KIND, [b"x" * 995])
        except LinkFull:
            break
    assert (a.unacked, a.pending_bytes) == (15, 15 * (1000 + 352))
    a.send(KIND, [b"x"], must_fit=False)
    assert a.unacked == 16
    a.close()
    with pytest.raises(LinkDown, match="closed"):
        a.send(KIND, [b""], must_fit=False)
    assert a.unacked == 16


def test_a_peer_that_takes_less_is_sent_less():
    small = LinkLimits(frame_max_bytes=100, window_bytes=500, outbox_max_bytes=1_000)
    a, b = Link(A, 10, now=0.0, limits=LIMITS), Link(B, 20, now=0.0, limits=small)
    for size in (100, 101, 50, 500):
        a.send(KIND, [b"x" * size], tag=size)
    events, frames = exchange(a, b, 0.0)
    assert events[1:] == [Refused(101), Refused(500)]
    assert [len(frame.body) for frame in frames if isinstance(frame, Frame)] == [100, 50]
    with pytest.raises(FrameTooLarge):
        a.send(KIND, [b"x" * 101])
    exchange(a, b, 1.0)
    assert a.pending_bytes == 0


def test_room_comes_once_when_what_waits_falls_below_the_mark():
    a, b = pair()
    while a.pending_bytes < 20_000:
        a.send(KIND, [b"x" * 500])
    events, now = [], 1.0
    while a.unacked:
        events += exchange(a, b, now)[0]
        now += 0.01
    assert events == [Room()]


def test_abandoned_are_those_not_acknowledged():
    a, b = pair()
    send_numbers(a, 1, 2, 3)
    exchange(a, b, 1.0)
    exchange(a, b, 1.1)
    send_numbers(a, 4, 5)
    a.packets_to_send(1.2)
    send_numbers(a, 6)
    assert a.abandoned() == [4, 5, 6]
    a.reconnected()
    a.packets_to_send(1.2)
    feed(a, [from_peer(GOODBYE)], 1.3)
    assert a.abandoned() == [4, 5, 6]
    a.forget()
    assert (a.abandoned(), a.unacked, a.pending_bytes) == ([], 0, 0)


# What is lost.


def test_a_gap_is_asked_for_once_and_sent_again_once():
    a, b = pair()
    packets = []
    for number in range(1, 6):
        send_numbers(a, number)
        packets += a.packets_to_send(1.0)
    assert numbers(feed(b, packets[:1] + packets[2:], 1.0)) == [1]
    (answer,) = b.packets_to_send(1.0)
    feed(b, packets[2:], 1.0)
    assert b.packets_to_send(1.0) == []
    assert read([answer])[0].ack == Ack(1, 4_000 + frame_cost(1), resend=True)
    feed(a, [answer, answer], 1.0)
    again = a.packets_to_send(1.0)
    assert [(packet.first, len(packet.frames)) for packet in read(again)] == [(2, 4)]
    feed(a, [answer], 1.0)
    assert a.packets_to_send(1.0) == []
    assert numbers(feed(b, again, 1.0)) == [2, 3, 4, 5]
    assert feed(b, packets, 1.0) == []
    (done,) = b.packets_to_send(1.1)
    assert read([done])[0].ack == Ack(5, 4_000 + 5 * frame_cost(1))
    send_numbers(a, 6)
    packets = a.packets_to_send(1.1)
    feed(a, [done, answer], 1.1)  # the question comes late
    assert a.packets_to_send(1.1) == []
    assert numbers(feed(b, packets, 1.1)) == [6]


def test_when_nothing_is_acknowledged_the_peer_is_asked_less_and_less():
    a, _ = pair(LinkLimits(ping_period_s=100.0, node_down_after_s=1000.0), LIMITS)
    send_numbers(a, 1, 2)
    a.packets_to_send(1.0)
    at, now = [], 1.0
    while now < 10:
        now += a.next_timeout(now)
        at += [round(now - 1.0, 6) for packet in read(a.packets_to_send(now)) if packet.ping == 2]
    assert at[:6] == [0.25, 0.75, 1.75, 3.75, 5.75, 7.75]


def test_the_patience_is_as_at_first_once_something_was_acknowledged():
    a, b = pair()
    send_numbers(a, 1)
    a.packets_to_send(1.0)
    for now in (1.25, 1.75):
        a.packets_to_send(now)
    exchange(a, b, 2.75)
    exchange(a, b, 2.85)
    assert a.unacked == 0
    send_numbers(a, 2)
    a.packets_to_send(2.9)
    assert a.next_timeout(2.9) == pytest.approx(0.25)


def test_all_lost_comes_again_after_the_peer_was_asked():
    a, b = pair()
    send_numbers(a, 1, 2)
    a.packets_to_send(1.0)
    assert numbers(exchange(a, b, 1.24)[1]) == []
    assert numbers(exchange(a, b, 1.25)[1]) == [1, 2]
    exchange(a, b, 1.3)
    assert a.unacked == 0


def test_after_a_reconnect_all_is_sent_again_at_once():
    a, b = pair()
    send_numbers(a, 1, 2)
    a.packets_to_send(1.0)
    a.reconnected()
    (packet,) = a.packets_to_send(1.0)
    assert read([packet])[0].hello.node == "a@1"
    assert numbers(feed(b, [packet], 1.0)) == [1, 2]
    assert a.packets_to_send(1.0) == []


def test_a_reconnect_before_the_peer_is_known_says_hello():
    a = Link(A, 10, now=0.0)
    a.packets_to_send(0.0)
    a.reconnected()
    assert len(a.packets_to_send(0.0)) == 1
    assert a.next_timeout(0.0) > 0


# Credit, counts.


def test_credit_holds_up_the_sender_until_the_backlog_falls():
    a, b = pair()
    b.backlog(0, 1.0)
    for number in range(20):
        a.send(KIND, [b"x" * (500 - frame_cost(0))], tag=number)
    assert len(feed(b, a.packets_to_send(1.0), 1.0)) == 8
    b.backlog(4_000, 1.0)
    feed(a, b.packets_to_send(1.0), 1.0)
    assert (a.in_flight_bytes, a.unacked, a.packets_to_send(1.0)) == (0, 12, [])
    b.backlog(3_500, 2.0)
    assert b.packets_to_send(2.0) == []
    feed(a, b.packets_to_send(2.0 + LIMITS.ack_delay_s), 2.0)
    assert [len(packet.frames) for packet in read(a.packets_to_send(2.0))] == [1]
    b.backlog(9_000, 2.1)
    feed(a, b.packets_to_send(2.2), 2.2)
    assert a.packets_to_send(2.2) == []


def test_credit_that_comes_late_takes_nothing_back():
    a, b = pair()
    send_numbers(a, 1)
    feed(b, a.packets_to_send(1.0), 1.0)
    first = b.packets_to_send(1.1)
    send_numbers(a, 2)
    feed(b, a.packets_to_send(1.1), 1.1)
    feed(a, b.packets_to_send(1.2) + first, 1.2)
    a.send(KIND, [b"x" * (1_000 - frame_cost(0))])
    a.send(KIND, [b"x" * (1_000 - frame_cost(0))])
    a.send(KIND, [b"x" * (1_000 - frame_cost(0))])
    a.send(KIND, [b"x" * (1_000 - frame_cost(0))])
    assert len(feed(b, a.packets_to_send(1.2), 1.2)) == 4


def test_what_is_to_be_told_goes_with_what_is_sent():
    a, b = pair()
    send_numbers(a, 1)
    feed(b, a.packets_to_send(1.0), 1.0)
    assert b.packets_to_send(1.0) == []
    send_numbers(b, 2)
    (packet,) = read(b.packets_to_send(1.0))
    assert (packet.ack.seq, len(packet.frames)) == (1, 1)
    assert b.packets_to_send(1.1) == []


def test_counts_come_within_the_delay_and_once():
    a, b = pair()
    b.settle(3, 0, 1, 1.0)
    b.settle(1, 2, 0, 1.0)
    assert b.next_timeout(1.0) == pytest.approx(LIMITS.ack_delay_s)
    (packet,) = b.packets_to_send(1.01)
    assert a.receive_packet(packet, 1.01) == [Settled(4, 2, 1)]
    assert a.receive_packet(packet, 1.01) == []
    b.settle(0, 0, 1, 1.1)
    (later,) = b.packets_to_send(1.2)
    assert feed(a, [later, packet, later], 1.2) == [Settled(0, 0, 1)]


def test_counts_that_are_lost_come_with_the_next_ping():
    a, b = pair()
    b.settle(3, 0, 0, 1.0)
    b.packets_to_send(1.01)
    assert exchange(a, b, 4.02)[0] == [Settled(3, 0, 0)]


# Time.


def test_next_timeout_leads_through_a_quiet_life_with_pings_alone():
    a, b = pair()
    now, pings = 0.0, 0
    while now < 60:
        now += min(a.next_timeout(now), b.next_timeout(now))
        assert a.tick(now) + b.tick(now) == []
        sent = a.packets_to_send(now)
        pings += sum(packet.ping is not None for packet in read(sent))
        feed(b, sent, now)
        feed(a, b.packets_to_send(now), now)
    assert 15 < pings < 25


def test_silence_ends_a_link_at_its_time():
    a, _ = pair()
    assert a.tick(9.99) == []
    assert a.tick(10.0) == [Down("silent")]
    assert a.tick(10.6) == []
    assert a.next_timeout(10.6) is None


def test_close_says_why():
    a, b = pair()
    a.close("the name is taken")
    assert feed(b, a.packets_to_send(1.0), 1.0) == [Down("goodbye", "the name is taken")]


def test_one_who_is_turned_away_hears_why_before_it_comes_up():
    a, b = Link(A, 10, now=0.0), Link(B, 20, now=0.0)
    feed(b, a.packets_to_send(0.0), 0.0)
    b.close("the name is taken")
    assert feed(a, b.packets_to_send(0.0), 0.0) == [Down("goodbye", "the name is taken")]


def test_ask_has_the_peer_say_that_it_is_there():
    a, b = pair()
    a.ask()
    exchange(a, b, 1.0)
    assert a.heard_at == 1.0


def test_close_says_goodbye_once():
    a, b = pair()
    send_numbers(b, 1)
    a.close()
    a.close()
    assert a.next_timeout(1.0) == 0
    assert feed(b, a.packets_to_send(1.0), 1.0) == [Down("goodbye")]
    assert (a.packets_to_send(1.0), a.next_timeout(1.0)) == ([], None)


@pytest.mark.parametrize("state", [State.UP, State.DOWN])
def test_who_speaks_to_a_session_that_is_over_is_told_so_now_and_then(state):
    link = in_state(state)
    link.packets_to_send(0.0)
    over = 10 if state is State.DOWN else 9
    resets = []
    for step in range(100):
        now = 1.0 + step / 100
        assert link.receive_packet(from_peer(a_frame(), sender=33, receiver=over, first=1), now) == []
        resets += [packet for packet in read(link.packets_to_send(now)) if packet.reset]
    assert len(resets) == 10
    assert {(packet.sender, packet.receiver) for packet in resets} == {(over, 33)}
    link.packets_to_send(2.9)
    for frame in (RESET, GOODBYE):
        link.receive_packet(from_peer(frame, receiver=9), 3.0)
        assert not [packet for packet in read(link.packets_to_send(3.0)) if packet.reset]


# What no peer in its senses sends.


def snapshot(value):
    if isinstance(value, deque):
        return [snapshot(item) for item in value]
    slots = getattr(type(value), "__slots__", None)
    if not slots or isinstance(value, tuple | LinkLimits | Hello):
        return copy.copy(value)
    return {name: snapshot(getattr(value, name)) for name in slots}


@pytest.mark.parametrize("state", [State.CONNECTING, State.UP])
@pytest.mark.parametrize(
    ("frames", "first"),
    [
        ([encode_ack(Ack(seq=4))], 0),
        ([a_frame(b"x" * 900)] * 5, 1),
        ([encode_ack(Ack(resend=True, delivered=5)), a_frame(b"x" * 900), a_frame(b"x" * 1001)], 1),
        ([GOODBYE, b"rest"], 0),
    ],
)
def test_a_packet_that_is_refused_changes_nothing(state, frames, first):
    link = in_state(state)
    send_numbers(link, 1, 2, 3)
    link.packets_to_send(0.5)
    before = snapshot(link)
    with pytest.raises(FrameError):
        link.receive_packet(from_peer(a_hello(), *frames, first=first), 0.6)
    assert snapshot(link) == before


@given(st.data())
def test_damage_is_refused_or_taken_and_never_anything_else(data):
    link = in_state(State.UP)
    send_numbers(link, 1, 2, 3)
    link.packets_to_send(0.5)
    packet = from_peer(a_hello(), a_frame(b"hello"), encode_ack(Ack(2, 5_000)), encode_ping(0), first=1)
    damaged = bytearray(packet)
    for at in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=3)):
        damaged[at] = data.draw(st.integers(0, 255))
    before = snapshot(link)
    try:
        link.receive_packet(bytes(damaged), 0.6)
    except FrameError:
        assert snapshot(link) == before
    link.packets_to_send(0.7)


def test_credit_is_checked_without_those_that_came_before():
    a, b = pair()
    for _ in range(8):
        a.send(KIND, [b"x" * 495])
    packets = a.packets_to_send(1.0)
    for _ in range(3):
        feed(b, packets, 1.0)
    with pytest.raises(Garbage, match="credit"):
        b.receive_packet(encode_packet(10, 20, 1, [a_frame(b"x" * 495)] * 9), 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_bytes": 1_004},
        {"frame_max_bytes": 0},
        {"ack_delay_s": 0},
        {"drain_below": -1},
        {"ping_period_s": 4.0},
    ],
)
def test_limits_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkLimits(**{"frame_max_bytes": 1_000, "window_bytes": 2_000, **wrong})
