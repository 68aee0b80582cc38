"""The sender's side: who the recipients are, grouped by node, and one hand-off to each node."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from manifold.actors import ActorDeadError, AnyRef, Future, Placed
from manifold.actors.foreign import pid_of
from manifold.core.codec import Sealed, encode
from manifold.core.pid import PID
from manifold.core.routing import node_of
from manifold.delivery.audience import Audience
from manifold.delivery.queues import HANDOFF_BYTES, RECIPIENT_BYTES
from manifold.delivery.receipt import Receipt
from manifold.errors import ManifoldError, MessageTooLarge, NodeStopped, NotSerializable, Overloaded
from manifold.ports import DEAD, SHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.delivery.partitioner import Partitioner

__all__ = ["Sender"]

logger = logging.getLogger("manifold")


class Sender:
    """Sends of one node."""

    def __init__(self, node: Partitioner) -> None:
        self._node = node

    def send(
        self, to: Any, message: Any, pack_mode: str | None, send_mode: str | None, receipt: bool
    ) -> Receipt | None:
        """Send; see `manifold.send`."""
        if self._node.ended:
            raise NodeStopped(self._node.host.id)
        if type(to) is PID and pack_mode is None and send_mode is None and not receipt:
            self._send_one(to, message)
            return None
        _check_modes(pack_mode, send_mode)
        if pack_mode == "binary":
            message = Sealed(self.encode(message))
        track = Receipt() if receipt else None
        later = send_mode == "offload" or self._node.offload.holds()
        if type(to) is Audience:
            self._send_audience(to, message, track)
        elif (refs := _placed(to)) is not None:
            self._send_keyed(refs, message, track, later=later)
        elif type(to) is str and to:
            self._send_named(to, message, track, later=later)
        elif later:
            self._send_later(self._copied(to), message, track)
        else:
            self._send_list(to, message, track)
        return track

    def ask(self, pid: Any, message: Any, timeout_s: float | None) -> Future[Any]:
        """Ask; see `manifold.ask`."""
        if type(pid) is Placed:
            return self._ask_keyed(pid, message, timeout_s)
        if type(pid) is str and pid:
            return self._ask_named(pid, message, timeout_s)
        if isinstance(pid, AnyRef):
            pid = self._pid_of(pid)
        if type(pid) is not PID:
            msg = f"ask takes a PID, an actor reference or a placed actor, not {pid!r}"
            raise TypeError(msg)
        future = Future.asked(pid, timeout_s, self._node.host.around.monotonic)
        error = self._ask(pid, message, future)
        if error is not None:
            future.set_exception((type(error), error, None))
        return future

    def _ask(self, pid: PID, message: Any, future: Future[Any]) -> Exception | None:
        if not self._is_here(pid):
            wire = self.encode(message)
            self._node.count_sent(1)
            self._node.behind(lambda: self._node.host.cluster.ask(pid, wire, future))
        elif (actor := self._node.find(pid)) is not None:
            self._node.post(actor, message, future)
        else:
            self._node.count_dead(1)
            return ActorDeadError(f"{pid} not found")
        return None

    def _ask_keyed(self, ref: Placed, message: Any, timeout_s: float | None) -> Future[Any]:
        directory = self._node.host.directory
        wire = self.encode(message) if directory.is_far([ref]) else None
        future = Future.asked(None, timeout_s, self._node.host.around.monotonic)

        def act() -> None:
            try:
                directory.ask(ref, message, wire, future)
            except ManifoldError as error:  # meanwhile it belongs nowhere, or elsewhere, and cannot be encoded
                future.set_exception((type(error), error, None))

        self._node.behind(act)
        return future

    # By name. What the same thread sends after a name that has to be looked up waits behind it.

    def _send_named(self, name: str, message: Any, track: Receipt | None, *, later: bool) -> None:
        pid = self._node.host.directory.known(name)
        if pid is not None and not later:
            self._send_list((pid,), message, track)
            return
        wire = self._encoded(message)
        if track is not None:
            track.expect(1)
        self._node.count_sent(1)
        act = lambda pid: self._send_to_holder(pid, message, track, wire)  # noqa: E731
        self._when_found(name, act, HANDOFF_BYTES + len(wire or b""))

    def _send_to_holder(self, pid: PID | None, message: Any, track: Receipt | None, wire: bytes | None) -> None:
        if pid is None or (wire is None and not self._is_here(pid)):
            with self._node.lock:
                self._node.bury(1, track)
        else:
            self._send_counted([pid], message, track, wire)

    def _encoded(self, message: Any) -> bytes | None:
        """Encode what may have to travel; None for what cannot: nobody but an actor of this process can get it."""
        try:
            return self.encode(message)
        except NotSerializable:
            return None

    def _ask_named(self, name: str, message: Any, timeout_s: float | None) -> Future[Any]:
        future = Future.asked(None, timeout_s, self._node.host.around.monotonic)

        def act(pid: PID | None) -> None:
            error: Exception | None = ActorDeadError(f"nobody is registered as {name!r}")
            if pid is not None:
                future.asks(pid)
                try:
                    error = self._ask(pid, message, future)
                except ManifoldError as raised:  # it cannot be encoded
                    error = raised
            if error is not None:
                future.set_exception((type(error), error, None))

        pid = self._node.host.directory.known(name)
        if pid is not None and not self._node.offload.holds():
            act(pid)
        else:
            self._when_found(name, act, HANDOFF_BYTES)
        return future

    def _when_found(self, name: str, act: Callable[[PID | None], None], cost: int) -> None:
        offload, sender = self._node.offload, self._node.host.around.get_ident()
        found: list[PID | None] = []

        def on_found(pid: PID | None) -> None:
            found.append(pid)
            offload.release(sender)

        offload.hold(sender)
        offload.put(lambda: act(found[0]), cost, sender)
        self._node.host.directory.find(name, on_found)

    def _send_keyed(self, refs: Sequence[Placed], message: Any, track: Receipt | None, *, later: bool) -> None:
        directory = self._node.host.directory
        wire = self.encode(message) if type(message) is Sealed or directory.is_far(refs) else None
        if track is not None:
            track.expect(len(refs))
        if later:
            self._node.count_sent(len(refs))
            act = lambda: self._send_keyed_counted(refs, message, track, wire)  # noqa: E731
            self._node.offload.put(act, HANDOFF_BYTES + len(wire or b""))
        else:
            self._raise_if(directory.send(refs, message, wire, track, uncounted=len(refs)))

    def _send_keyed_counted(
        self, refs: Sequence[Placed], message: Any, track: Receipt | None, wire: bytes | None
    ) -> None:
        try:
            self._node.host.directory.send(refs, message, wire, track, uncounted=0)
        except ManifoldError as error:  # meanwhile one belongs nowhere, or elsewhere, and it cannot be encoded
            logger.error("a message to %d placed actors is dead: %s", len(refs), error)
            self._node.give_up(DEAD, len(refs), track)

    # What the directory hands in: for actors of this node, found by key.

    def hand_in(
        self,
        pids: Sequence[PID],
        number: int,
        message: Any,
        wire: bytes | None,
        receipt: Receipt | None,
    ) -> dict[str, int]:
        """Hand a message to actors of this node, of `number` that were meant; how many were shed. Not counting."""
        if number > len(pids):
            with self._node.lock:
                self._node.bury(number - len(pids), receipt)
        return self._send_any(pids, message, receipt, uncounted=0, wire=wire)

    def ask_in(self, pid: PID | None, message: Any, future: Future[Any]) -> None:
        """Ask an actor of this node, if there is one."""
        future.asks(pid)
        error = self._ask(pid or PID(self._node.host.id, 0), message, future)
        if error is not None:
            future.set_exception((type(error), error, None))

    def _send_one(self, pid: PID, message: Any) -> None:
        actor = pid._actor
        if actor is not None and pid.node == self._node.host.id:
            self._node.post(actor, message)
        elif self._node.offload.holds():
            self._send_later([pid], message, None)
        elif (place := self._node.host.places.of(pid)) != self._node.host.id:
            wire = self.encode(message)
            self._node.count_sent(1)
            self._raise_if({place: self._node.host.cluster.send(place, (pid.id,), wire, None)})
        else:
            self._raise_if(self._send_any([pid], message, None, uncounted=1))

    def _send_list(self, to: Any, message: Any, track: Receipt | None) -> None:
        recipients = _listed(to)
        if track is not None:
            track.expect(len(recipients))
        shed = self._node.send_running(recipients, message, track, len(recipients))
        if shed is not None:
            self._raise_if({self._node.host.id: shed})
            return
        pids = self._resolved(recipients)
        if track is not None:
            track.expect(len(pids))
        self._raise_if(self._send_any(pids, message, track, uncounted=len(pids)))

    def _send_any(
        self,
        pids: Sequence[PID],
        message: Any,
        track: Receipt | None,
        *,
        uncounted: int,
        wire: bytes | None = None,
    ) -> dict[str, int]:
        """Hand a message to recipients anywhere; how many were shed, by node."""
        groups = self._node.host.places.group(pids)
        here = groups.pop(self._node.host.id, None)
        wire = (wire or self.encode(message)) if groups else None
        self._node.count_sent(uncounted)
        shed = {}
        for node, those in groups.items():
            shed[node] = self._node.host.cluster.send(node, [pid.id for pid in those], wire or b"", track)
        if here:
            shed[self._node.host.id] = self._node.send(here, message, track)
        return shed

    def _send_audience(self, audience: Audience, message: Any, track: Receipt | None) -> None:
        wire = self.encode(message) if len(audience._away) else None
        if self._node.offload.holds():
            counts = audience._count(track)
            self._node.count_sent(sum(counts.values()))
            self._node.offload.put(
                lambda: audience._send_counted(message, track, wire, counts), HANDOFF_BYTES + len(wire or b"")
            )
        else:
            self._raise_if(audience._send(message, track, wire))

    def _send_later(self, pids: Sequence[PID], message: Any, track: Receipt | None) -> None:
        number = len(pids)
        wire = self._wire(pids, message)
        if track is not None:
            track.expect(number)
        self._node.count_sent(number)
        if self._node.offload.full():
            self._node.give_up(SHED, number, track)
            raise Overloaded([self._node.host.id], number, "the offload queue")
        cost = HANDOFF_BYTES + RECIPIENT_BYTES * number
        self._node.offload.put(lambda: self._send_counted(pids, message, track, wire), cost)

    def _wire(self, pids: Sequence[PID], message: Any) -> bytes | None:
        """Encode what will be handed out later; here, because its sender has to hear if it cannot be.

        Encoding costs a fraction of looking through a long list for recipients elsewhere, so that is not done first.
        """
        try:
            return self.encode(message)
        except (NotSerializable, MessageTooLarge):
            if not all(map(self._is_here, pids)):
                raise
            return None

    def _send_counted(self, pids: Sequence[PID], message: Any, track: Receipt | None, wire: bytes | None) -> None:
        if self._node.send_running(pids, message, track, 0) is None:
            self._send_any(pids, message, track, uncounted=0, wire=wire)

    def checked(self, to: Any) -> Sequence[PID | Placed] | Audience:
        """Give a list of recipients that nobody else changes, or the audience; raises as `send` does."""
        if self._node.ended:
            raise NodeStopped(self._node.host.id)
        if type(to) is Audience:
            return to
        return self._copied(to) if (refs := _placed(to)) is None else refs

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
        apart = f". {_APART}" if type(item) is Placed else ""
        msg = f"recipient {index} is no PID, actor reference or None: {item!r}{apart}"
        raise TypeError(msg)

    def _pid_of(self, ref: Any) -> PID:
        try:
            return pid_of(ref, self._node.host)
        except ActorDeadError:
            return PID(self._node.host.id, 0)  # nobody's: what is sent to it counts as dead

    def _is_here(self, pid: PID) -> bool:
        return self._node.host.places.of(pid) == self._node.host.id

    def encode(self, message: Any) -> bytes:
        """Encode a message; NotSerializable or MessageTooLarge if it cannot be sent."""
        if type(message) is Sealed:
            return bytes(message)
        data = encode(message)
        if len(data) > self._node.limits.message_max_bytes:
            raise MessageTooLarge(len(data), self._node.limits.message_max_bytes)
        return data

    def _raise_if(self, shed: dict[str, int]) -> None:
        full = [place for place, number in shed.items() if number]
        if full:
            raise Overloaded(dict.fromkeys(map(node_of, full)), sum(shed.values()), "a queue")


def _listed(to: Any) -> Sequence[Any]:
    """Give the recipients as a sequence. What is no recipient and no iterable raises TypeError."""
    if type(to) is list or type(to) is tuple:
        return to
    if to is None:
        return ()
    if isinstance(to, PID | AnyRef):
        return (to,)
    # A future can be iterated, as old coroutines want it, and would be a list of nobody.
    if isinstance(to, str | bytes | Future) or not isinstance(to, Iterable):
        wait = " (a future: `await` it, or get() it)" if isinstance(to, Future) else ""
        msg = f"cannot send to {to!r}{wait}: not a PID, a reference, a name, an Audience, None or an iterable of PIDs"
        raise TypeError(msg)
    return list(to)


def _placed(to: Any) -> Sequence[Placed] | None:
    """Give recipients by key as a sequence; None for any others. One list holds the one kind or the other."""
    if type(to) is Placed:
        return (to,)
    if type(to) in _LISTS and type(next(iter(to), None)) is Placed:
        for index, item in enumerate(to):
            if type(item) is not Placed:
                raise TypeError(f"recipient {index} is no placed actor, as those before it are: {item!r}. {_APART}")
        return list(to)
    return None


_LISTS = frozenset({list, tuple, set, frozenset})
_APART = "Send to placed actors, and to PIDs and references, by two sends"


def _check_modes(pack_mode: str | None, send_mode: str | None) -> None:
    if pack_mode not in (None, "binary"):
        msg = f"pack_mode must be None or 'binary', not {pack_mode!r}"
        raise ValueError(msg)
    if send_mode not in (None, "offload"):
        msg = f"send_mode must be None or 'offload', not {send_mode!r}"
        raise ValueError(msg)
