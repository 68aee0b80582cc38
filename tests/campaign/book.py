"""What was sent, asked, watched and listed in one schedule, to be held against what came of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.testing.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import manifold
    from manifold.testing import Change

__all__ = ["Answer", "Asked", "Book", "Lacked", "Monitored", "Received", "node_of"]


class Received(NamedTuple):
    """A receipt, and what it is for; `outcomes` gives None while it is not complete."""

    node: str
    sender: str
    sequence: int
    recipients: int
    outcomes: Callable[[], Mapping[str, manifold.Outcome] | None]


class Answer(NamedTuple):
    """How a question ended: a value ("object" for a plain one), or the name of an error."""

    value: Any
    error: str = ""

    @classmethod
    def of(cls, future: Any) -> Answer | None:
        """Give that of a future; None if it has not ended."""
        if not future.is_set():
            return None
        value, error = future._result
        return cls("object" if type(value) is object else value, "" if error is None else type(error[1]).__name__)


class Asked(NamedTuple):
    """A question: to whom, which message, and how it ended."""

    node: str
    pid: manifold.PID
    message: tuple[str, int, str, Any]
    at: float
    answer: Callable[[], Answer | None]


class Lacked(NamedTuple):
    """Somebody who was taken into an audience, and was found to be in it no more."""

    node: str
    audience: str
    pid: manifold.PID
    since: float
    at: float


class Monitored:
    """One monitor, and how often it fired."""

    def __init__(self, watcher: str, pid: manifold.PID, at: float) -> None:
        self.watcher = watcher
        self.pid = pid
        self.at = at
        self.demonitored = False
        self.reasons: list[str] = []


class Book:
    """All that is known of one schedule. Recipients and senders go by texts: PIDs, or names with the node in front.

    `now` gives the time, `history` holds every change that any node saw of another.
    """

    def __init__(self, now: Callable[[], float], history: Sequence[Change]) -> None:
        self.now = now
        self.history = history
        self.checker = Checker()
        self.wrong: list[str] = []
        self.sent: Counter[str] = Counter()  # by node id: recipients
        self.sent_at: dict[tuple[str, int], float] = {}
        self.handled: Counter[str] = Counter()  # by the sender's node id
        self.copies: Counter[tuple[str, int]] = Counter()  # of one message
        self.killed: set[str] = set()  # node ids
        self.stopped: set[str] = set()
        self.gave_up: set[str] = set()  # of the stopped, those whose time was over
        self.ended: dict[str, float] = {}  # PIDs of actors, as texts, and when
        self.members: list[str] = []  # PIDs of actors, as texts
        self.awaiting: set[str] = set()  # PIDs of those with an `async def` handler
        self.receipts: list[Received] = []
        self.asked: list[Asked] = []
        self.monitors: dict[Any, Monitored] = {}
        self.silent: set[tuple[str, str]] = set()  # (watcher, target): the target's end was told
        self.lacking: list[Lacked] = []
        self.unsure: Counter[str] = Counter()  # by node id, and by "sender sequence": who left an audience meanwhile
        self.faults: Counter[str] = Counter()
        self.happened: list[tuple[float, str]] = []
        self.overloads = 0
        self.events: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)  # by node id: (other, why down)

    def fail(self, what: str) -> None:
        """Note something that must not be."""
        if len(self.wrong) < 20:
            self.wrong.append(f"{self.now():.4f} s: {what}")

    def fault(self, kind: str) -> None:
        """Note that something happens."""
        self.faults[kind] += 1
        self.happened.append((self.now(), kind))

    def born(self, pid: str, *, awaits: bool) -> None:
        """Note that there is an actor, and whether it has an `async def` handler."""
        self.members.append(pid)
        if awaits:
            self.awaiting.add(pid)

    def kill(self, node: str) -> None:
        """Note that a node was killed, and all who lived there with it."""
        self.killed.add(node)
        for pid in self.members:
            if node_of(pid) == node and pid not in self.ended:
                self.end(pid)

    # Messages.

    def sending(self, node: str, sender: str, sequence: int, pids: Sequence[object]) -> None:
        self.sent[node] += len(pids)
        self.sent_at[sender, sequence] = self.now()
        self.checker.sending(sender, [str(pid) for pid in pids], sequence)

    def not_sent(self, node: str, sender: str, sequence: int, pids: Sequence[object]) -> None:
        self.sent[node] -= len(pids)
        self.checker.not_sent(sender, [str(pid) for pid in pids], sequence)

    def left_meanwhile(self, node: str, sender: str, sequence: int, number: int) -> None:
        """Note that so many were in an audience before a send and not after it: it may have gone to them, or not."""
        self.unsure[node] += number
        self.unsure[f"{sender} {sequence}"] += number

    def overloaded(self) -> None:
        self.overloads += 1

    def receipt(self, received: Received) -> None:
        self.receipts.append(received)

    def question(self, asked: Asked) -> None:
        self.asked.append(asked)

    def arrived(self, pid: str, sender: str, sequence: int) -> None:
        self.checker.arrived(pid, sender, sequence)
        self.handled[node_of(sender)] += 1
        self.copies[sender, sequence] += 1
        if (pid, sender) in self.silent:
            self.fail(f"{pid} got {sequence} of {sender} after it was told of its end")
        if node_of(pid) in self.killed:
            self.fail(f"{pid} handled a message after it was killed")

    def end(self, pid: str) -> None:
        if pid in self.ended:
            self.fail(f"{pid} ended twice")
        self.ended.setdefault(pid, self.now())
        self.checker.ended(pid)

    def sent_by(self, pid: str, sender: str, sequence: int) -> float:
        """Give a time at which a message that has arrived was certainly sent."""
        return self.sent_at[sender, sequence]

    # Audiences.

    def lacks(self, node: str, audience: str, pid: manifold.PID, since: float) -> None:
        self.lacking.append(Lacked(node, audience, pid, since, self.now()))

    # Monitors.

    def monitored(self, ref: Any, watcher: str, pid: manifold.PID) -> None:
        self.monitors[ref] = Monitored(watcher, pid, self.now())

    def demonitored(self, ref: Any) -> None:
        monitored = self.monitors[ref]
        monitored.demonitored = not monitored.reasons

    def down(self, watcher: str, down: manifold.Down) -> None:
        monitored = self.monitors.get(down.ref)
        if monitored is None:
            self.fail(f"{watcher} was told of {down.pid}, which it does not monitor")
            return
        if monitored.watcher != watcher or monitored.pid != down.pid:
            self.fail(f"{watcher} was told what is for {monitored.watcher}")
        if monitored.demonitored:
            self.fail(f"{watcher} was told of {down.pid}, which it had given up")
        monitored.reasons.append(down.reason)
        if down.reason != "node down":
            self.silent.add((watcher, str(down.pid)))

    # Who saw whom go.

    def told(self, node: str, other: str, reason: str) -> None:
        """Note what `node.events()` gave: why another is down, "" for one that is up."""
        self.events[node].append((other, reason))

    def saw_down(self, node: str, other: str, since: float = 0.0, until: float = inf) -> bool:
        """Tell whether a node saw another one go down."""
        changes = (c for c in self.history if c.node == node and c.other == other)
        return any(c.reason and since <= c.at <= until for c in changes)

    def stayed_up(self, node: str, other: str, since: float, until: float = inf) -> bool:
        """Tell whether a node had another one up at a time, and from then until another."""
        changes = [c for c in self.history if c.node == node and c.other == other]
        before = [c for c in changes if c.at <= since]
        return bool(before) and not before[-1].reason and not any(c.reason for c in changes if since < c.at <= until)

    def incidents(self) -> dict[str, int]:
        """Give how often senders were told that a queue is full, and nodes saw another go down."""
        return {"overloads": self.overloads, "downs": sum(bool(change.reason) for change in self.history)}

    def saw_any_down(self, node: str) -> bool:
        """Tell whether a node saw any other go down."""
        return any(c.node == node and c.reason for c in self.history)


def node_of(name: str) -> str:
    """Give the node id in front of the name of a sender or recipient."""
    return name.partition("/")[0]
