"""Two nodes whose link is moved by hand: without a transport, without a clock, and without a thread that does I/O.

All but the `Hub` is real: links, peers, clusters, replicas, workers. So a session can end between any two frames.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import manifold
from manifold.cluster.peer import Peer
from manifold.core.bodies import AudienceChange, Kind
from manifold.core.frames import Hello
from manifold.core.link import Frame, Link, LinkLimits, Settled, Up
from tests.support import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.core.link import Event
    from manifold.node import WorkerKind

_STEP_S = 0.01
_sessions = itertools.count(1)


class Hand:
    """Nodes a and b. `on_frame` sees (node, kind, body) of each frame, before it is handled."""

    def __init__(
        self, limits: manifold.Limits | None = None, *, worker_kind: WorkerKind = "thread", **link_limits: int
    ) -> None:
        self.a = manifold.Node("a", workers=1, limits=limits)
        self.b = manifold.Node("b", workers=1, worker_kind=worker_kind)
        self._witnesses = [(node, node.spawn(Recorder)) for node in (self.a, self.b)]
        self.peers: dict[manifold.Node, Peer] = {}
        self.wires: dict[manifold.Node, list[bytes]] = {self.a: [], self.b: []}
        """What is on its way from each node."""
        self.on_frame: Callable[[manifold.Node, int, memoryview], None] = lambda *_: None
        self._limits = LinkLimits(**link_limits)
        self._now = 0.0

    def close(self) -> None:
        for node in list(self.peers):
            self.lose(node)
        self.a.stop()
        self.b.stop()

    def other(self, node: manifold.Node) -> manifold.Node:
        return self.b if node is self.a else self.a

    def replicas(self) -> dict[int, set[int]]:
        """Give what b keeps of a's audiences: the ids of their members, by the number of the audience."""
        return {number: set(kept._roster.members) for number, kept in self.peers[self.b].arrivals._replicas.items()}

    def meet(self) -> None:
        """Begin a session. Who has not noticed the end of the one before notices it now."""
        for node in (self.a, self.b):
            self.lose(node)
            link = Link(Hello(node.id, f"hand://{node.name}"), next(_sessions), now=self._now, limits=self._limits)
            self.peers[node] = Peer("", link, node, lambda: None, node.cluster.members_left, lambda _: None)
        for _ in range(10):
            self._make(self.a)
            self._make(self.b)
            for node, wire in self.wires.items():
                while wire:
                    self._take(self.other(node), wire.pop(0))
        assert all(peer.up for peer in self.peers.values())

    def lose(self, node: manifold.Node) -> None:
        """A node has the session down; the other need not know it yet. What is on the way to it and from it is lost."""
        if (peer := self.peers.pop(node, None)) is not None:
            with peer.lock:
                peer.link.close()
            node.cluster.drop(peer)
            for wire in self.wires.values():
                wire.clear()

    def carry(self, frames: int, node: manifold.Node) -> None:
        """Bring at most so many packets from a node to the other: one for each frame."""
        if node in self.peers:
            self._make(node)
        wire = self.wires[node]
        for _ in range(min(frames, len(wire))):
            self._take(self.other(node), wire.pop(0))

    def settle(self) -> None:
        """Bring all that is due, to and fro, until both sides and their workers have nothing more to say."""
        quiet = 0
        while quiet < 3:
            for node, witness in self._witnesses:
                node.ask(witness, "what was queued is done").get()
            busy = any(self.wires.values()) or any(peer.link.unacked for peer in self.peers.values())
            for node in (self.a, self.b):
                self.carry(1_000_000, node)
            # What is for one who has the session down already stays for ever.
            quiet = 0 if busy and len(self.peers) == 2 else quiet + 1

    def _make(self, node: manifold.Node) -> None:
        """As the hub does in a turn: what is to be told to the other goes on the wire."""
        self._now += _STEP_S
        peer = self.peers[node]
        while node.cluster.forgotten:
            number, nodes = node.cluster.forgotten.popleft()
            if self.other(node).id in nodes:
                peer.put(Kind.AUDIENCE_CHANGE, AudienceChange(number, 0, ()).pack())
        with peer.lock:
            peer.link.settle(*peer.tally.fresh(), self._now)
            peer.link.backlog(peer.arrivals.backlog(), self._now)
            self.wires[node] += peer.link.packets_to_send(self._now, 1)

    def _take(self, node: manifold.Node, packet: bytes) -> None:
        if (peer := self.peers.get(node)) is not None:
            for event in peer.link.receive_packet(packet, self._now):
                self._on_event(node, peer, event)

    def _on_event(self, node: manifold.Node, peer: Peer, event: Event) -> None:
        if type(event) is Frame:
            self.on_frame(node, event.kind, event.body)
            peer.handle(event.kind, event.body)
        elif type(event) is Settled:
            peer.settled = [before + now for before, now in zip(peer.settled, event, strict=True)]
        elif type(event) is Up:
            peer.node, peer.up = event.hello.node, True
            node.cluster.peers[peer.node] = peer
