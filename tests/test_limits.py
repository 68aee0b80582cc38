"""Limits: all above 0, each with its unit in its name and its meaning in writing; one error names what is wrong."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math

import pytest

from manifold import Actor, Limits, MessageTooLarge, Node

NAMES = [field.name for field in dataclasses.fields(Limits)]


class Idle(Actor):
    pass


def test_the_defaults_are_above_0():
    assert NAMES
    assert all(getattr(Limits(), name) > 0 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, -math.inf, True, False, None, "5", b"5", [5]], ids=repr)
def test_a_value_that_is_no_number_above_0_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match="above 0") as caught:
        Limits(**{name: value})
    assert f"Limits.{name} " in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_that_is_set_is_kept_and_leaves_the_others(name):
    value = getattr(Limits(), name) * 1.2
    limits = Limits(**{name: value})
    assert getattr(limits, name) == value
    assert dataclasses.replace(limits, **{name: getattr(Limits(), name)}) == Limits()


def test_limits_cannot_be_changed():
    limits = Limits()
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.message_max_bytes = 1
    assert limits == Limits()
    assert hash(limits) == hash(Limits())


def test_limits_are_given_by_name():
    with pytest.raises(TypeError):
        Limits(1)
    with pytest.raises(TypeError, match="mesage_max_bytes"):
        Limits(mesage_max_bytes=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_ends_in_its_unit(name):
    # Three have none: a number of timers, one of restarts, and a share.
    assert name.endswith(("_bytes", "_s")) or name in {"timers_max", "worker_restarts_max", "drain_below"}


def test_every_limit_says_what_it_means():
    tree = ast.parse(inspect.getsource(Limits)).body[0]
    described = {
        line.target.id
        for line, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }
    assert described == set(NAMES)


def test_a_node_has_the_default_limits_unless_it_is_given_others():
    with Node(workers=1) as node:
        assert node.limits == Limits()
    with Node(workers=1, limits=Limits(message_max_bytes=10)) as node:
        assert node.limits.message_max_bytes == 10


def test_a_message_may_be_as_large_as_its_limit_and_no_larger():
    with Node(workers=1) as node:
        text = "x" * 100
        pid = node.spawn(Idle)
        with pytest.raises(MessageTooLarge) as caught, Node(workers=1, limits=Limits(message_max_bytes=1)) as tight:
            tight.send(tight.spawn(Idle), text, pack_mode="binary")
        size = caught.value.size_bytes
        assert size > len(text)
        assert node.send(pid, text, pack_mode="binary", receipt=True).get(timeout=10)[node.id].delivered == 1
    with Node(workers=1, limits=Limits(message_max_bytes=size)) as node:
        sent = node.send(node.spawn(Idle), text, pack_mode="binary", receipt=True)
        assert sent.get(timeout=10)[node.id].delivered == 1
    with Node(workers=1, limits=Limits(message_max_bytes=size - 1)) as node:
        pid = node.spawn(Idle)
        with pytest.raises(MessageTooLarge):
            node.send(pid, text, pack_mode="binary")
        assert node.stats().sent == 0
