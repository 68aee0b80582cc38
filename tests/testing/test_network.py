"""The simulated network does what the test says, when it says so, and the same again for the same seed."""

import doctest

import pytest

import manifold.testing.network as module
from manifold.core.frames import Garbage
from manifold.core.link_terms import Down, LinkDown, LinkLimits, Settled, State, Up
from manifold.testing import Faults, Network, Spinning

QUICK = LinkLimits(ping_period_s=0.2, node_down_after_s=1.0)


def pair(seed=1, limits=QUICK, **faults):
    network = Network(seed, faults=Faults(**faults))
    a, b = network.add("a", limits=limits), network.add("b", limits=limits)
    a.connect("b")
    b.connect("a")
    assert network.run_until(lambda: a.is_quiet("b") and b.is_quiet("a"), within_s=5)
    return network, a, b


def bodies(endpoint):
    return [bytes(frame.body) for _, frame in endpoint.frames]


def downs(endpoint):
    return [event.reason for _, event in endpoint.events if isinstance(event, Down)]


def test_the_example_in_the_docstring():
    lines = module.__doc__.split("\n\n")[1].splitlines()
    example = "\n".join(f">>> {line.strip()}" for line in ["from manifold.testing import *", *lines])
    test = doctest.DocTestParser().get_doctest(example, {}, "example", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def run_of(seed):
    network, a, b = pair(seed, loss=0.2, duplicate=0.2, reorder=0.2)
    seen = []
    network.on_packet = lambda *packet: seen.append((network.now, *packet))
    for number in range(50):
        a.send("b", 16, b"%d" % number)
        network.run(0.01)
    assert network.run_until(lambda: a.is_quiet("b"), within_s=10)
    assert bodies(b) == [b"%d" % number for number in range(50)]
    return seen


def test_a_seed_decides_everything():
    assert run_of(5) == run_of(5)
    assert run_of(5) != run_of(6)


def test_a_connection_keeps_the_order_unless_told_otherwise():
    for reorder in (0.0, 0.5):
        network, _, b = pair(reorder=reorder, delay_s=(0.0, 0.5), late_s=1.0)
        arrived = []
        b._arrived = lambda _, packet, arrived=arrived: arrived.append(packet)
        for number in range(50):
            network._transmit("a", "b", b"%02d" % number)
        network.run(2)
        packets = [packet for packet in arrived if len(packet) == 2]
        assert len(packets) == 50
        assert (packets == sorted(packets)) is (reorder == 0)


@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_loses_packets_until_it_is_healed(one_way):
    network, a, b = pair()
    network.partition("a", "b", one_way=one_way)
    a.send("b", 16, b"one")
    b.send("a", 16, b"two")
    network.run(0.3)
    assert (bodies(b), bodies(a)) == ([], [b"two"] if one_way else [])
    network.heal("a", "b")
    network.run(2.0)
    assert (bodies(b), bodies(a)) == ([b"one"], [b"two"])
    assert downs(a) == downs(b) == []


def test_a_partition_that_lasts_ends_the_session_on_both_sides():
    network, a, b = pair()
    session = a.links["b"].session
    network.partition("a", "b")
    network.run(1.5)
    assert downs(a) == downs(b) == ["silent"]
    assert a.links["b"].session > session
    network.heal("a", "b")
    network.run(1.5)
    assert a.is_up("b")
    assert b.is_up("a")


def test_a_broken_connection_loses_what_is_on_its_way_and_tells_when_it_is_back():
    network, a, b = pair()
    a.send("b", 16, b"one")
    network.disconnect("a", "b", for_s=0.05)
    assert not network.is_connected("a", "b")
    a.send("b", 16, b"two")
    network.run(0.049)
    assert bodies(b) == []
    network.run(0.006)
    assert network.is_connected("a", "b")
    assert bodies(b) == [b"one", b"two"]
    assert downs(a) == downs(b) == []


def test_who_is_paused_gets_what_has_come_when_it_goes_on():
    network, a, b = pair()
    b.pause()
    a.send("b", 16, b"one")
    network.run(0.5)
    assert bodies(b) == []
    b.resume()
    assert bodies(b) == [b"one"]
    b.pause()
    network.run(2.0)
    assert (downs(a)[0], downs(b)) == ("silent", [])
    b.resume()
    network.run(0.5)
    assert downs(b) == ["reset by peer"]
    assert a.is_quiet("b")


def test_a_restart_is_a_new_session():
    network, a, b = pair()
    a.send("b", 16, b"one", tag="lost")
    session = b.links["a"].session
    b.restart()
    network.run(0.5)
    assert b.links["a"].session > session
    assert downs(a) == ["reset by peer"]
    assert (downs(b), bodies(b)) == (["restart"], [])
    assert a.is_up("b")


def test_a_goodbye_is_for_good_until_somebody_connects():
    network, a, b = pair()
    down = []
    b.on_event = lambda peer, link, event: down.append((peer, link.state, event))
    a.close("b")
    network.run(5)
    assert (a.links, b.links, downs(a)) == ({}, {}, ["closed"])
    assert down == [("a", State.DOWN, Down("goodbye"))]
    link = b.connect("a")
    network.run(0.5)
    assert link.state is State.UP
    assert a.is_up("b")
    with pytest.raises(LinkDown):
        a.close("b") or link.close() or link.send(16, [b""])


def test_counts_and_backlog_reach_the_peer():
    limits = LinkLimits(frame_max_bytes=500, window_bytes=1600, outbox_max_bytes=100_000)
    network, a, b = pair(limits=limits)
    b.on_event = lambda peer, link, event: link.backlog(1600, network.now)
    for _ in range(5):
        a.send("b", 16, b"x" * 400)
    network.run(0.5)
    assert len(b.frames) == 2
    b.on_event = None
    b.backlog("a", 0)
    network.run(0.5)
    assert len(b.frames) == 5
    b.settle("a", 4, 1)
    network.run(0.1)
    assert a.events[-1] == ("b", Settled(4, 1, 0))
    assert isinstance(a.events[0][1], Up)


def test_what_is_no_packet_is_noted_and_changes_nothing():
    network, _, b = pair()
    network._transmit("a", "b", b"garbage")
    network.run(0.1)
    assert [type(error) for error in b.errors] == [Garbage]
    assert b.is_up("a")


def test_a_late_packet_without_a_link_is_answered_and_makes_none():
    network, a, b = pair()
    a._wanted.clear()
    a.links.clear()
    b.send("a", 16, b"x")
    network.run(0.01)
    assert downs(b) == ["reset by peer"]


def test_time_that_stands_still_is_an_error():
    network = Network(1)

    def again():
        network.after(0, again)

    again()
    with pytest.raises(Spinning, match="seed=1"):
        network.run(1)


def test_time_passes_when_nothing_happens():
    network = Network(1)
    network.run(5)
    assert network.now == 5
    assert network.run_until(lambda: network.now > 4, within_s=1)
    assert not network.run_until(lambda: False, within_s=1)
    assert network.now == 6
