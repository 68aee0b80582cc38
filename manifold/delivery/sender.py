"""The sender's side: who the recipients are, grouped by node, and one hand-off to each node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pykka

from manifold.actors import Future
from manifold.actors.foreign import pid_of
from manifold.core.codec import encode
from manifold.core.pid import PID
from manifold.core.routing import group
from manifold.delivery.audience import Audience
from manifold.delivery.counts import UNREACHABLE
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES
from manifold.delivery.receipt import Receipt
from manifold.errors import MessageTooLarge, NodeDown, NodeStopped, Overloaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifold.delivery.partitioner import Partitioner

__all__ = ["Sender"]


class Sender:
    """Sends of one node."""

    def __init__(self, node: Partitioner) -> None:
        self._node = node

    def send(
        self, to: Any, message: Any, pack_mode: str | None, send_mode: str | None, receipt: bool
    ) -> Receipt | None:
        """Send; see `manifold.send`."""
        if self._node.ended:
            msg = f"node {self._node.host.id} is stopped; start another"
            raise NodeStopped(msg)
        if type(to) is PID and pack_mode is None and send_mode is None and not receipt:
            self._send_one(to, message)
            return None
        _check_modes(pack_mode, send_mode)
        data = self._encode(message) if pack_mode == "binary" else None
        track = Receipt(self._node.worker_threads) if receipt else None
        later = send_mode == "offload" or self._node.offload.holds()
        if type(to) is Audience:
            self._send_audience(to, message, track, data)
        elif later:
            self._send_later(self._copied(to), message, track, data)
        else:
            self._send_list(to, message, track, data)
        return track

    def ask(self, pid: Any, message: Any, timeout_s: float | None) -> Future[Any]:
        """Ask; see `manifold.ask`."""
        if isinstance(pid, pykka.ActorRef):
            pid = pid_of(pid, self._node.host)
        if type(pid) is not PID:
            msg = f"ask takes a PID or an actor reference, not {pid!r}"
            raise TypeError(msg)
        future = Future.asked(pid, timeout_s)
        error = self._ask(pid, message, future)
        if error is not None:
            future.set_exception((type(error), error, None))
        return future

    def _ask(self, pid: PID, message: Any, future: Future[Any]) -> Exception | None:
        if pid.node != self._node.host.id:
            self._lose(1, pid.node, None, uncounted=True)
            return NodeDown(pid.node)
        if (actor := self._node.find(pid)) is None:
            self._node.count_dead(1)
            return pykka.ActorDeadError(f"{pid} not found")
        self._node.post(actor, message, future)
        return None

    def _send_one(self, pid: PID, message: Any) -> None:
        actor = pid._actor
        if actor is not None and pid.node == self._node.host.id:
            self._node.post(actor, message)
        elif self._node.offload.holds():
            self._send_later([pid], message, None, None)
        else:
            self._raise_if(self._send_any([pid], message, None, None, 1))

    def _send_list(self, to: Any, message: Any, track: Receipt | None, data: bytes | None) -> None:
        recipients = _listed(to)
        number = len(recipients)
        if track is not None:
            track.expect(number)
        shed = self._node.send_running(recipients, message, track, data, number)
        if shed is None:
            pids = self._resolved(recipients)
            if track is not None:
                track.expect(len(pids))
            shed = self._send_any(pids, message, track, data, len(pids))
        self._raise_if(shed)

    def _send_any(
        self, pids: Sequence[PID], message: Any, track: Receipt | None, data: bytes | None, uncounted: int
    ) -> int:
        groups = group(pids)
        here = groups.pop(self._node.host.id, None)
        for node, those in groups.items():
            self._lose(len(those), node, track, uncounted=bool(uncounted))
        return self._node.send(here, message, track, data, len(here) if uncounted else 0) if here else 0

    def _send_audience(self, audience: Audience, message: Any, track: Receipt | None, data: bytes | None) -> None:
        if self._node.offload.holds():
            counted = audience._count(track)
            self._node.count_sent(counted)
            self._node.offload.put(lambda: audience._send_counted(message, track, data, counted), HANDOFF_BYTES)
        else:
            self._raise_if(audience._send(message, track, data))

    def _send_later(self, pids: Sequence[PID], message: Any, track: Receipt | None, data: bytes | None) -> None:
        number = len(pids)
        if track is not None:
            track.expect(number)
        self._node.count_sent(number)
        if self._node.offload.full():
            self._node.refuse_all(number, track)
            raise Overloaded([self._node.host.id], number, "the offload queue")
        cost = HANDOFF_BYTES + RECIPIENT_BYTES * number
        self._node.offload.put(lambda: self._send_counted(pids, message, track, data), cost)

    def _send_counted(self, pids: Sequence[PID], message: Any, track: Receipt | None, data: bytes | None) -> None:
        if self._node.send_running(pids, message, track, data, 0) is None:
            self._send_any(pids, message, track, data, 0)

    def _lose(self, number: int, node: str, track: Receipt | None, *, uncounted: bool) -> None:
        if uncounted:
            self._node.count_sent(number)
        self._node.count_unreachable(number)
        if track is not None:
            track.settle(node, UNREACHABLE, number)

    def checked(self, to: Any) -> list[PID] | Audience:
        """Give a list of PIDs that nobody else changes, or the audience."""
        return to if type(to) is Audience else self._copied(to)

    def _copied(self, to: Any) -> list[PID]:
        recipients = _listed(to)
        kinds = set(map(type, recipients))
        return list(recipients) if kinds <= {PID} else self._resolved(recipients)

    def _resolved(self, recipients: Sequence[Any]) -> list[PID]:
        return [self._resolve(index, item) for index, item in enumerate(recipients) if item is not None]

    def _resolve(self, index: int, item: Any) -> PID:
        if type(item) is PID:
            return item
        if isinstance(item, pykka.ActorRef):
            return pid_of(item, self._node.host)
        msg = f"recipient {index} is no PID, actor reference or None: {item!r}"
        raise TypeError(msg)

    def _encode(self, message: Any) -> bytes:
        data = encode(message)
        if len(data) > self._node.limits.message_max_bytes:
            raise MessageTooLarge(len(data), self._node.limits.message_max_bytes)
        return data

    def _raise_if(self, shed: int) -> None:
        if shed:
            raise self._node.overloaded(shed)


def _listed(to: Any) -> Sequence[Any]:
    """Give the recipients as a sequence. What is no recipient and no iterable raises TypeError."""
    if type(to) is list or type(to) is tuple:
        return to
    if to is None:
        return ()
    if isinstance(to, PID | pykka.ActorRef):
        return (to,)
    if isinstance(to, str | bytes) or not isinstance(to, Iterable):
        msg = f"cannot send to {to!r}: not a PID, an actor reference, an Audience, None or an iterable of these"
        raise TypeError(msg)
    return list(to)


def _check_modes(pack_mode: str | None, send_mode: str | None) -> None:
    if pack_mode not in (None, "binary"):
        msg = f"pack_mode must be None or 'binary', not {pack_mode!r}"
        raise ValueError(msg)
    if send_mode not in (None, "offload"):
        msg = f"send_mode must be None or 'offload', not {send_mode!r}"
        raise ValueError(msg)
