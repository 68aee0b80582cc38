"""What comes from one other node, and what this node keeps for it: replicas of its audiences, and its monitors.

Everything is called on the I/O thread, in the order in which the other node sent it, and queued for this node's
workers right away: so that order is kept.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.cluster.answers import Reply
from manifold.cluster.tally import Arrival, LoneArrival, Tally
from manifold.core.bodies import Ask, AudienceChange, AudienceSend, Down, Kind, Outcome, Send, Watch
from manifold.core.pid import PID
from manifold.errors import CodecError
from manifold.ports import DEAD, SHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.ports import Host, Intake, Settles

    Put = Callable[[Kind, Sequence[bytes]], object]

__all__ = ["Arrivals"]

_WAITING_BYTES = 256
"""What a message that waits here is reckoned to take, besides its bytes and 8 for a recipient."""


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
    """The receiving side of one peer. `put` queues a frame to it that must not be refused; `complain` logs.

    `intake` is whom the messages are handed to, by default the actors of this node.
    """

    def __init__(
        self,
        host: Host,
        put: Put,
        tally: Tally,
        complain: Callable[[str, str], None],
        intake: Intake | None = None,
    ) -> None:
        self._host = host
        self.intake = intake or host.intake
        self._put = put
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
        settles = self.settles(sent.receipt, len(sent.ids), len(body))
        try:
            self.intake.take(sent.ids, sent.message, settles)
        except CodecError as error:
            self._complain(f"a message that cannot be read here: {error}", "shed")

    def _audience_send(self, body: memoryview) -> None:
        sent = AudienceSend.unpack(body)
        settles = self.settles(sent.receipt, sent.members, len(body))
        if (replica := self._replicas.get(sent.audience)) is None:
            # Of an audience that was never defined here, or is closed.
            self.intake.give_up(DEAD, sent.members, settles)
            return
        try:
            if replica.send(sent.message, settles, sent.members):
                return
        except CodecError as error:
            self._complain(f"a message that cannot be read here: {error}", "shed")
            return
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
        limit = self._host.limits.message_max_bytes
        reply = Reply(ask.question, lambda answer: self._put(Kind.ANSWER, answer.pack()), limit)
        self.intake.take_one(ask.id, ask.message, reply, self.settles(ask.receipt, 1, len(body)))

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
        size = size_bytes + _WAITING_BYTES + 8 * recipients
        if recipients == 1 and not receipt:
            return LoneArrival(self._tally, size, own=self.intake.counts)

        def complete(counts: list[int]) -> None:
            self._put(Kind.OUTCOME, Outcome(receipt, *counts).pack())

        return Arrival(self._tally, recipients, size, complete if receipt else None, own=self.intake.counts)


class _NoReplica:
    def close(self) -> None:
        """Nothing: the audience was never defined here."""


_NO_REPLICA = _NoReplica()
