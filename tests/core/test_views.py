"""Agreement on views: everybody comes to the same ones, and nobody goes on before the others have come so far."""

from __future__ import annotations

import os

import pytest

from manifold.core.ring import Ring
from manifold.core.views import Agreement, Member, Opened, View, name_of
from manifold.errors import CodecError
from tests.core.views_world import World

MANY = int(os.environ.get("MANIFOLD_SCHEDULES", "60"))
NAMES = "cgbfaedh"


def together(number, seed=1):
    world = World(seed)
    for name in NAMES[:number]:
        world.node(name)
    world.link_all()
    world.settle()
    return world


def test_a_node_alone_is_in_a_view_of_its_own_that_is_open():
    agreement = Agreement("a@1", ["guild"])
    assert agreement.view.epoch == (1, "a@1")
    assert agreement.view.owner("k") == agreement.view.owner("k", "guild") == "a@1"
    assert agreement.view.owner("k", "other") is None
    assert agreement.is_open


@pytest.mark.parametrize("seed", range(MANY))
def test_nodes_that_come_in_any_order_and_leave_get_one_view_after_the_other(seed):
    world = World(seed)
    for name in world.random.sample(NAMES, world.random.randint(2, len(NAMES))):
        newcomer = world.node(name)
        for other in world.random.sample(sorted(world.nodes), len(world.nodes)):
            if other != newcomer:
                world.link(newcomer, other)
                world.run(world.random.choice([0, 0, 1, 5, 20]))
        if world.random.random() < 0.3:
            world.leave(world.random.choice(sorted(world.nodes)))
        world.run(world.random.choice([0, 3, 30, 300]))
    world.settle()
    world.check_quiet()


def disturb(world):
    """Do something that may happen to a cluster."""
    nodes = sorted(world.nodes)
    some = world.random.sample(nodes, min(2, len(nodes)))
    match world.random.randrange(7):
        case 0:
            free = sorted(set(NAMES) - set(map(name_of, nodes)))
            newcomer = world.node(world.random.choice(free)) if free else nodes[0]
            for other in sorted(set(nodes) - {newcomer}):
                world.link(newcomer, other)
        case 1 if len(nodes) > 2:
            world.kill(some[0])
        case 2:
            world.cut(*some)
        case 3:
            world.link(*some)
        case 4:  # a split into two
            side = set(world.random.sample(nodes, len(nodes) // 2))
            for node in sorted(side):
                for other in sorted(set(nodes) - side):
                    world.cut(node, other)
        case 5:
            world.paused ^= {some[0]}
        case _:
            world.leave(some[0])


@pytest.mark.parametrize("seed", range(2 * MANY))
def test_whatever_happens_all_come_to_the_same_view_once_it_is_over(seed):
    world = World(seed, is_rough=True)
    for name in NAMES[: world.random.randint(2, 6)]:
        world.node(name)
    world.link_all()
    for _ in range(world.random.randint(1, 25)):
        disturb(world)
        world.run(world.random.choice([0, 2, 10, 50, 200]))
    world.paused.clear()
    world.settle()
    world.link_all()
    world.settle()
    world.check_quiet()


def test_a_node_that_is_connected_with_some_only_does_not_tear_the_others_apart():
    world = together(3)
    a, b, c = sorted(world.nodes)
    before = world.nodes[b].view
    least = world.node("A")
    world.link(least, b)
    world.settle()
    assert [world.nodes[node].view.epoch for node in (a, b, c)] == [before.epoch] * 3
    world.is_rough = True
    world.kill(a)  # they go on without the newcomer, and without whom they have lost
    world.settle()
    assert {world.nodes[node].view.nodes for node in (b, c)} == {frozenset((b, c))}
    world.link(least, c)
    world.settle()
    world.check_quiet()


def test_a_view_whose_maker_dies_while_it_is_told_comes_to_all_or_is_followed_by_another():
    for seed in range(MANY):
        world = together(4, seed)
        world.is_rough = True
        maker = min(world.nodes)
        world.link(world.node("x"), maker)
        world.link_all()
        while len(world.nodes[maker].view.nodes) < 5:
            assert world.step()
        world.run(world.random.randrange(12))
        world.kill(maker)
        world.settle()
        world.check_quiet()


def test_who_leaves_owns_nothing_but_is_in_the_view():
    world = together(3)
    a, b, c = sorted(world.nodes)
    world.leave(b)
    world.settle()
    world.check_quiet()
    view = world.nodes[a].view
    assert b in view.nodes
    assert {view.owner(str(key)) for key in range(500)} == {a, c}


def test_when_all_have_left_a_key_belongs_nowhere():
    world = together(2)
    for node in list(world.nodes):
        world.leave(node)
    world.settle()
    assert {agreement.view.owner("k") for agreement in world.nodes.values()} == {None}


def test_a_key_with_a_role_belongs_to_a_node_that_has_it():
    world = World(1)
    guilds = {world.node("a", ("guild",)), world.node("b", ("guild", "session"))}
    session = world.node("c", ("session",))
    world.link_all()
    world.settle()
    view = world.nodes[session].view
    assert {view.owner(str(key), "guild") for key in range(200)} == guilds
    assert session in {view.owner(str(key), "session") for key in range(200)}
    assert view.owner("k", "nobody") is None
    assert set(view.ring().nodes) == {"a", "b", "c"}


def test_a_ring_made_of_the_one_before_is_the_one_made_anew():
    world = World(5)
    names = [f"n{number}" for number in range(12)]
    view = View((1, "x"), [Member("n0@1")])
    for number in range(2, 30):
        chosen = sorted(world.random.sample(names, world.random.randint(1, len(names))))
        roles = [("odd",) if int(name[1:]) % 2 else () for name in chosen]
        members = [
            Member(f"{name}@1", role, world.random.random() < 0.9) for name, role in zip(chosen, roles, strict=True)
        ]
        view = View((number, "x"), members, view)
        fresh = View((number, "x"), members)
        for role in (None, "odd"):
            assert view.ring(role) == fresh.ring(role)
            there = [view.owner(str(key), role) for key in range(50)]
            assert there == [fresh.owner(str(key), role) for key in range(50)]
        assert view.ring() == Ring([name_of(m.node) for m in members if m.takes_part])


def test_little_is_said_while_nothing_changes():
    world = together(8)
    world.words = 0
    world.node("z")
    world.link_all()
    world.settle()
    # The view, two rounds between all, and statuses to the one that leads, of each connection and each step.
    assert world.words < 9 * 8 * 4 + 9 * 8


@pytest.mark.parametrize(
    "words",
    [
        None,
        [],
        {},
        "switched",
        ["switched"],
        ["switched", 1],
        ["switched", 1, "a@1"],
        ["switched", 1, "a@1", 1],
        ["switched", 0, "a@1", True],
        ["switched", -1, "a@1", True],
        ["switched", 1 << 62, "a@1", True],
        ["switched", "1", "a@1", True],
        ["moved", 1, "a@1", True],
        ["moved", 1, 2],
        ["status", 1, "a@1", True, ["a@1", [], True], "a@1"],
        ["status", 1, "a@1", True, ["a@1", [1], True], []],
        ["status", 1, "a@1", True, ["a@1", []], []],
        ["status", 1, "a@1", True, ["a@1", [], True], [1]],
        ["offer", 1, "a@1", [["a@1", [], True], ["a@1", [], True]], []],
        ["offer", 1, "a@1", [["b@1", [], True], ["a@1", [], True]], []],
        ["status", 1, "a@1", True, ["of@another", [], True], []],
        ["offer", 1, "a@1", [], [None]],
        ["offer", 1, "a@1", [], []],
        ["offer", 1, "a@1", [["of@another", [], True]], []],
        ["without", 1, "a@1", [1]],
        ["without", 1, "a@1", "a@1"],
        ["take back", 1, "a@1", True],
        ["view", 2, "a@1", [["a@1", [], True], 1]],
        ["view", 2, "a@1", [["a@1", [], 1]]],
        ["unheard of", 1, "a@1"],
        [1, 1, "a@1"],
    ],
)
def test_words_that_make_no_sense(words):
    world = together(2)
    a, b = sorted(world.nodes)
    agreement = world.nodes[a]
    with pytest.raises(CodecError):
        agreement.hear(b, words)
    world.node("c")
    world.link_all()
    world.settle()
    world.check_quiet()


def test_a_view_that_this_node_is_not_in_or_that_is_old_is_none():
    world = together(2)
    a, b = sorted(world.nodes)
    view = world.nodes[a].view
    world.do(a, world.nodes[a].hear(b, ["view", 100, b, [[b, [], True]]]))
    world.do(a, world.nodes[a].hear(b, ["view", 1, b, [[a, [], True], [b, [], True]]]))
    assert world.nodes[a].view is view


def test_a_node_that_expects_others_is_sure_of_nothing_until_it_has_met_them_or_gives_up():
    alone = Agreement("a@1", expects_others=True)
    assert (alone.is_open, alone.is_sure) == (True, False)
    assert alone.expect_no_more() == [Opened()]
    assert alone.is_sure
    assert alone.expect_no_more() == []
    assert Agreement("a@1").is_sure
