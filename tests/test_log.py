"""Handlers of logs that block, raise, or look at who logs."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest

import manifold
from manifold import log
from tests.cluster.support import until
from tests.support import PATIENCE_S, Recorder


class Blocking(logging.Handler):
    """Blocks from its first record on, as a pipe does that nobody reads, until it is let go."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()
        self.got = []

    def emit(self, record):
        self.entered.set()
        assert self.released.wait(3 * PATIENCE_S)
        self.got.append(record.getMessage())


@pytest.fixture
def blocking():
    handler = Blocking()
    logging.root.addHandler(handler)
    yield handler
    handler.released.set()
    logging.getLogger("manifold").error("the last")  # behind all others
    assert until(lambda: handler.got[-1:] == ["the last"])
    logging.root.removeHandler(handler)


class Failing(manifold.Actor):
    def on_receive(self, message):
        if message == "loop":
            asyncio.get_running_loop().call_soon(int, "no number")
        else:
            raise ValueError(message)


def test_a_handler_that_blocks_stops_no_worker(blocking):
    with manifold.Node(workers=1) as node:
        other = node.spawn(Recorder)
        for message in ("first", "second", "loop", "third"):
            node.send(node.spawn(Failing), message)
        assert blocking.entered.wait(PATIENCE_S)
        assert node.ask(other, "there?", timeout=PATIENCE_S).get() == "there?"
        blocking.released.set()
        assert until(lambda: len(blocking.got) == 4)
        assert sum("Exception in callback" in line for line in blocking.got) == 1


def test_what_nobody_takes_is_dropped_and_told_of(blocking):
    logger = logging.getLogger("manifold")
    for number in range(log.WAITING_MAX + 51):
        logger.warning("%d", number)
    blocking.released.set()
    assert until(lambda: len(blocking.got) == log.WAITING_MAX + 2)
    assert blocking.got[:-1] == [str(number) for number in range(log.WAITING_MAX + 1)]
    assert blocking.got[-1].startswith("50 records")


def test_a_record_is_out_when_the_call_returns(caplog):
    logger = logging.getLogger("manifold")
    for number in range(100):
        logger.warning("%d", number)
        assert caplog.messages[-1] == str(number)
    assert {record.threadName for record in caplog.records} == {threading.current_thread().name}


def test_filters_see_the_context_of_who_logs(caplog):
    request = contextvars.ContextVar("request")
    seen = []
    logger = logging.getLogger("manifold")

    def see(record):
        seen.append(request.get())
        return False

    request.set("number 7")
    logger.addFilter(see)
    try:
        logger.warning("filtered")
    finally:
        logger.removeFilter(see)
    assert seen == ["number 7"]
    assert not caplog.messages


def test_what_a_handler_raises_is_not_for_who_logs():
    class Raising(logging.Handler):
        def handle(self, record):
            raise ValueError

    handler = Raising()
    logger = logging.getLogger("manifold")
    logger.addHandler(handler)
    try:
        logger.warning("first")
    finally:
        logger.removeHandler(handler)
