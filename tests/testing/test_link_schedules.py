"""Links keep what they promise whatever the network does: the judge of `link_world` looks at every packet and event."""

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from manifold.testing import Faults
from tests.testing.link_world import FAST, LARGER, LIMITS, OTHERS, SLOW, STALLED, World

share = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.3])
seconds = st.sampled_from([0.0, 0.01, 0.1, 0.4])
sides = st.sampled_from([("a", "b"), ("b", "a")])
faults = st.builds(
    lambda loss, duplicate, reorder, longest, late_s: Faults(
        loss=loss, duplicate=duplicate, reorder=reorder, delay_s=(0.001, longest), late_s=late_s
    ),
    share,
    share,
    share,
    st.sampled_from([0.001, 0.003, 0.05]),
    st.sampled_from([0.01, 0.2, 2.0]),
)
sizes = st.sampled_from([4, 10, 100, 1000, 2000]) | st.integers(4, 2000)
steps = st.one_of(
    st.tuples(st.just("send"), sides, st.integers(1, 60), sizes),
    st.tuples(st.just("send"), sides, st.integers(1, 60), sizes),
    st.tuples(st.just("run"), st.floats(0.001, 0.3)),
    st.tuples(st.just("run"), st.floats(0.001, 0.3)),
    st.tuples(st.just("disconnect"), sides, seconds, st.booleans()),
    st.tuples(st.just("partition"), sides, st.booleans()),
    st.tuples(st.just("heal"), sides),
    st.tuples(st.just("pause"), sides),
    st.tuples(st.just("resume"), sides),
    st.tuples(st.just("restart"), sides),
    st.tuples(st.just("close"), sides),
    st.tuples(st.just("consume"), sides, st.sampled_from([FAST, SLOW, STALLED])),
    st.tuples(st.just("faults"), faults),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.5, 3.0])),
)


def play(world, schedule):
    network = world.network
    for what, *how in schedule:
        sides = how[0] if isinstance(how[0], tuple) else ()
        end = network.endpoints[sides[0]] if sides else None
        match what, how:
            case "send", (_, count, size):
                world.send(*sides, count, size)
            case (("run" | "wait"), (for_s,)):
                world.run(for_s)
            case "disconnect", (_, for_s, one_way):
                network.disconnect(*sides, for_s=for_s, one_way=one_way)
            case "partition", (_, one_way):
                network.partition(*sides, one_way=one_way)
            case "heal", _:
                network.heal(*sides)
            case "pause", _:
                end.pause()
            case "resume", _ if end.is_paused:
                end.resume()
            case "restart", _:
                end.restart()
            case "close", _ if not end.is_paused and sides[1] in end.links:
                end.close(sides[1])
            case "consume", (_, how_fast):
                world.consumers[sides[0]] = how_fast
            case "faults", (new,):
                network.faults = new


limits = st.sampled_from([LIMITS, LIMITS, OTHERS, LARGER])


@settings(max_examples=5 * settings().max_examples)
@given(st.integers(0, 2**32 - 1), faults, limits, limits, st.lists(steps, min_size=3, max_size=30))
def test_any_schedule(seed, first_faults, limits_a, limits_b, schedule):
    world = World(seed, first_faults, {"a": limits_a, "b": limits_b})
    try:
        play(world, schedule)
        world.settle_down()
    finally:
        note(f"{world.network!r}: {world.ups} ups, downs: {world.downs}, {len(world.sessions)} sessions")


@settings(max_examples=settings().max_examples // 2)
@given(st.integers(0, 2**32 - 1), faults, st.data())
def test_three_who_talk_to_one_another(seed, first_faults, data):
    world = World(seed, first_faults, {"a": LIMITS, "b": OTHERS, "c": LARGER})
    pair = st.permutations("abc").map(lambda names: tuple(names[:2]))
    for _ in range(data.draw(st.integers(2, 10))):
        play(world, [("send", data.draw(pair), data.draw(st.integers(1, 30)), 100), ("run", 0.05)])
        what = data.draw(st.sampled_from(["disconnect", "restart", "partition", "close", "heal"]))
        play(world, [(what, data.draw(pair), *{"disconnect": (0.1, False), "partition": (False,)}.get(what, ()))])
    world.settle_down()


HEAVY = Faults(loss=0.2, duplicate=0.2, reorder=0.2, delay_s=(0.001, 0.01), late_s=0.1)


@pytest.mark.parametrize("seed", range(20))
def test_much_is_brought_through_a_bad_network_in_one_session(seed):
    world = World(seed, HEAVY)
    for _ in range(100):
        world.send("a", "b", 5, 100)
        world.send("b", "a", 5, 100)
        world.run(0.05)
    world.settle_down()
    assert world.downs == []


@pytest.mark.parametrize("seed", range(10))
def test_a_connection_that_breaks_again_and_again_loses_nothing(seed):
    world = World(seed)
    for turn in range(30):
        world.send("a", "b", 20, 300)
        world.send("b", "a", 20, 300)
        world.run(0.02)
        world.network.disconnect("a", "b", for_s=0.3 * (turn % 3 == 0), one_way=turn % 2 == 0)
        world.run(0.5)
    world.settle_down()
    assert world.downs == []
    assert [len(session.got) for session in world.sessions.values()] == [600, 600]


@pytest.mark.parametrize("seed", range(10))
def test_a_pause_that_is_too_long_ends_the_session_on_both_sides(seed):
    world = World(seed)
    world.send("a", "b", 10, 100)
    world.send("b", "a", 10, 100)
    world.run(0.5)
    first = set(world.sessions)
    world.send("b", "a", 10, 100)
    world.network.endpoints["a"].pause()
    world.run(3.0)
    assert set(world.downs) == {"silent"}  # b's, again and again
    world.network.endpoints["a"].resume()
    world.settle_down()
    assert all(world.sessions[session].is_over for session in first)
    world.send("a", "b", 10, 100)
    world.settle_down()


@pytest.mark.parametrize("seed", range(10))
def test_a_pause_that_is_not_too_long_ends_nothing(seed):
    world = World(seed)
    world.send("a", "b", 10, 100)
    world.run(0.5)
    world.network.endpoints["b"].pause()
    world.send("a", "b", 10, 100)
    world.run(0.6)
    world.network.endpoints["b"].resume()
    world.settle_down()
    assert world.downs == []


@pytest.mark.parametrize("seed", range(10))
def test_a_slow_receiver_holds_up_the_sender_and_nothing_is_lost(seed):
    world = World(seed)
    world.consumers["b"] = STALLED
    for _ in range(30):
        world.send("a", "b", 20, 500)
        world.run(0.1)
    assert world.refused > 0
    assert world.network.endpoints["a"].links["b"].in_flight_bytes == 0  # it has no credit, and knows it
    world.consumers["b"] = SLOW
    world.run(2.0)
    world.settle_down()
    assert world.downs == []
