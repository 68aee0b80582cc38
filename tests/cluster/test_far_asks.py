"""ask across nodes: the value, the exception, or why there is none."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pykka
import pytest

import manifold
from manifold import Limits
from tests.cluster.support import meet, quiet, record, until
from tests.support import PATIENCE_S, Hold


class Own(Exception):
    pass


class Vicious(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Odd(Exception):
    def __init__(self, one, *, two):
        super().__init__(one, object())


class Raising(manifold.Actor):
    def on_receive(self, message):
        raise {
            "key": KeyError("k"),
            "value": ValueError("bad", 3),
            "os": FileNotFoundError(2, "No such file"),
            "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
            "zero": ZeroDivisionError("division by zero"),
            "timeout": TimeoutError("slow"),
            "stop": StopIteration(3),
            "own": Own("mine"),
            "odd": Odd(1, two=2),
            "vicious": Vicious(),
            "object": ValueError(object()),
            "group": ExceptionGroup("several", [ValueError(1)]),
            "exit": SystemExit(3),
            "down": manifold.NodeDown("x"),
        }[message]


@pytest.fixture
def asking(nodes, caplog):
    caplog.set_level("CRITICAL", logger="pykka")
    return nodes.together("a", "b")


def raised_by(a, b, what):
    pid = b.spawn(Raising)
    with pytest.raises(BaseException) as raised:
        a.ask(pid, what, timeout=PATIENCE_S).get()
    return raised.value


def test_a_value(asking):
    a, b = asking
    actor = record(b)
    for value in (None, 1, "x", (1, [2, {3}]), actor.pid, datetime(2024, 1, 1, tzinfo=UTC), {"a": b"b"}):
        answer = a.ask(actor.pid, value).get()
        assert answer == value
        assert type(answer) is type(value)


async def test_it_can_be_awaited(asking):
    a, b = asking
    assert await a.ask(record(b).pid, 5) == 5


def test_an_actor_asks_across_nodes(asking):
    a, b = asking
    far = record(b)

    class Asking(manifold.Actor):
        async def on_receive(self, message):
            return ("relayed", await manifold.ask(far.pid, message))

    assert a.ask(a.spawn(Asking), 1).get() == ("relayed", 1)


def test_an_async_handler_answers(asking):
    a, b = asking

    class Async(manifold.Actor):
        async def on_receive(self, message):
            return message * 2

    assert a.ask(b.spawn(Async), 21).get() == 42


@pytest.mark.parametrize(
    ("what", "kind", "args"),
    [
        ("key", KeyError, ("k",)),
        ("value", ValueError, ("bad", 3)),
        ("os", FileNotFoundError, (2, "No such file")),
        ("unicode", UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "why")),
        ("zero", ZeroDivisionError, ("division by zero",)),
        ("timeout", TimeoutError, ("slow",)),
        ("stop", StopIteration, (3,)),
    ],
)
def test_pythons_own_exceptions_come_as_they_are(asking, what, kind, args):
    error = raised_by(*asking, what)
    assert type(error) is kind
    assert error.args == args


@pytest.mark.parametrize("what", ["own", "odd", "object", "group", "exit", "down", "vicious"])
def test_other_exceptions_come_as_remote_errors(asking, what):
    error = raised_by(*asking, what)
    assert type(error) is manifold.RemoteError
    assert "on_receive" in error.traceback_text
    assert {"own": "Own", "odd": "Odd", "vicious": "Vicious", "exit": "SystemExit"}.get(what, "") in error.kind


def test_an_exception_stops_neither_worker_nor_count(asking):
    a, b = asking
    for what in ("key", "own", "vicious"):
        raised_by(a, b, what)
    assert a.ask(record(b).pid, 1).get() == 1
    assert quiet(a).in_flight == 0


def test_a_dead_actor(asking):
    a, b = asking
    actor = record(b)
    actor.actor_ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        a.ask(actor.pid, 1).get()
    assert quiet(a).dead == 1


def test_an_actor_that_stops_with_the_question_in_its_mailbox(asking):
    a, b = asking
    actor = record(b)
    with Hold(b) as one, Hold(b) as other:
        future = a.ask(actor.pid, "never", timeout=PATIENCE_S)
        stopped = actor.actor_ref.stop(block=False)
        late = a.ask(actor.pid, "late", timeout=PATIENCE_S)
        one.release()
        other.release()
    stopped.get(timeout=PATIENCE_S)
    for waiting in (future, late):
        try:
            assert waiting.get() in ("never", "late")
        except pykka.ActorDeadError:
            pass
    quiet(a)


def test_an_answer_that_cannot_travel(asking):
    a, b = asking

    class Bad(manifold.Actor):
        def on_receive(self, message):
            return object()

    pid = b.spawn(Bad)
    with pytest.raises((manifold.NotSerializable, manifold.RemoteError)):
        a.ask(pid, 1, timeout=PATIENCE_S).get()
    quiet(a)


def test_an_answer_that_is_too_large(nodes):
    limits = Limits(message_max_bytes=10_000, packet_max_bytes=20_000)
    a, b = nodes.together("a", "b", limits=limits, workers=1)

    class Big(manifold.Actor):
        def on_receive(self, message):
            if message == "raise":
                raise ValueError("x" * 50_000)
            return "x" * message

    pid = b.spawn(Big)
    assert len(a.ask(pid, 9_000, timeout=PATIENCE_S).get()) == 9_000
    for size in (50_000, 19_990, 20_001):
        with pytest.raises((manifold.MessageTooLarge, manifold.RemoteError)):
            a.ask(pid, size, timeout=PATIENCE_S).get()
    with pytest.raises((ValueError, manifold.RemoteError)):
        a.ask(pid, "raise", timeout=PATIENCE_S).get()
    assert a.ask(record(b).pid, "others go on", timeout=PATIENCE_S).get() == "others go on"
    quiet(a)


class Mangled:
    """What one node can write, and the other cannot read."""


def test_an_answer_that_cannot_be_read(asking, own_registry):
    manifold.register_type(Mangled, 97, mangled, readable)
    a, b = asking

    class Mangling(manifold.Actor):
        def on_receive(self, message):
            return Mangled()

    with pytest.raises(manifold.CodecError):
        a.ask(b.spawn(Mangling), 1, timeout=PATIENCE_S).get()
    assert a.ask(record(b).pid, "others go on").get() == "others go on"
    assert quiet(a).delivered == 2


def mangled(_):
    return 1


def readable(_):
    raise LookupError("nobody knows what this was")


def test_a_timeout(nodes):
    a, b = nodes.together("a", "b", limits=Limits(stop_grace_s=0.2))

    class Silent(manifold.Actor):
        async def on_receive(self, message):
            await manifold.Future()

    pid = b.spawn(Silent)
    with pytest.raises(manifold.AskTimeout):
        a.ask(pid, 1, timeout=0.05).get()


def test_a_timeout_and_a_late_answer(nodes):
    a, b = nodes.together("a", "b", workers=1)
    far = record(b)
    with Hold(b), pytest.raises(manifold.AskTimeout):
        a.ask(far.pid, 1, timeout=0.05).get()
    assert a.ask(far.pid, 2).get() == 2
    assert far.got == [1, 2]
    assert quiet(a).delivered == 2


def test_a_node_that_is_not_connected(asking):
    a, _ = asking
    with pytest.raises(manifold.NodeDown) as raised:
        a.ask(manifold.PID("gone@00000000", 1), 1).get()
    assert raised.value.node == "gone@00000000"
    assert quiet(a).unreachable == 1


def test_a_node_that_goes_before_it_answers(nodes):
    a, b = nodes.together("a", "b", limits=Limits(stop_grace_s=0.3))

    class Silent(manifold.Actor):
        async def on_receive(self, message):
            await manifold.Future()

    pid = b.spawn(Silent)
    futures = [a.ask(pid, number, timeout=None) for number in range(3)]
    b.stop()
    for future in futures:
        with pytest.raises((manifold.NodeDown, pykka.ActorDeadError, manifold.RemoteError)):
            future.get(timeout=PATIENCE_S)
    quiet(a)


def test_what_was_asked_before_the_node_stops_is_answered(nodes):
    a, b = nodes.together("a", "b", workers=1)
    far = record(b)
    with Hold(b) as hold:
        futures = [a.ask(far.pid, number) for number in range(20)]
        assert until(lambda: not a.cluster.peers[b.id].link.unacked), "they have not come in"
        stopping = threading.Thread(target=b.stop)
        stopping.start()
        assert until(lambda: not b.is_running)
        hold.release()
    assert [future.get() for future in futures] == list(range(20))
    stopping.join()


def test_asks_keep_order_with_sends(asking):
    a, b = asking
    far = record(b)
    for number in range(200):
        a.ask(far.pid, number) if number % 2 else a.send(far.pid, number)
    quiet(a)
    assert far.got == list(range(200))


def test_a_proxy_or_ref_of_a_far_actor_of_this_process(asking):
    a, b = asking
    far = record(b)
    assert a.ask(far.actor_ref, 1).get() == 1


def test_ask_after_the_node_is_back(nodes):
    a, b = nodes.together("a", "b")
    address = b.address
    b.stop()
    again = nodes.node("b", listen=address)
    meet(a, again)
    assert a.ask(record(again).pid, 1).get() == 1
