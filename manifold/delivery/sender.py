"""The sender's side: who the recipients are, grouped by node, and one hand-off to each node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from manifold.actors import ActorDeadError, AnyRef, Future
from manifold.actors.foreign import pid_of
from manifold.core.codec import encode
from manifold.core.pid import PID
from manifold.core.routing import group
from manifold.delivery.audience import Audience
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES
from manifold.delivery.receipt import Receipt
from manifold.errors import MessageTooLarge, NodeStopped, NotSerializable, Overloaded

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
        track = Receipt() if receipt else None
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
        if isinstance(pid, AnyRef):
            pid = self._pid_of(pid)
        if type(pid) is not PID:
            msg = f"ask takes a PID or an actor reference, not {pid!r}"
            raise TypeError(msg)
        future = Future.asked(pid, timeout_s, self._node.host.around.monotonic)
        error = self._ask(pid, message, future)
        if error is not None:
            future.set_exception((type(error), error, None))
        return future

    def _ask(self, pid: PID, message: Any, future: Future[Any]) -> Exception | None:
        if pid.node != self._node.host.id:
            wire = self._encode(message)
            self._node.count_sent(1)
            self._node.behind(lambda: self._node.host.cluster.ask(pid, wire, future))
        elif (actor := self._node.find(pid)) is not None:
            self._node.post(actor, message, future)
        else:
            self._node.count_dead(1)
            return ActorDeadError(f"{pid} not found")
        return None

    def _send_one(self, pid: PID, message: Any) -> None:
        actor = pid._actor
        if actor is not None and pid.node == self._node.host.id:
            self._node.post(actor, message)
        elif self._node.offload.holds():
            self._send_later([pid], message, None, None)
        elif pid.node != self._node.host.id:
            wire = self._encode(message)
            self._node.count_sent(1)
            self._raise_if({pid.node: self._node.host.cluster.send(pid.node, (pid.id,), wire, None)})
        else:
            self._raise_if(self._send_any([pid], message, None, None, uncounted=1))

    def _send_list(self, to: Any, message: Any, track: Receipt | None, data: bytes | None) -> None:
        recipients = _listed(to)
        if track is not None:
            track.expect(len(recipients))
        shed = self._node.send_running(recipients, message, track, data, len(recipients))
        if shed is not None:
            self._raise_if({self._node.host.id: shed})
            return
        pids = self._resolved(recipients)
        if track is not None:
            track.expect(len(pids))
        self._raise_if(self._send_any(pids, message, track, data, uncounted=len(pids)))

    def _send_any(
        self,
        pids: Sequence[PID],
        message: Any,
        track: Receipt | None,
        data: bytes | None,
        *,
        uncounted: int,
        wire: bytes | None = None,
    ) -> dict[str, int]:
        """Hand a message to recipients anywhere; how many were shed, by node."""
        groups = group(pids)
        here = groups.pop(self._node.host.id, None)
        wire = (wire or data or self._encode(message)) if groups else None
        self._node.count_sent(uncounted)
        shed = {}
        for node, those in groups.items():
            shed[node] = self._node.host.cluster.send(node, [pid.id for pid in those], wire or b"", track)
        if here:
            shed[self._node.host.id] = self._node.send(here, message, track, data)
        return shed

    def _send_audience(self, audience: Audience, message: Any, track: Receipt | None, data: bytes | None) -> None:
        wire = (data or self._encode(message)) if len(audience._away) else None
        if self._node.offload.holds():
            counts = audience._count(track)
            self._node.count_sent(sum(counts.values()))
            self._node.offload.put(
                lambda: audience._send_counted(message, track, data, wire, counts), HANDOFF_BYTES + len(wire or b"")
            )
        else:
            self._raise_if(audience._send(message, track, data, wire))

    def _send_later(self, pids: Sequence[PID], message: Any, track: Receipt | None, data: bytes | None) -> None:
        number = len(pids)
        wire = data or self._wire(pids, message)
        if track is not None:
            track.expect(number)
        self._node.count_sent(number)
        if self._node.offload.full():
            self._node.refuse_all(number, track)
            raise Overloaded([self._node.host.id], number, "the offload queue")
        cost = HANDOFF_BYTES + RECIPIENT_BYTES * number
        self._node.offload.put(lambda: self._send_counted(pids, message, track, data, wire), cost)

    def _wire(self, pids: Sequence[PID], message: Any) -> bytes | None:
        """Encode what will be handed out later; here, because its sender has to hear if it cannot be.

        Encoding costs a fraction of looking through a long list for recipients elsewhere, so that is not done first.
        """
        try:
            return self._encode(message)
        except (NotSerializable, MessageTooLarge):
            if any(pid.node != self._node.host.id for pid in pids):
                raise
            return None

    def _send_counted(
        self, pids: Sequence[PID], message: Any, track: Receipt | None, data: bytes | None, wire: bytes | None
    ) -> None:
        if self._node.send_running(pids, message, track, data, 0) is None:
            self._send_any(pids, message, track, data, uncounted=0, wire=wire)

    def checked(self, to: Any) -> list[PID] | Audience:
        """Give a list of PIDs that nobody else changes, or the audience."""
        return to if type(to) is Audience else self._copied(to)

    def _copied(self, to: Any) -> list[PID]:
        return self._resolved(_listed(to))

    def _resolved(self, recipients: Sequence[Any]) -> list[PID]:
        if set(map(type, recipients)) == {PID}:
            return list(recipients)
        return [self._resolve(index, item) for index, item in enumerate(recipients) if item is not None]

    def _resolve(self, index: int, item: Any) -> PID:
        if type(item) is PID:
            return item
        if isinstance(item, AnyRef):
            return self._pid_of(item)
        msg = f"recipient {index} is no PID, actor reference or None: {item!r}"
        raise TypeError(msg)

    def _pid_of(self, ref: Any) -> PID:
        try:
            return pid_of(ref, self._node.host)
        except ActorDeadError:
            return PID(self._node.host.id, 0)  # nobody's: what is sent to it counts as dead

    def _encode(self, message: Any) -> bytes:
        data = encode(message)
        if len(data) > self._node.limits.message_max_bytes:
            raise MessageTooLarge(len(data), self._node.limits.message_max_bytes)
        return data

    def _raise_if(self, shed: dict[str, int]) -> None:
        full = {node: number for node, number in shed.items() if number}
        if full:
            raise Overloaded(full, sum(full.values()), "a queue")


def _listed(to: Any) -> Sequence[Any]:
    """Give the recipients as a sequence. What is no recipient and no iterable raises TypeError."""
    if type(to) is list or type(to) is tuple:
        return to
    if to is None:
        return ()
    if isinstance(to, PID | AnyRef):
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
