"""The reference to an actor by its key: a value, checked where it is made."""

from __future__ import annotations

import pytest

import manifold
from manifold import NotSerializable
from manifold.actors.placed import find_class
from manifold.core.views import Member, View


class Guild(manifold.Actor):
    class Inner(manifold.Actor):
        pass


class Other(manifold.Actor):
    pass


def view(*names, role="r"):
    return View((1, "maker"), [Member(f"{name}@1", (role,)) for name in names])


def test_references_are_equal_by_class_key_and_role_alone():
    one = manifold.placed(Guild, "k", 1, "two")
    assert one == manifold.placed(Guild, "k") == manifold.placed(Guild, "k", 3)
    assert len({one, manifold.placed(Guild, "k"), manifold.placed(Other, "k")}) == 2
    assert one != manifold.placed(Guild, b"k")
    assert one != manifold.placed(Guild, "k", role="r")
    assert one != "k"
    assert repr(manifold.placed(Guild, "k", role="r")) == "placed(Guild, 'k', role='r')"


def test_classes_inside_others_are_found_by_their_name():
    assert manifold.placed(Guild.Inner, "k") != manifold.placed(Guild, "k")
    assert find_class(__name__, "Guild.Inner") is Guild.Inner


@pytest.mark.parametrize("cls", [int, Guild("x"), "Guild", None, type("Unknown", (manifold.Actor,), {})], ids=range(5))
def test_a_class_that_others_could_not_find_is_refused(cls):
    with pytest.raises(TypeError):
        manifold.placed(cls, "k")


def test_a_class_defined_in_a_function_is_refused_with_advice():
    class Local(manifold.Actor):
        pass

    with pytest.raises(TypeError, match="top of a module"):
        manifold.placed(Local, "k")


@pytest.mark.parametrize("key", [1, None, ("a",), 1.5], ids=repr)
def test_a_key_is_text_or_bytes(key):
    with pytest.raises(TypeError, match="key"):
        manifold.placed(Guild, key)


def test_a_role_is_text_and_arguments_are_what_messages_are():
    with pytest.raises(TypeError, match="role"):
        manifold.placed(Guild, "k", role=7)
    with pytest.raises(NotSerializable):
        manifold.placed(Guild, "k", object())


def test_the_owner_is_that_of_the_view_it_is_asked_for():
    ref = manifold.placed(Guild, "k")
    first, second = view("a", "b", "c"), view("x")
    for _ in range(2):
        assert ref.owner(first) == f"{first.ring().find('k')}@1"
        assert ref.owner(second) == "x@1"
    assert manifold.placed(Guild, "k", role="r").owner(first) == ref.owner(first)
    assert manifold.placed(Guild, "k", role="nobody's").owner(first) is None


def test_nothing_is_imported_by_a_name():
    assert find_class("no.such.module", "Guild") is None
    assert find_class("xml.dom.pulldom", "PullDOM") is None  # there is one, which nobody here has imported
    assert find_class(__name__, "Guild.Nothing") is None
