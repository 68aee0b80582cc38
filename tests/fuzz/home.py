"""A real node whose loop runs, and whose time passes, only when told to; and what it logs.

So one input always does the same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import contextmanager

import manifold
from manifold.core.frames import Hello
from manifold.core.link import Link, LinkLimits, State
from manifold.surroundings import Process
from tests.support import AsyncRecorder, Recorder, spawn


class Still(Process):
    """This process, but for the time by which nodes measure their periods."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.now = 1_000.0
        self._sessions = itertools.count(0x5555_0000_0000_0000, 0x0013_5724_68AC_EDB9)

    def monotonic(self):
        return self.now

    def time_ns(self):
        """Give numbers so far from each other that changing some bits does not lead from one to another."""
        return next(self._sessions)


class HomeNode(manifold.Node):
    def __init__(self, around):
        self.around = around
        super().__init__("home", worker_kind="loop", limits=manifold.Limits(stop_grace_s=1.0))


class Home:
    """The node, two actors on it that live on, and lines of its log since `begin`."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.node = self.loop.run_until_complete(self._start())
        (self.steady,) = spawn(self.node, 1)
        (self.busy,) = spawn(self.node, 1, AsyncRecorder)
        self.log = _Log()
        logging.getLogger("manifold").addHandler(self.log)

    async def _start(self):
        return HomeNode(Still())

    def begin(self):
        """Forget what was, begin the time anew, and give an actor that may end."""
        self.node.around.begin()
        self.log.lines.clear()
        self.steady.got.clear()
        self.busy.got.clear()
        return spawn(self.node, 1, Recorder)[0]

    def rest(self):
        """Let all that is queued be done."""
        (worker,) = self.node.local.workers
        worker.wake()  # what is queued when an audience is let go of waits until it is awake anyway
        is_done = False
        while not is_done:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            is_done = not worker.queue and not worker.tasks

    def check(self, *, lines_max):
        """Look at what must hold when all is done."""
        stats = self.node.stats()
        assert min(stats.delivered, stats.dead, stats.shed, stats.unreachable) >= 0, stats
        assert stats.in_flight == 0 and stats.queued_bytes == 0, stats
        lines = [line for level, line in self.log.lines if level == logging.CRITICAL]
        assert not lines, lines
        assert len(self.log.lines) <= lines_max, self.log.lines
        for actor in (self.steady, self.busy):
            assert not actor._mf_watchers, "an actor is still watched by somebody who is gone"

    def close(self):
        logging.getLogger("manifold").removeHandler(self.log)
        self.loop.run_until_complete(self.node.aclose())
        self.loop.close()


_shared = []


@contextmanager
def at_home():
    """Give the node that all inputs share. When one goes wrong it is stopped: nobody knows what it is like then."""
    if not _shared:
        _shared.append(Home())
    try:
        yield _shared[0]
    except BaseException:
        leave()
        raise


def leave():
    """Stop the node that all inputs share."""
    while _shared:
        _shared.pop().close()


class _Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelno, self.format(record)))


def linked(name, other_name, limits=None):
    """Give two links to each other that are up, and quiet, at time 0."""
    limits = limits or LinkLimits()
    here, there = (
        Link(Hello(node, f"tcp://{node}"), session, now=0.0, limits=limits)
        for session, node in enumerate((name, other_name), 1)
    )
    while packets := [(there, packet) for packet in here.packets_to_send(0.0)] + [
        (here, packet) for packet in there.packets_to_send(0.0)
    ]:
        for link, packet in packets:
            link.receive_packet(packet, 0.0)
    assert here.state is there.state is State.UP
    return here, there
