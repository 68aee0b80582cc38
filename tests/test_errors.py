"""The errors: one tree, caught also as what they are in Python and Pykka, with messages that say what, where and what
to do.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pykka
import pytest

import manifold
from manifold import Actor, AskTimeout, Limits, ManifoldError, Node, Overloaded, errors

OWN = [*errors.__all__, "AskTimeout"]
KINDS = {
    "NotSerializable": TypeError,
    "MessageTooLarge": ValueError,
    "WouldDeadlock": RuntimeError,
    "NodeStopped": RuntimeError,
    "CodecError": ValueError,
    "AskTimeout": TimeoutError,
}


SAID = [
    errors.NotSerializable("an object of type set", "['d'][3]"),
    errors.MessageTooLarge(20, 10),
    Overloaded(["a@1", "b@2"], 3, "the outbox"),
    errors.WouldDeadlock("this would never end"),
    errors.NodeStopped("a@1"),
    errors.NameTaken("lobby", manifold.PID("a@1", 7)),
    errors.NotPlaced("guild:42"),
    errors.NodeDown("a@1", "goodbye"),
    errors.RemoteError("KeyError", "'d'", "line 1"),
    errors.CodecError("not a message"),
    AskTimeout("no answer within 5 s"),
]


def class_of(name):
    return AskTimeout if name == "AskTimeout" else getattr(errors, name)


@pytest.mark.parametrize("error", SAID, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_says_the_same_in_another_process(error, again):
    other = again(error)
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_every_error_that_there_is_can_go_there():
    assert {type(error).__name__ for error in SAID} == {*OWN} - {"ManifoldError"}


class Waits(Actor):
    """Answers when its event is set: blocks its worker until then."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def on_receive(self, message):
        self.gate.get(timeout=20)


class Idle(Actor):
    pass


@pytest.fixture
def node():
    with Node("errs", workers=1) as running:
        yield running


@pytest.mark.parametrize("name", OWN)
def test_every_error_is_a_manifold_error(name):
    assert issubclass(class_of(name), ManifoldError)
    assert issubclass(class_of(name), Exception)


@pytest.mark.parametrize("name", OWN)
def test_every_error_is_public(name):
    assert getattr(manifold, name) is class_of(name)
    assert name in manifold.__all__


@pytest.mark.parametrize("name", OWN)
def test_every_error_says_in_its_docstring_what_it_means(name):
    assert class_of(name).__doc__


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_stands_in_the_tree_at_the_top_of_its_file(name):
    assert name in inspect.getdoc(errors)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_an_error_is_caught_as_what_it_is_in_python_too(name, kind):
    assert issubclass(class_of(name), kind)


def test_an_ask_that_times_out_is_a_timeout_of_pykka():
    assert issubclass(AskTimeout, pykka.Timeout)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (object(), ""),
        ({"d": [1, 2, 3, object()]}, "['d'][3]"),
        ([{"a": (1, {2: object()})}], "[0]['a'][1][2]"),
    ],
    ids=["top", "in a list", "deep"],
)
def test_not_serializable_names_the_place_the_type_and_what_to_do(node, message, path):
    pid = node.spawn(Idle)
    with pytest.raises(manifold.NotSerializable) as caught:
        node.send(pid, message, pack_mode="binary")
    assert caught.value.path == path
    text = str(caught.value)
    assert text.startswith(f"message{path}: ")
    assert "object" in text
    assert "register_type" in text
    assert node.stats().sent == 0


def test_message_too_large_names_both_sizes_and_the_limit():
    with Node(workers=1, limits=Limits(message_max_bytes=50)) as node:
        with pytest.raises(manifold.MessageTooLarge) as caught:
            node.send(node.spawn(Idle), "x" * 200, pack_mode="binary")
        assert caught.value.max_bytes == 50
        assert caught.value.size_bytes > 200
        assert str(caught.value.size_bytes) in str(caught.value)
        assert "Limits.message_max_bytes is 50" in str(caught.value)
        assert node.stats().sent == 0


def test_overloaded_names_the_node_what_was_shed_and_what_to_do():
    gate = manifold.Future()
    with Node(workers=1, limits=Limits(worker_queue_max_bytes=2000)) as node:
        pid = node.spawn(Waits, gate)
        try:
            with pytest.raises(Overloaded) as caught:
                for number in range(1000):
                    node.send([pid] * 3, number)
        finally:
            gate.set()
        assert caught.value.nodes == (node.id,)
        assert caught.value.shed == 3
        assert node.id in str(caught.value)
        assert "drain()" in str(caught.value)
        assert node.stats().shed == 3


def test_would_deadlock_says_what_to_do_instead(node):
    class Asks(Actor):
        def on_receive(self, message):
            return manifold.ask(self.pid, "never").get()

    with pytest.raises(manifold.WouldDeadlock, match="await"):
        node.ask(node.spawn(Asks), "go").get(timeout=10)


def test_node_stopped_names_the_node_and_what_to_do(node):
    pid = node.spawn(Idle)
    node.stop()
    with pytest.raises(manifold.NodeStopped, match=re.escape(node.id)) as caught:
        node.send(pid, 1)
    assert "start" in str(caught.value)


def test_ask_timeout_names_the_time_and_the_actor(node):
    gate = manifold.Future()
    pid = node.spawn(Waits, gate)
    try:
        with pytest.raises(AskTimeout) as caught:
            node.ask(pid, 1, timeout=0.01).get()
    finally:
        gate.set()
    assert "0.01 seconds" in str(caught.value)
    assert str(pid) in str(caught.value)


def test_node_down_names_the_node_and_the_reason(node):
    with pytest.raises(manifold.NodeDown) as caught:
        node.ask(manifold.PID("nowhere@0", 1), 1).get(timeout=10)
    assert caught.value.node == "nowhere@0"
    assert "nowhere@0" in str(caught.value)
    assert caught.value.reason in str(caught.value)


def test_a_recipient_that_is_none_is_named_with_its_place(node):
    pid = node.spawn(Idle)
    with pytest.raises(TypeError, match=r"recipient 2 .*'nobody here'"):
        node.send([pid, None, "nobody here", pid], 1)
    assert node.stats().sent == 0


@pytest.mark.parametrize("option", ["pack_mode", "send_mode"])
def test_an_unknown_option_is_named_with_what_there_is(node, option):
    pid = node.spawn(Idle)
    with pytest.raises(ValueError, match=f"{option} must be None or '.*', not 'sideways'"):
        node.send(pid, 1, **{option: "sideways"})
    assert node.stats().sent == 0
