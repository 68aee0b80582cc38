"""What a worker tells its main process of itself: its counts, soon after they change, and before whatever shows it."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from manifold.core.link_terms import LinkError
from manifold.processes.talk import OWN, RELAYED, Counts, Word

if TYPE_CHECKING:
    from manifold.delivery.partitioner import Partitioner
    from manifold.processes.peer import PipePeer
    from manifold.transport.pipe import Pipe

__all__ = ["Reports"]

_SOON_S = 0.05


class Reports:
    """The reports of one worker. `peers` are its conversations, by channel."""

    def __init__(self, pipe: Pipe, peers: dict[int, PipePeer], much_bytes: int) -> None:
        self.local: Partitioner | None = None
        self.handed_before = 0  # over channels that are closed
        self._pipe = pipe
        self._peers = peers
        self._much_bytes = much_bytes
        self._lock = threading.Lock()
        self._last = Counts()
        self._due = False

    def now(self) -> None:
        """Report, if there is anything new. From any thread."""
        with self._lock:
            counts = self.counts()
            if counts != self._last:
                self._last = counts
                with suppress(LinkError):
                    self._pipe.send(OWN, Word.COUNTS, counts.pack(), must_fit=False)

    def soon(self) -> None:
        """Report before long, together with what changes until then, or now if it makes much room. From any thread."""
        own, relayed = self._peers[OWN].tally, self._peers[RELAYED].tally
        waiting = own.waiting_bytes + relayed.waiting_bytes
        if self._pipe.read_bytes - self._last.read_bytes + self._last.waiting_bytes - waiting >= self._much_bytes:
            self.now()
        elif not self._due and self.local is not None:
            self._due = True
            with suppress(RuntimeError):  # the loop is closed: the last report is made without it
                self.local.workers[0].loop.call_soon_threadsafe(self._later)

    def _later(self) -> None:
        assert self.local is not None
        self.local.workers[0].loop.call_later(_SOON_S, self._fire)

    def _fire(self) -> None:
        self._due = False
        self.now()

    def counts(self) -> Counts:
        """Count. What was handed up is counted as sent by the main process, when it comes there."""
        assert self.local is not None
        own, relayed = self._peers[OWN].tally, self._peers[RELAYED].tally
        waiting = own.waiting_bytes + relayed.waiting_bytes
        delivered, dead, shed, _ = own.counts
        handed = self.handed_before + sum(peer.handed for peer in list(self._peers.values()))
        # Without the lock, under which some of what could be compared with this is told.
        stats = self.local.count(len(self.local.actors), self.local.host.cluster.totals())  # type: ignore[attr-defined]
        return Counts(
            self._pipe.read_bytes, waiting,
            stats.sent - handed, stats.delivered, stats.dead, stats.shed, stats.unreachable,
            delivered, dead, shed, stats.actors,
        )  # fmt: skip
