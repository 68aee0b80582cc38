"""Blocking waits: those that could never end raise WouldDeadlock, and all others are let in."""

from __future__ import annotations

import sys

import pytest

import manifold
from tests.support import PATIENCE_S, Hold, spawn


class Asking(manifold.Actor):
    """Asks the first of the PIDs it gets, with the rest as the message; answers what it heard."""

    def on_receive(self, message: list[manifold.PID]) -> str:
        if not message:
            return "answered"
        try:
            return manifold.ask(message[0], message[1:], timeout=3).get()
        except manifold.ManifoldError as error:
            return type(error).__name__


@pytest.fixture
def long_turns():
    """Have a thread go on until it blocks, so that the other has not run at all before."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2)
    yield
    sys.setswitchinterval(before)


def test_a_circle_over_two_workers_raises_even_if_one_of_them_never_ran_before(long_turns):
    with manifold.Node(workers=2) as node:
        first, second = node.spawn(Asking), node.spawn(Asking)
        assert node.ask(first, [second, first], timeout=PATIENCE_S).get() == "WouldDeadlock"


async def test_the_first_blocking_wait_on_the_loop_of_a_loop_node_raises():
    async with manifold.Node(worker_kind="loop") as node:
        future = node.ask(node.spawn(Asking), [], timeout=3)
        with pytest.raises(manifold.WouldDeadlock):
            future.get()
        assert await future == "answered"


def test_a_receipt_of_what_another_worker_delivers_may_be_waited_for_in_a_handler():
    class Sending(manifold.Actor):
        def on_receive(self, to: manifold.PID) -> object:
            try:
                return manifold.send([to], "x", receipt=True).get(timeout=PATIENCE_S)
            except manifold.ManifoldError as error:
                return error

    with manifold.Node(workers=2) as node:
        sending = node.spawn(Sending)
        hold = Hold(node)  # on the other worker
        answer = node.ask(sending, hold.pid, timeout=None)
        assert hold.entered.wait(PATIENCE_S)
        hold.release()
        assert isinstance(answer.get(timeout=PATIENCE_S), dict)


def test_the_stopped_flag_of_an_actor_that_was_given_up_is_set():
    node = manifold.Node(workers=1, limits=manifold.Limits(stop_grace_s=0.1))
    with node:
        (actor,) = spawn(node, 1)
        hold = Hold(node)
        stopped = actor.actor_stopped
        hold.__enter__()
    assert stopped.wait(PATIENCE_S)
    hold.release()
