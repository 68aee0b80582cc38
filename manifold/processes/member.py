"""One worker process, as its main process sees it: the pipe to it, the conversations over it, its latest counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.cluster.intake import Intake
from manifold.cluster.relay import Relay
from manifold.processes.peer import PipePeer, WorkerPeer
from manifold.processes.split import Split, Workers
from manifold.processes.talk import OTHERS, OWN, RELAYED, Counts, Room, Word
from manifold.transport.pipe import Pipe

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Callable, Mapping

    from manifold.limits import Limits
    from manifold.ports import Host

__all__ = ["Member"]

_TELL_BYTES = 1 << 16


class Member:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        host: Host,
        place: str,
        index: int,
        process: subprocess.Popen[bytes],
        sock: socket.socket,
        limits: Limits,
        stuck: Callable[[Member], None],
    ) -> None:
        self.place = place
        self.index = index
        self.process = process
        self.is_ready = self.is_empty = False
        self.failure = ""
        self.counts = Counts()
        self.pipe = Pipe(sock, limits.worker_queue_max_bytes, lambda: stuck(self))
        self.peers: dict[int, PipePeer] = {}
        self._host = host
        self._told = Room()
        # How far what it is told of room may lag behind.
        self._tell_bytes = min(_TELL_BYTES, limits.outbox_max_bytes // 8)

    def open_all(self, cluster: Workers, relayed: Workers, nodes: Mapping[str, tuple[int, str]]) -> None:
        """Open the conversations that there are from the start."""
        nobody = Intake(self._host)  # a worker sends nothing on these two
        self.own = WorkerPeer(self.place, self.pipe, OWN, self._host, cluster.members_left, nobody)
        self.relayed = WorkerPeer(self.place, self.pipe, RELAYED, self._host, relayed.members_left, nobody)
        self.peers |= {OWN: self.own, RELAYED: self.relayed}
        self.open(OTHERS, self._host.id, Split(self._host, cluster, self._host.id, counts=True))
        Relay(self._host, self._host.directory).attach(self.peers[OTHERS])
        for node, (number, _) in nodes.items():
            self.open(number, node, Split(self._host, cluster, node, counts=True))

    def open(self, number: int, node: str, split: Split) -> None:
        """Open the conversation in which the worker sends to actors of a node."""
        self.peers[number] = PipePeer(node, self.pipe, number, self._host, _nobody_left, split)

    def count(self, counts: Counts) -> None:
        """Note its latest counts."""
        self.counts = counts
        self.pipe.told(counts.read_bytes, counts.waiting_bytes)
        self.own.settled = [counts.own_delivered, counts.own_dead, counts.own_shed]

    def final(self) -> Counts:
        """Give its counts at its end: what it has not accounted for is dead."""
        counts = self.counts
        settled = counts.delivered + counts.dead + counts.shed + counts.unreachable
        return counts._replace(dead=counts.dead + counts.sent - settled, actors=0)

    def tell_room(self) -> bool:
        """Tell the worker what was handled of what it sent, if that is news; whether more news is to be expected."""
        waiting = sum(peer.tally.waiting_bytes for peer in list(self.peers.values()))
        fresh = Room(self.pipe.read_bytes, waiting)
        if max(fresh.read_bytes - self._told.read_bytes, abs(waiting - self._told.waiting_bytes)) >= self._tell_bytes:
            self._told = fresh
            self.own.put(Word.ROOM, fresh.pack())
        return waiting >= self._tell_bytes or self._told.waiting_bytes >= self._tell_bytes

    def close(self) -> None:
        """It has ended: let go of what it had open."""
        for number in [number for number in self.peers if number not in (OWN, RELAYED)]:
            self.peers.pop(number).down()
        self.pipe.close()


def _nobody_left(audience: int, node: str, ids: object, join: int) -> None:
    """Nothing: the main process owns no audience there."""
