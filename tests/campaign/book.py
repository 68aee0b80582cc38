"""What was sent, asked, watched and listed in one schedule, to be held against what came of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.testing.checker import Checker

if TYPE_CHECKING:
    import manifold
    from manifold.testing import Simulation

__all__ = ["Asked", "Book", "Monitored", "Received"]


class Received(NamedTuple):
    """A receipt, and what it is for."""

    node: manifold.Node
    sender: str
    sequence: int
    recipients: int
    receipt: Any
    at: float


class Asked(NamedTuple):
    """A question, and what the answer has to be."""

    node: manifold.Node
    pid: manifold.PID
    message: tuple[str, int, str, Any]
    future: Any
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
    """All that is known of one schedule. Recipients and senders go by texts: PIDs, or names with the node in front."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.checker = Checker()
        self.wrong: list[str] = []
        self.sent: Counter[str] = Counter()  # by node id: recipients
        self.sent_at: dict[tuple[str, int], float] = {}
        self.handled: Counter[str] = Counter()  # by the sender's node id
        self.copies: Counter[tuple[str, int]] = Counter()  # of one message
        self.killed: set[str] = set()  # node ids
        self.stopped: set[str] = set()
        self.ended: set[str] = set()  # PIDs of actors, as texts
        self.busy: Counter[str] = Counter()
        self.receipts: list[Received] = []
        self.asked: list[Asked] = []
        self.monitors: dict[Any, Monitored] = {}
        self.silent: set[tuple[str, str]] = set()  # (watcher, target): the target's end was told
        self.timers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.overloads = 0
        self.events: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)  # by node id: (other, why down)

    def fail(self, what: str) -> None:
        """Note something that must not be."""
        if len(self.wrong) < 20:
            self.wrong.append(f"{self.simulation.now:.4f} s: {what}")

    # Messages.

    def sending(self, node: manifold.Node, sender: str, sequence: int, pids: list[manifold.PID]) -> None:
        self.sent[node.id] += len(pids)
        self.sent_at[sender, sequence] = self.simulation.now
        self.checker.sending(sender, [str(pid) for pid in pids], sequence)

    def not_sent(self, node: manifold.Node, sender: str, sequence: int, pids: list[manifold.PID]) -> None:
        self.sent[node.id] -= len(pids)
        self.checker.not_sent(sender, [str(pid) for pid in pids], sequence)

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
        self.ended.add(pid)
        self.checker.ended(pid)

    # Monitors.

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

    def saw_down(self, node: str, other: str, since: float = 0.0) -> bool:
        """Tell whether a node saw another one go down."""
        return any(c.node == node and c.other == other and c.reason and c.at >= since for c in self.simulation.history)

    def stayed_up(self, node: str, other: str, since: float) -> bool:
        """Tell whether a node had another one up at a time, and ever since."""
        changes = [c for c in self.simulation.history if c.node == node and c.other == other]
        before = [c for c in changes if c.at <= since]
        return bool(before) and not before[-1].reason and not any(c.reason for c in changes if c.at > since)

    def saw_any_down(self, node: str) -> bool:
        """Tell whether a node saw any other go down."""
        return any(c.node == node and c.reason for c in self.simulation.history)


def node_of(name: str) -> str:
    """Give the node id in front of the name of a sender or recipient."""
    return name.partition("/")[0]
