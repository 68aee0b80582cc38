"""What comes from one other node, and what this node keeps for it: replicas of its audiences, and its monitors.

Everything is called on the I/O thread, in the order in which the other node sent it, and queued for this node's
workers right away: so that order is kept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.cluster.answers import Reply
from manifold.cluster.tally import Arrival, AwaitedArrival, LoneArrival, Tally
from manifold.core.bodies import Ask, AudienceChange, AudienceSend, Down, Kind, Send, Watch
from manifold.core.flow import frame_cost
from manifold.core.pid import PID
from manifold.ports import DEAD, SHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.ports import Host, Intake, Settles

    Put = Callable[[Kind, Sequence[bytes]], object]

__all__ = ["Arrivals"]


class _RemoteWatcher:
    """Tells another node that an actor it monitors has ended, behind all that this thread has offloaded."""

    def __init__(self, monitor: int, put: Put, host: Host, watchers: dict[int, tuple[PID, _RemoteWatcher]]) -> None:
        self._monitor = monitor
        self._put = put
        self._host = host
        self._watchers = watchers

    def on_end(self, pid: PID, reason: str) -> None:
        if self._watchers.get(self._monitor) == (pid, self):  # else the number stands for another by now
            self._watchers.pop(self._monitor, None)
        parts = Down(self._monitor, reason).pack()
        self._host.local.behind(lambda: self._put(Kind.DOWN, parts))


class Arrivals:
    """The receiving side of one peer. `put` queues a frame to it that must not be refused; `complain` logs;
    `answer_max_bytes` tells how large an answer the peer takes.

    `intake` is whom the messages are handed to, by default the actors of this node.
    """

    def __init__(
        self,
        host: Host,
        put: Put,
        tally: Tally,
        complain: Callable[[str, str], None],
        answer_max_bytes: Callable[[], int],
        intake: Intake | None = None,
    ) -> None:
        self._host = host
        self._answer_max_bytes = answer_max_bytes
        self.intake = intake or host.intake
        self._put = put
        self._answer = lambda answer: put(Kind.ANSWER, answer.pack())
        self._tally = tally
        self._complain = complain
        self._replicas: dict[int, Any] = {}
        self._watchers: dict[int, tuple[PID, _RemoteWatcher]] = {}
        self.handlers: dict[int, Callable[[memoryview], None]] = {
            Kind.SEND: self._send,
            Kind.AUDIENCE_CHANGE: self._change,
            Kind.AUDIENCE_SEND: self._audience_send,
            Kind.ASK: self._ask,
            Kind.WATCH: self._watch,
            Kind.UNWATCH: self._unwatch,
        }

    def backlog(self) -> int:
        """Give what waits here of what the node sent, in bytes: its own alone, so that no other pays for it."""
        return self._tally.waiting_bytes

    def close(self) -> None:
        """The node has gone down: forget what was kept for it."""
        for replica in self._replicas.values():
            replica.close()
        self._replicas = {}
        for monitor in list(self._watchers):  # workers take out those that end
            self._forget(monitor)

    def _send(self, body: memoryview) -> None:
        sent = Send.unpack(body)
        self.intake.take(sent.ids, sent.message, self.settles(sent.receipt, len(sent.ids), len(body)))

    def _audience_send(self, body: memoryview) -> None:
        sent = AudienceSend.unpack(body)
        settles = self.settles(sent.receipt, sent.members, len(body))
        if (replica := self._replicas.get(sent.audience)) is None:
            # Of an audience that was never defined here, or is closed.
            self.intake.give_up(DEAD, sent.members, settles)
            return
        if not replica.send(sent.message, settles, sent.members):
            self._complain(f"a message to {sent.members} members of an audience that has more", "shed")
            self.intake.give_up(SHED, sent.members, settles)

    def _change(self, body: memoryview) -> None:
        change = AudienceChange.unpack(body)
        if not change.ids:
            self._replicas.pop(change.audience, _NO_REPLICA).close()
            return
        if change.join:
            ended = self._replica(change.audience).update(change.ids, change.join)
            self._tell_left(change.audience, ended, change.join)
        elif (replica := self._replicas.get(change.audience)) is not None:
            replica.discard(change.ids)

    def _replica(self, audience: int) -> Any:
        replica = self._replicas.get(audience)
        if replica is None:
            replica = self._replicas[audience] = self.intake.replica(partial(self._tell_left, audience))
        return replica

    def _tell_left(self, audience: int, ids: Sequence[int], join: int) -> None:
        if ids:
            parts = AudienceChange(audience, join, ids).pack()
            self._host.local.behind(lambda: self._put(Kind.AUDIENCE_LEFT, parts))

    def _ask(self, body: memoryview) -> None:
        ask = Ask.unpack(body)
        settles = self.settles(ask.receipt, 1, len(body))
        self.intake.take_one(ask.id, ask.message, self.reply(ask.question), settles)

    def reply(self, question: int) -> Reply:
        """Give what the answer to a question is told to."""
        return Reply(question, self._answer, min(self._host.limits.message_max_bytes, self._answer_max_bytes()))

    def _watch(self, body: memoryview) -> None:
        watch = Watch.unpack(body)
        self._forget(watch.monitor)
        pid = PID(self.intake.node, watch.id)
        watcher = _RemoteWatcher(watch.monitor, self._put, self._host, self._watchers)
        self._watchers[watch.monitor] = pid, watcher
        self._host.monitor(pid, watcher)

    def _unwatch(self, body: memoryview) -> None:
        self._forget(Watch.unpack(body).monitor)

    def _forget(self, monitor: int) -> None:
        found = self._watchers.pop(monitor, None)
        if found is not None:
            self._host.demonitor(*found)

    def settles(self, receipt: int, recipients: int, size_bytes: int) -> Settles:
        """Give what accounts for a message that has come for so many recipients."""
        size = frame_cost(size_bytes)  # just what it took of the credit
        own = self.intake.counts
        if receipt:
            return AwaitedArrival(self._tally, recipients, size, receipt, self._put, own=own)
        if recipients == 1:
            return LoneArrival(self._tally, size, own=own)
        return Arrival(self._tally, recipients, size, own=own)


class _NoReplica:
    def close(self) -> None:
        """Nothing: the audience was never defined here."""


_NO_REPLICA = _NoReplica()
