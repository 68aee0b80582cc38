"""What fuzzing has found, each in words: the inputs themselves are in `corpus`."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import pytest

from manifold.cluster import hub as hub_module
from manifold.core.bodies import Answer, AudienceChange, AudienceSend, Kind, Outcome, Send, Watch
from manifold.core.codec import encode
from manifold.core.frames import Hello, encode_hello, encode_packet
from manifold.core.link import Link, LinkLimits
from manifold.errors import CodecError, RemoteError
from tests.fuzz import hub_target, peer_target
from tests.fuzz.home import at_home
from tests.fuzz.script import Script
from tests.fuzz.targets import ready

NO_MESSAGE = b"\xc1"


@pytest.fixture
def world():
    """A node with two peers; when the test is over, all that must hold at the end is looked at."""
    with ready(), at_home() as home:
        world = peer_target.World(home, Script(b""))
        yield world
        world.end()


def say(world, kind, body):
    world.peer.handle(kind, memoryview(b"".join(body.pack())))
    world.home.rest()


def test_an_answer_that_cannot_be_read_is_an_error_to_who_asked(world):
    say(world, Kind.ANSWER, Answer(1, False, NO_MESSAGE))
    with pytest.raises(CodecError):
        world.asks[0].get(timeout=0)


@pytest.mark.parametrize(
    "described", [[[], [], "", ""], ["ValueError", 7, "", ""], ["ValueError", [], "", [[]]], ["KeyError"], None]
)
def test_an_answer_that_describes_no_exception_is_an_error_to_who_asked(world, described):
    say(world, Kind.ANSWER, Answer(1, True, encode(described)))
    with pytest.raises(RemoteError, match="describes no exception"):
        world.asks[0].get(timeout=0)


@pytest.mark.parametrize("args", [["m", ["f", 1, {}, 5]], ["m", [[], [], [], []]]])
def test_an_exception_that_could_not_be_shown_is_described_instead(world, args):
    say(world, Kind.ANSWER, Answer(1, True, encode(["SyntaxError", args, "said", "traceback"])))
    with pytest.raises(RemoteError, match="SyntaxError: said"):
        world.asks[0].get(timeout=0)


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 0), (2, 1, 0), (0, 2**32 - 1, 2**32 - 1)])
def test_an_outcome_of_more_or_fewer_than_were_sent_to_is_dropped(world, counts):
    say(world, Kind.OUTCOME, Outcome(3, *counts))
    assert not world.receipt.done()
    say(world, Kind.OUTCOME, Outcome(3, 1, 0, 1))
    (outcome,) = world.receipt.get(timeout=0).values()
    assert (outcome.delivered, outcome.shed) == (1, 1)


def test_a_node_cannot_account_for_more_than_it_was_handed(world):
    handed = world.peer.handed
    world.peer.account([2**63, 2**63, 1])
    assert world.peer.settled == [handed, 0, 0]
    assert world.home.node.stats().in_flight >= 0


def test_who_counts_fewer_members_than_there_are_has_its_message_shed(world):
    steady = world.home.steady
    say(world, Kind.AUDIENCE_CHANGE, AudienceChange(1, 1, [steady.pid.id, world.mortal.pid.id]))
    say(world, Kind.AUDIENCE_SEND, AudienceSend(1, 0, 1, encode("counted as 1")))
    say(world, Kind.AUDIENCE_SEND, AudienceSend(1, 0, 2, encode("counted as 2")))
    assert steady.got == ["counted as 2"]
    assert world.peer.tally.counts == [2, 0, 1, 0]
    world.check_output()


def test_a_message_to_an_audience_that_was_never_defined_leaves_nothing(world):
    say(world, Kind.AUDIENCE_SEND, AudienceSend(1, 0, 3, encode("x")))
    assert world.peer.tally.counts == [0, 3, 0, 0]
    assert not world.peer.arrivals._replicas


@pytest.mark.parametrize("body", [Send(0, [], NO_MESSAGE), AudienceSend(1, 0, 0, NO_MESSAGE), Send(0, [], encode(1))])
def test_a_message_to_nobody_is_accounted_for_once(world, body):
    say(world, Kind.SEND if isinstance(body, Send) else Kind.AUDIENCE_SEND, body)
    assert world.peer.arrivals.backlog() == 0


def test_a_monitor_that_takes_the_number_of_another_leaves_nothing_behind(world):
    for actor in (world.home.steady, world.home.busy, world.mortal):
        say(world, Kind.WATCH, Watch(1, actor.pid.id))
    assert len(world.peer.arrivals._watchers) == 1


def test_a_monitor_of_an_actor_that_has_ended_is_forgotten(world):
    say(world, Kind.WATCH, Watch(1, world.mortal.pid.id))
    world.mortal.actor_ref.stop(block=False)
    world.home.rest()
    say(world, Kind.WATCH, Watch(2, 5))
    assert not world.peer.arrivals._watchers


def test_a_link_rests_though_it_has_something_to_tell_a_peer_that_it_does_not_know_yet():
    link = Link(Hello("a@1"), 10, now=0.0, limits=LinkLimits(hello_period_s=1.0))
    link.settle(1, 0, 0, 0.0)
    link.packets_to_send(0.5)
    assert link.next_timeout(0.5) > 0


@contextmanager
def node_with_peers():
    with ready(), at_home() as home:
        world = hub_target.World(home, Script(b""))
        patched = {"_LINKS_MAX": hub_target.LINKS_MAX, "_FORMER_MAX": hub_target.FORMER_MAX}
        with mock.patch.multiple(hub_module, **patched):
            world.turns(3)
            yield world
            world.end()


@pytest.mark.parametrize("name", ["n{}", "home@{}", "good@{}"])
def test_who_introduces_very_many_nodes_gets_few_links(name):
    with node_with_peers() as world:
        for number in range(100):
            hello = encode_hello(Hello(name.format(number), f"memory://{number}", hub_target.WIRE_LIMITS))
            world.bad.wires.send(hub_target.HOME, encode_packet(7, 0, 0, [hello]))
        world.turn()
        world.check()
