"""One other node: the link to it, what is open between the two, and the counts of what was handed to it."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from manifold.cluster.answers import Reply, exception_of
from manifold.cluster.arrivals import Arrivals
from manifold.cluster.tally import Tally
from manifold.core.bodies import Answer, Ask, AudienceChange, Down, Kind, Members, Outcome, Watch
from manifold.core.codec import decode
from manifold.core.frames import FrameTooLarge
from manifold.core.link import LinkDown
from manifold.core.link_terms import LinkError
from manifold.core.routing import node_of
from manifold.errors import CodecError, NodeDown, Overloaded
from manifold.ports import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.core.link import Link
    from manifold.core.pid import PID
    from manifold.ports import Host, Intake, Settles, Watcher

__all__ = ["Peer"]

logger = logging.getLogger("manifold")

_COMPLAINTS_MAX = 10
"""How many lines one session of a node may cost in the log by frames that make no sense, and by those it is too small
for."""


class _Lines:
    """Lines of one kind in the log: from any thread, and only so many."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0

    def say(self, text: str, *values: object) -> None:
        with self._lock:
            self._number += 1
            number = self._number
        if number <= _COMPLAINTS_MAX:
            last = "; more of this will not be logged" if number == _COMPLAINTS_MAX else ""
            logger.error("%s%s", text % values, last)


class Peer:
    """One session with one other node. Senders on any thread put frames; the I/O thread does the rest."""

    absence = UNREACHABLE
    """What becomes of what was under way when the session ends."""
    outside = 1
    """Whether what is handed to it leaves the node."""

    def __init__(
        self,
        address: str,
        link: Link,
        host: Host,
        wake: Callable[[], None],
        left: Callable[[int, str, Sequence[int], int], None],
        meet: Callable[[Sequence[tuple[str, str]]], None],
        intake: Intake | None = None,
    ) -> None:
        self.address = address
        self.node = ""  # until it is up
        self.announced = ""  # the address that it gives, when it is up
        self.forever = False  # to be dialled as long as this node runs
        self.wanted_until = 0.0  # else to be dialled again until then
        self.stuck: deque[bytes] = deque()
        self.link = link
        self.lock = threading.Lock()
        self.up = False
        self.counted = False  # among those of former peers
        self.handed = 0
        self.handoffs = 0
        self.settled = [0, 0, 0]
        self.tally = Tally(wake, self._complain)
        self._wake = wake
        self._left = left
        self._complaints = _Lines()
        self._too_large = _Lines()
        self._numbers = itertools.count(1)
        self._asks: dict[int, Any] = {}
        self._receipts: dict[int, tuple[Settles, int]] = {}
        self._monitors: dict[int, tuple[PID, Watcher]] = {}
        self._monitor_numbers: dict[Watcher, int] = {}
        self.arrivals = Arrivals(host, self.put, self.tally, self._complain, self._answer_max_bytes, intake)
        self.handlers: dict[int, Callable[[memoryview], None]] = {
            **self.arrivals.handlers,
            Kind.ANSWER: self._answered,
            Kind.DOWN: self._ended,
            Kind.OUTCOME: self._outcome,
            Kind.AUDIENCE_LEFT: self._audience_left,
            Kind.MEMBERS: lambda body: meet(Members.unpack(body).nodes),
        }

    def leads_to(self, node: str, address: str) -> bool:
        """Tell whether the link leads, or may lead, to a node or an address."""
        return address == self.address or (self.link.peer is not None and self.link.peer.node == node)

    # From any thread.

    def put(self, kind: int, parts: Sequence[bytes]) -> bool | None:
        """Queue a frame that may not be refused for want of room; None when the node is down."""
        with self.lock:
            if not self.up:
                return None
            try:
                self.link.send(kind, parts, must_fit=False)
            except (LinkError, FrameTooLarge) as error:
                return self._refused(error)
        self._wake()
        return True

    def is_owed(self) -> bool:
        """Tell whether the node has still to take, or to account for, something that was handed to it."""
        return bool(self.link.unacked) or self.handed > sum(self.settled)

    def hand_off(
        self, kind: Kind, body: Callable[[int], Sequence[bytes]], recipients: int, receipt: Settles | None
    ) -> bool | None:
        """Queue a message for some recipients. False when the outbox is full, None when the node is down.

        `body` makes the parts of the frame, given the number under which the outcome is awaited, or 0.
        """
        with self.lock:
            if not self.up:
                return None
            number = 0 if receipt is None else next(self._numbers)
            if receipt is not None:  # before it is sent: the outcome may be here before `send` has returned
                self._receipts[number] = receipt, recipients
            try:
                self.link.send(kind, body(number))
            except (LinkError, FrameTooLarge) as error:
                self._receipts.pop(number, None)
                return self._refused(error)
            self.handed += recipients
            self.handoffs += self.outside
        self._wake()
        return True

    def put_change(self, change: AudienceChange) -> bool | None:
        """Queue a change that may not be refused for want of room; None when the node is down."""
        return self.put(Kind.AUDIENCE_CHANGE, change.pack())

    def change_audience(self, change: AudienceChange) -> bool | None:
        """Queue a change of an audience. False when the outbox is full, None when the node is down."""
        with self.lock:
            if not self.up:
                return None
            try:
                self.link.send(Kind.AUDIENCE_CHANGE, change.pack())
            except (LinkError, FrameTooLarge) as error:
                return self._refused(error)
        self._wake()
        return True

    def _answer_max_bytes(self) -> int:
        return Answer.room(self.link.frame_max_bytes)

    def _refused(self, error: Exception) -> bool | None:
        """Give None for a link that is down, False for a frame that it does not take."""
        if isinstance(error, FrameTooLarge):
            self._too_large.say("node %s takes no such frame: %s", self.node, error)
        return None if isinstance(error, LinkDown) else False

    def ask(self, pid: PID, wire: bytes, future: Any, receipt: Settles | None = None) -> bool | None:
        """Queue a question whose future gets the answer. False when the outbox is full, None when the node is down."""
        return self.question(
            Kind.ASK, lambda number, outcome: Ask(number, outcome, pid.id, wire).pack(), future, receipt
        )

    def question(
        self, kind: Kind, body: Callable[[int, int], Sequence[bytes]], future: Any, receipt: Settles | None = None
    ) -> bool | None:
        """The same for a question of any kind: `body` makes its parts, given its number, and that of its outcome."""
        number = next(self._numbers)
        self._asks[number] = future
        taken = self.hand_off(kind, lambda outcome: body(number, outcome), 1, receipt)
        if not taken and self._asks.pop(number, None) is not None:
            # Else the node went down meanwhile, and the future was told.
            error = self.gone() if taken is None else Overloaded([node_of(self.node)], 1, "the outbox")
            future.set_exception((type(error), error, None))
        return taken

    def monitor(self, pid: PID, watcher: Watcher) -> bool:
        """Have `watcher` told when the actor has ended, or the node has gone down; False when it is down."""
        number = self._monitor_numbers[watcher] = next(self._numbers)
        self._monitors[number] = pid, watcher
        if self.put(Kind.WATCH, Watch(number, pid.id).pack()):
            return True
        return self._monitor_of(number) is None

    def demonitor(self, pid: PID, watcher: Watcher) -> None:
        """Take that back."""
        number = self._monitor_numbers.get(watcher)
        if number is not None and self._monitor_of(number) is not None:
            self.put(Kind.UNWATCH, Watch(number, pid.id).pack())

    def _monitor_of(self, number: int) -> tuple[PID, Watcher] | None:
        """Give who monitors whom under a number, and forget it: whoever gets it tells, and nobody else."""
        found = self._monitors.pop(number, None)
        if found is not None:
            self._monitor_numbers.pop(found[1], None)
        return found

    # On the I/O thread.

    def handle(self, kind: int, body: memoryview) -> None:
        """Do what a frame says. One that makes no sense is dropped, with a line in the log; others are not harmed."""
        handler = self.handlers.get(kind)
        try:
            if handler is None:
                self._complain(f"a frame of unknown kind {kind}", "dropped")
            else:
                handler(body)
        except CodecError as error:
            self._complain(f"a frame that makes no sense: {error}", "dropped")
        except Exception:
            logger.critical("the I/O thread went on after a frame of %s:", self.node, exc_info=True)

    def account(self, news: Sequence[int]) -> None:
        """Take what the node says became of recipients, by cause: of no more than were handed to it."""
        counts, still_open = [], self.handed - sum(self.settled)
        for before, new in zip(self.settled, news, strict=True):
            taken = min(new, still_open)
            still_open -= taken
            counts.append(before + taken)
        self.settled = counts

    def _complain(self, what: str, became: str) -> None:
        self._complaints.say("node %s sent %s; it was %s", self.node, what, became)

    def down(self) -> int:
        """The session is over: fail what is open; how many recipients will never be accounted for."""
        with self.lock:
            self.up = False
            lost = self.handed - sum(self.settled)
        self.arrivals.close()
        for future in _emptied(self._asks):
            error = self.gone("it went down before it answered")
            future.set_exception((type(error), error, None))
        for receipt, recipients in _emptied(self._receipts):
            receipt.settle(self.node, self.absence, recipients)
        for pid, watcher in _emptied(self._monitors):
            watcher.on_end(pid, self.end)
        self._monitor_numbers.clear()
        return lost

    end = "node down"
    """The reason that monitors are told."""

    def gone(self, reason: str = "not connected") -> Exception:
        """Give the error of a question that nobody answers any more."""
        return NodeDown(self.node, reason)

    def _answered(self, body: memoryview) -> None:
        answer = Answer.unpack(body)
        future = self._asks.pop(answer.question, None)
        if future is None:
            return
        if type(future) is Reply:
            future.pass_on(answer)
            return
        try:
            value, error = (None, exception_of(answer.value)) if answer.raised else (decode(answer.value), None)
        except CodecError as unreadable:
            value, error = None, unreadable
        if error is None:
            future.set(value)
        else:
            future.set_exception((type(error), error, None))

    def _ended(self, body: memoryview) -> None:
        down = Down.unpack(body)
        found = self._monitor_of(down.monitor)
        if found is not None:
            pid, watcher = found
            watcher.on_end(pid, down.reason)

    def _outcome(self, body: memoryview) -> None:
        number, *counts = Outcome.unpack(body)
        if number not in self._receipts:
            return
        receipt, recipients = self._receipts[number]
        if sum(counts) != recipients:
            msg = f"an outcome for {sum(counts)} recipients, where {recipients} were sent to"
            raise CodecError(msg)
        del self._receipts[number]
        for cause, count in enumerate(counts):
            if count:
                receipt.settle(self.node, cause, count)

    def _audience_left(self, body: memoryview) -> None:
        change = AudienceChange.unpack(body)
        self._left(change.audience, self.node, change.ids, change.join)


def _emptied(table: dict[int, Any]) -> list[Any]:
    """Give what is in a table, and empty it; nobody else gets what is given."""
    taken = []
    while table:
        try:
            taken.append(table.popitem()[1])
        except KeyError:
            break
    return taken
