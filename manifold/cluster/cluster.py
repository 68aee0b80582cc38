"""The sending side of the cluster: one hand-off to a node, or the count of what did not reach it."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from manifold.cluster.away import Away
from manifold.core.bodies import AudienceChange, AudienceSend, Kind, Send
from manifold.core.routing import Places
from manifold.errors import NodeDown
from manifold.ports import DEAD, SHED, UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.cluster.peer import Peer
    from manifold.core.pid import PID
    from manifold.limits import Limits
    from manifold.ports import Settles, Watcher

__all__ = ["Cluster"]


class Cluster:
    """The other nodes, as this one's senders see them. Empty until links are made; see `Hub`."""

    def __init__(self, limits: Limits, places: Places | None = None) -> None:
        self.places = places or Places("")
        self._packet_max_bytes = limits.packet_max_bytes
        self._roomy_below_bytes = limits.drain_below * limits.outbox_max_bytes
        self.peers: dict[str, Peer] = {}  # those that are up; changed on the I/O thread alone
        self.audiences: weakref.WeakValueDictionary[int, Away] = weakref.WeakValueDictionary()
        # Closed audiences, and those that the garbage collector found, for the I/O thread to tell their nodes.
        self.forgotten: deque[tuple[int, Sequence[str]]] = deque()
        self._lock = threading.Lock()
        self._lost = [0, 0, 0, 0]
        self._former = [0, 0, 0]
        self._former_handoffs = 0
        self._numbers = itertools.count(1)

    def send(self, node: str, ids: Sequence[int], wire: bytes, receipt: Settles | None) -> int:
        """Make one hand-off to a node; how many recipients were shed. What is unreachable is counted."""
        # A frame has room for some millions of ids; more than that go in several. What fits in none is refused at once.
        room = Send.room(self._frame_max_bytes(node), len(wire))
        room = room if room > 0 else len(ids)
        shed = 0
        for start in range(0, len(ids), room):
            part = ids[start : start + room]
            body = lambda number, part=part: Send(number, part, wire).pack()  # noqa: E731
            shed += self.hand_off(node, Kind.SEND, body, len(part), receipt)
        return shed

    def send_audience(self, node: str, audience: int, members: int, wire: bytes, receipt: Settles | None) -> int:
        """Make one hand-off of a message to an audience's members on a node; how many were shed."""
        body = lambda number: AudienceSend(audience, number, members, wire).pack()  # noqa: E731
        return self.hand_off(node, Kind.AUDIENCE_SEND, body, members, receipt)

    def give_up(self, node: str, recipients: int, receipt: Settles | None) -> int:
        """Count recipients as what is for a place that is not connected; how many were shed: none."""
        self._lose(self.absence(node)[0], node, recipients, receipt)
        return 0

    def _frame_max_bytes(self, node: str) -> int:
        """Give the largest frame that both sides take."""
        peer = self.peers.get(node)
        return self._packet_max_bytes if peer is None else peer.link.frame_max_bytes

    def hand_off(
        self,
        node: str,
        kind: Kind,
        body: Callable[[int], Sequence[bytes]],
        recipients: int,
        receipt: Settles | None,
    ) -> int:
        """Make one hand-off to a node, of a frame whose parts `body` makes; how many recipients were shed."""
        peer = self.peers.get(node)
        taken = None if peer is None else peer.hand_off(kind, body, recipients, receipt)
        if taken:
            return 0
        self._lose(self.absence(node)[0] if taken is None else SHED, node, recipients, receipt)
        return 0 if taken is None else recipients

    def change_audience(self, node: str, change: AudienceChange, *, must_fit: bool = True) -> int | None:
        """Hand off a change; of how many ids: fewer when the outbox is full. None when the node is not connected.

        One that need not fit is never refused for want of room.
        """
        peer = self.peers.get(node)
        if peer is None:
            return None
        room = max(1, AudienceChange.room(peer.link.frame_max_bytes))
        hand_off = peer.change_audience if must_fit else peer.put_change
        for start in range(0, len(change.ids), room):
            taken = hand_off(change._replace(ids=change.ids[start : start + room]))
            if not taken:
                return None if taken is None else start
        return len(change.ids)

    def forget_audience(self, number: int, nodes: Sequence[str]) -> None:
        """Have nodes forget an audience, behind what was sent to it. Takes no lock."""
        if nodes:
            self.forgotten.append((number, nodes))

    def ask(self, pid: PID, wire: bytes, future: Any, receipt: Settles | None = None) -> None:
        """Ask an actor of another node. The future gets the answer, or why there is none."""
        place = self.places.of(pid)
        peer = self.peers.get(place)
        taken = None if peer is None else peer.ask(pid, wire, future, receipt)
        self._asked(place, taken, peer, self.gone(pid), future, receipt)

    def question(
        self,
        node: str,
        kind: Kind,
        body: Callable[[int, int], Sequence[bytes]],
        future: Any,
        receipt: Settles | None = None,
    ) -> None:
        """Ask a node by a frame whose parts `body` makes, given its number and that of its outcome."""
        peer = self.peers.get(node)
        taken = None if peer is None else peer.question(kind, body, future, receipt)
        self._asked(node, taken, peer, NodeDown(node), future, receipt)

    def _asked(
        self,
        place: str,
        taken: bool | None,
        peer: Peer | None,
        gone: Exception,
        future: Any,
        receipt: Settles | None,
    ) -> None:
        if peer is None:
            future.set_exception((type(gone), gone, None))
        if not taken:
            self._lose(self.absence(place)[0] if taken is None else SHED, place, 1, receipt)

    def gone(self, pid: PID) -> Exception:
        """Give the error of a question to a place that is not connected."""
        return NodeDown(pid.node)

    def absence(self, place: str) -> tuple[int, str]:  # noqa: ARG002
        """Tell what becomes of what is for a place that is not connected, and what its monitors are told."""
        return UNREACHABLE, "node down"

    def roomy(self) -> bool:
        """Tell whether every outbox is below its high-water mark."""
        return all(peer.link.pending_bytes < self._roomy_below_bytes for peer in list(self.peers.values()))

    def monitor(self, pid: PID, watcher: Watcher) -> None:
        """Tell `watcher` when the actor has ended, or its node has gone down; at once if it is."""
        place = self.places.of(pid)
        peer = self.peers.get(place)
        if peer is None or not peer.monitor(pid, watcher):
            watcher.on_end(pid, self.absence(place)[1])

    def demonitor(self, pid: PID, watcher: Watcher) -> None:
        """Take that back."""
        if (peer := self.peers.get(self.places.of(pid))) is not None:
            peer.demonitor(pid, watcher)

    def audience(self, left: Callable[[Sequence[int], int], object] | None = None) -> Away:
        """Give the other nodes' side of a new audience; `left` is told of members that have ended, see `Away`."""
        away = Away(self, next(self._numbers), left)
        with self._lock:
            self.audiences[away.number] = away
        return away

    def members_left(self, audience: int, node: str, ids: Sequence[int], join: int) -> None:
        """Members of an audience have ended that came in with this join or before; told by their node."""
        if (away := self.audiences.get(audience)) is not None:
            away.left(node, ids, join)

    def drop(self, peer: Peer) -> None:
        """A node has gone down: what was under way to it is unreachable, and its members leave every audience."""
        lost = peer.down()
        with self._lock:
            if self.peers.get(peer.node) is peer:
                del self.peers[peer.node]
            self._lost[peer.absence] += lost
            self._former = [before + now for before, now in zip(self._former, peer.settled, strict=True)]
            self._former_handoffs += peer.handoffs
            peer.counted = True
        self.vacate(peer.node)

    def vacate(self, place: str) -> None:
        """Nobody is at a place any more: its members leave every audience."""
        with self._lock:  # against those that are made meanwhile
            audiences = list(self.audiences.values())
        for away in audiences:
            away.lost(place)

    def totals(self) -> tuple[int, int, int, int, int]:
        """Give what became of messages to other nodes: delivered, dead, shed, unreachable; and the hand-offs."""
        with self._lock:
            peers = [peer for peer in list(self.peers.values()) if not peer.counted]
            settled = [sum(counts) for counts in zip(self._former, *(peer.settled for peer in peers), strict=True)]
            handoffs = self._former_handoffs + sum(peer.handoffs for peer in peers)
            delivered, dead, shed = settled
            lost = self._lost
            return delivered, dead + lost[DEAD], shed + lost[SHED], lost[UNREACHABLE], handoffs

    def _lose(self, cause: int, node: str, number: int, receipt: Settles | None) -> None:
        with self._lock:
            self._lost[cause] += number
        if receipt is not None:
            receipt.settle(node, cause, number)
