"""Ordinary Pykka actors under a PID."""

from __future__ import annotations

import threading

import pykka

import manifold
from tests.support import PATIENCE_S, Recorder, done, spawn


class Threaded(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[object] = []

    def on_receive(self, message: object) -> object:
        self.got.append(message)
        return message


class Watching(Recorder):
    """Monitors what it is told to, and says when it is down."""

    def __init__(self, down: threading.Event) -> None:
        super().__init__()
        self.down = down

    def on_receive(self, message: object) -> object:
        if isinstance(message, manifold.PID):
            self.monitor(message)
            return "watching"
        if isinstance(message, manifold.Down):
            self.down.set()
        self.got.append(message)
        return self.got


def test_a_reference_whose_actor_has_stopped_counts_as_dead():
    with manifold.Node(workers=1) as node:
        ref = Threaded.start()
        ref.stop()
        (actor,) = spawn(node, 1)
        assert done(node.send([ref, actor.pid], 1, receipt=True)) == {"delivered": 1, "dead": 1}


def test_one_actor_may_have_a_pid_on_several_nodes_and_keeps_each():
    with manifold.Node(workers=1) as one, manifold.Node(workers=1) as two:
        ref = Threaded.start()
        try:
            here, there = one.pid_of(ref), two.pid_of(ref)
            assert one.pid_of(ref) == here
            assert two.pid_of(ref) == there
            downs = []
            for node, pid in ((one, here), (two, there)):
                down = threading.Event()
                assert node.ask(node.spawn(Watching, down), pid).get() == "watching"
                downs.append(down)
        finally:
            ref.stop()
        assert all(down.wait(PATIENCE_S) for down in downs)
        assert done(one.send([here], 1, receipt=True)) == {"dead": 1}


def test_down_comes_after_what_the_actor_sent_in_its_on_stop():
    class Parting(Threaded):
        def on_stop(self) -> None:
            node.ask(watching, "still there?").get()
            node.send(watching, "goodbye")

    with manifold.Node(workers=1) as node:
        down = threading.Event()
        watching = node.spawn(Watching, down)
        ref = Parting.start()
        assert node.ask(watching, node.pid_of(ref)).get() == "watching"
        ref.stop()
        assert down.wait(PATIENCE_S)
        got = node.ask(watching, "end").get()
        assert [type(message).__name__ for message in got] == ["str", "str", "Down", "str"]
