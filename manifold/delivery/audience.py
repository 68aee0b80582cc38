"""An audience: a set of recipients kept grouped, and cached on the nodes it touches.

A send to it costs the same whatever its size. Its definition, changes and sends go down the same ordered ways as
everything else its owner sends, so they need no other protocol to agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold import ports
from manifold.core.pid import PID
from manifold.delivery.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifold.ports import Settles

__all__ = ["Audience"]


class Audience:
    """A set of recipients that is sent to again and again: `manifold.send(audience, message)`.

    A send reaches exactly those who are in it at that moment, in order with all else its owner sends. It costs the
    sender the same however many they are: one hand-off per node. Changes cost O(1) each. Members that stop, and nodes
    that go down, leave by themselves, a moment after. It belongs to the node on which it was made, and to one sender.

    Changes raise TypeError for what is no PID and ValueError once the audience is closed, and then nothing was changed.
    They raise Overloaded when a queue is full: what is not in may be added again later.
    """

    def __init__(self, pids: Iterable[PID] = ()) -> None:
        self._node = ports.host()
        self._here = Roster(self._node.local)
        self._away = self._node.cluster.audience()
        self._closed = False
        self.update(pids)

    def add(self, pid: PID) -> None:
        """Take in a recipient. One that is in already, or has stopped, changes nothing."""
        self.update((pid,))

    def discard(self, pid: PID) -> None:
        """Take out a recipient. One that is not in changes nothing."""
        _check(pid)
        self._node.local.offload.catch_up()
        self._check_open()
        if self._is_here(pid):
            self._here.discard(pid.id)
        else:
            self._away.discard(pid)

    def update(self, pids: Iterable[PID]) -> None:
        """Take in many recipients."""
        pids = list(pids)
        for pid in pids:
            _check(pid)
        self._node.local.offload.catch_up()
        self._check_open()
        groups = self._node.places.group(pids)
        here = groups.pop(self._node.id, ())
        if groups:
            self._away.update(groups)
        self._here.update(here)

    def close(self) -> None:
        """Let go of all recipients. What was sent still reaches them. Closing twice is no error."""
        self._node.local.offload.catch_up()
        if not self._closed:
            self._closed = True
            self._here.close()
            self._away.close()

    def __len__(self) -> int:
        return len(self._here) + len(self._away)

    def __contains__(self, pid: object) -> bool:
        if type(pid) is not PID:
            return False
        return pid.id in self._here.members if self._is_here(pid) else pid in self._away

    def __iter__(self) -> Iterator[PID]:
        yield from self._here
        yield from self._away

    def _is_here(self, pid: PID) -> bool:
        return self._node.places.of(pid) == self._node.id

    def __repr__(self) -> str:
        return f"<Audience of {len(self)}{', closed' if self._closed else ''}>"

    # Sends, called by the Sender.

    def _counts(self, receipt: Settles | None) -> dict[str, int]:
        """Give how many members are on each node, at this moment. Under both locks."""
        self._check_open()
        counts = {self._node.id: len(self._here), **self._away.counts()}
        if receipt is not None:
            receipt.expect(sum(counts.values()))
        return counts

    def _send(self, message: Any, receipt: Settles | None, wire: bytes | None) -> dict[str, int]:
        """Hand a message to every member; give how many were shed, by node."""
        with self._here.lock, self._away.lock:
            counts = self._counts(receipt)
            return self._hand_out(message, receipt, wire, counts, sum(counts.values()))

    def _count(self, receipt: Settles | None) -> dict[str, int]:
        """Give what `_send_counted` wants to know, of a send that has to wait for others before it."""
        with self._here.lock, self._away.lock:
            return self._counts(receipt)

    def _send_counted(self, message: Any, receipt: Settles | None, wire: bytes | None, counts: dict[str, int]) -> None:
        """Hand out what was counted as sent before. Members that have ended since are counted dead."""
        with self._here.lock, self._away.lock:
            self._hand_out(message, receipt, wire, counts, 0)

    def _hand_out(
        self,
        message: Any,
        receipt: Settles | None,
        wire: bytes | None,
        counts: dict[str, int],
        uncounted: int,
    ) -> dict[str, int]:
        here = self._node.id
        shed = {here: self._here.send(message, receipt, counts[here], uncounted)}
        for node, members in counts.items():
            if node != here and members:
                shed[node] = self._away.send(node, members, wire or b"", receipt)
        return {node: number for node, number in shed.items() if number}

    def _check_open(self) -> None:
        if self._closed:
            msg = "this audience is closed"
            raise ValueError(msg)


def _check(pid: object) -> None:
    if type(pid) is not PID:
        msg = f"an audience takes PIDs, not {pid!r}"
        raise TypeError(msg)
