"""The I/O thread of a node: its transport, its links, and their timers. Nothing else touches sockets or the clock."""

from __future__ import annotations

import logging
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from manifold.cluster.peer import Peer
from manifold.core.bodies import AudienceChange, Kind
from manifold.core.codec import decode, encode
from manifold.core.frames import PACKET_HEADER_BYTES, FrameError, Hello, decode_packet
from manifold.core.link import Down, Frame, Link, LinkLimits, Refused, Room, Settled, Up
from manifold.transport import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifold.cluster.cluster import Cluster
    from manifold.cluster.membership import Membership
    from manifold.core.link import Event
    from manifold.limits import Limits
    from manifold.ports import Host
    from manifold.transport import Transport

__all__ = ["Hub"]

logger = logging.getLogger("manifold")

_SESSIONS = Struct("<QQ")
_SESSIONS_AT = 4
_FORMER_MAX = 1000
_PUMP_S = 0.01
_FORGET_AFTER = 12
"""After how many times `node_down_after_s` a node that went down is no longer dialled."""


class Hub:
    """The I/O thread of one node."""

    def __init__(
        self,
        host: Host,
        name: str,
        cluster: Cluster,
        membership: Membership,
        transport: Transport,
        limits: Limits,
        join: Iterable[str],
    ) -> None:
        self._host = host
        self._name = name
        self._cluster = cluster
        self._membership = membership
        self._transport = transport
        self._limits = limits
        self._link_limits = _link_limits(limits)
        self._join = tuple(join)
        self._by_session: dict[int, Peer] = {}
        self._by_node: dict[str, Peer] = {}
        self._by_address: dict[str, Peer] = {}
        self._former: deque[int] = deque()
        self._given_up: dict[str, float] = {}
        self._patience_s = _FORGET_AFTER * limits.node_down_after_s
        self._gossip_at = 0.0
        self._session = 0
        self._closing_at: float | None = None
        self._warned: set[str] = set()
        self._monotonic = host.around.monotonic
        self._time_ns = host.around.time_ns
        self._thread = host.around.turns(f"{name}-io", self._turns)

    @property
    def address(self) -> str:
        """Where other nodes dial this one."""
        return self._transport.address

    def start(self) -> None:
        """Listen, and start the thread. Raises AddressError, having started nothing."""
        self._transport.open(self._receive, self._connected)
        try:
            for address in self._join:
                self._transport.dial(address)
        except BaseException:
            self._transport.close()
            raise
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look at what was put. From any thread."""
        self._transport.wake()

    def close(self, until: float) -> None:
        """Let what is queued be acknowledged until then, say goodbye, and end the thread."""
        self._closing_at = until
        self.wake()
        self._thread.join(max(0.0, until - self._monotonic()) + 1.0)
        self._membership.close()

    # The loop.

    def _turns(self) -> Iterator[None]:
        for address in self._join:
            self._dial(address, forever=True)
        while not self._is_done():
            try:
                self._turn()
            except Exception:
                logger.critical("the I/O thread of %s went on after:", self._host.id, exc_info=True)
            yield
        self._say_goodbye()
        self._transport.close()

    def _is_done(self) -> bool:
        until = self._closing_at
        if until is None:
            return False
        return self._monotonic() >= until or not any(peer.up and peer.is_owed() for peer in self._peers())

    def _turn(self) -> None:
        # What has come in is taken before anybody is called silent: this thread itself may have stood still.
        self._transport.poll(0.0)
        self._tell_forgotten()
        self._gossip(self._monotonic())
        timeout = min((self._pump(peer) for peer in self._peers()), default=1.0)
        self._transport.poll(timeout if self._closing_at is None else min(timeout, _PUMP_S))

    def _peers(self) -> list[Peer]:
        return list(self._by_session.values())

    def _pump(self, peer: Peer) -> float:
        """Send what is due; the seconds until more will be."""
        now = self._monotonic()
        with peer.lock:
            events = peer.link.tick(now)
            fresh = peer.tally.fresh()
            if any(fresh):
                peer.link.settle(*fresh, now)
            peer.link.backlog(peer.arrivals.backlog(), now)
            self._send(peer, now)
            timeout = peer.link.next_timeout(now)
        self._on_events(peer, events)
        if peer.stuck:
            return _PUMP_S
        return 1.0 if timeout is None else min(1.0, timeout)

    def _send(self, peer: Peer, now: float) -> None:
        """Under the peer's lock. What the transport does not take waits, and nothing more is made until it is gone."""
        while True:
            while peer.stuck:
                if not self._transport.send(peer.address, peer.stuck[0]):
                    return
                peer.stuck.popleft()
            peer.stuck.extend(peer.link.packets_to_send(now))
            if not peer.stuck:
                return

    def _connected(self, address: str) -> None:
        peer = self._by_address.get(address)
        if peer is not None:
            with peer.lock:
                peer.stuck.clear()
                peer.link.reconnected()

    # Links.

    def _dial(self, address: str, *, forever: bool = False) -> Peer | None:
        """Make a new link to whoever is at an address; None for one, learnt from a peer, that cannot be dialled."""
        now = self._monotonic()
        self._session = max(self._session + 1, self._time_ns())
        try:
            self._transport.dial(address)
        except AddressError as error:
            self._warn(str(error))
            return None
        link = Link(self._hello(), self._session, now=now, limits=self._link_limits, jitter=self._session % 97 / 97)
        peer = Peer(address, link, self._host, self.wake, self._cluster.members_left)
        peer.forever = forever or address in self._join
        self._by_session[self._session] = self._by_address[address] = peer
        self._transport.wake()  # its hello is due now, not when this turn's wait is over
        return peer

    def _hello(self) -> Hello:
        members = tuple(self._membership.up().items())
        return Hello(self._host.id, self._transport.address, {}, members)

    def _receive(self, data: bytes) -> None:
        if len(data) < PACKET_HEADER_BYTES:
            return
        _, receiver = _SESSIONS.unpack_from(data, _SESSIONS_AT)
        try:
            # One that speaks to an earlier session of ours introduces itself again, and hears that it is over.
            peer = self._by_session.get(receiver) or self._introduced(data)
            if peer is not None:
                self._feed(peer, data)
        except FrameError as error:
            self._warn(f"a packet was refused: {error}")

    def _feed(self, peer: Peer, data: bytes) -> None:
        with peer.lock:
            events = peer.link.receive_packet(data, self._monotonic())
        if events and isinstance(events[-1], Down) and events[-1].reason == "new session":
            self._on_events(peer, events)
            fresh = self._by_address.get(peer.address)
            if fresh is not None and fresh is not peer:
                self._feed(fresh, data)
            return
        self._on_events(peer, events)

    def _introduced(self, data: bytes) -> Peer | None:
        """Find, or make, the link for a packet of one who does not know our session yet."""
        hello = decode_packet(data, self._link_limits.frame_max_bytes).hello
        if hello is None or hello.node == self._host.id or not hello.address:
            return None
        if not self._is_welcome(hello):
            return None
        known = self._by_node.get(hello.node) or self._by_address.get(hello.address)
        if known is not None and known.node not in ("", hello.node):
            self._lose(known, "restarted")
            known = self._by_address.get(hello.address)
        return known or self._dial(hello.address)

    def _is_welcome(self, hello: Hello) -> bool:
        name = hello.node.rpartition("@")[0]
        if name == self._name:
            self._warn(f"another live node, {hello.node} at {hello.address}, claims this node's name {name!r}: refused")
            return False
        for node, address in self._membership.up().items():
            if node != hello.node and node.rpartition("@")[0] == name and address != hello.address:
                self._warn(f"{hello.node} at {hello.address} claims the name of {node}, which is live: refused")
                return False
        return True

    def _warn(self, text: str) -> None:
        """Log something that may come again and again, once."""
        if text not in self._warned and len(self._warned) < _FORMER_MAX:
            self._warned.add(text)
            logger.error("%s: %s", self._host.id, text)

    # Events of links.

    def _on_events(self, peer: Peer, events: list[Event]) -> None:
        for event in events:
            if type(event) is Frame:
                self._on_frame(peer, event)
            elif type(event) is Settled:
                peer.settled = [before + now for before, now in zip(peer.settled, event, strict=True)]
            elif type(event) is Up:
                self._on_up(peer, event.hello)
            elif type(event) is Down:
                self._lose(peer, event.reason)
            elif type(event) is Room:
                self._host.local.relieve()
            elif type(event) is Refused:
                self._warn(f"{peer.node} takes no frames as large as one that was queued for it: it was dropped")

    def _on_frame(self, peer: Peer, frame: Frame) -> None:
        if frame.kind == Kind.MEMBERS:
            self._meet(decode(frame.body))  # type: ignore[arg-type]
        else:
            peer.handle(frame.kind, frame.body)

    def _on_up(self, peer: Peer, hello: Hello) -> None:
        if not self._is_welcome(hello) or hello.node == self._host.id:
            self._retire(peer)
            return
        if (known := self._by_node.get(hello.node)) is not None:
            # The same node by another address, or dialled from both sides at once.
            known.forever |= peer.forever
            self._retire(peer)
            return
        peer.node = hello.node
        self._by_node[hello.node] = peer
        with peer.lock:
            peer.up = True
        self._cluster.peers[hello.node] = peer
        self._membership.joined(hello.node, hello.address)
        self._meet(hello.members)
        parts = [encode([[hello.node, hello.address]])]
        for other in list(self._by_node.values()):
            if other is not peer:
                other.put(Kind.MEMBERS, parts)

    def _meet(self, members: Iterable[tuple[str, str]]) -> None:
        for node, address in members:
            if node != self._host.id and node not in self._by_node and address and address not in self._by_address:
                self._given_up.setdefault(address, self._monotonic() + self._patience_s)
                self._dial(address)

    def _lose(self, peer: Peer, reason: str) -> None:
        """A link is over. Whoever was there may come back, in a new session."""
        was_up = peer.up
        self._retire(peer)
        if was_up:
            self._cluster.drop(peer)
            self._membership.left(peer.node, reason)
        if peer.forever or (reason != "goodbye" and not self._is_forgotten(peer, was_up=was_up)):
            self._dial(peer.address)
        elif peer.address not in self._by_address:
            self._transport.hang_up(peer.address)

    def _is_forgotten(self, peer: Peer, *, was_up: bool) -> bool:
        now = self._monotonic()
        if was_up:
            self._given_up[peer.address] = now + self._patience_s
        if now < self._given_up.get(peer.address, 0.0):
            return False
        self._given_up.pop(peer.address, None)
        return True

    def _retire(self, peer: Peer) -> None:
        """Take a link out of use. It stays for a while, to tell a peer that still believes in it."""
        with peer.lock:
            peer.link.close()
        if self._by_node.get(peer.node) is peer:
            del self._by_node[peer.node]
        if self._by_address.get(peer.address) is peer:
            del self._by_address[peer.address]
        self._former.append(peer.link.session)
        if len(self._former) > _FORMER_MAX:
            self._by_session.pop(self._former.popleft(), None)

    def _gossip(self, now: float) -> None:
        """Tell everybody who is here, now and then: two who lost each other, or never met, hear so of each other."""
        if now >= self._gossip_at:
            self._gossip_at = now + self._limits.node_down_after_s
            parts = [encode([list(member) for member in self._membership.up().items()])]
            for peer in list(self._by_node.values()):
                peer.put(Kind.MEMBERS, parts)

    def _tell_forgotten(self) -> None:
        forgotten = self._cluster.forgotten
        while forgotten:
            number, nodes = forgotten.popleft()
            parts = AudienceChange(number, joins=False, ids=()).pack()
            for node in nodes:
                if (peer := self._by_node.get(node)) is not None:
                    peer.put(Kind.AUDIENCE_CHANGE, parts)

    def _say_goodbye(self) -> None:
        now = self._monotonic()
        for peer in list(self._by_address.values()):
            with peer.lock:
                peer.link.settle(*peer.tally.fresh(), now)
                self._send(peer, now + self._link_limits.ack_delay_s)
                peer.link.close()
                self._send(peer, now)
        for peer in list(self._by_node.values()):
            self._cluster.drop(peer)
            self._membership.left(peer.node, "this node stops")


def _link_limits(limits: Limits) -> LinkLimits:
    return LinkLimits(
        frame_max_bytes=limits.packet_max_bytes,
        window_bytes=max(limits.inbox_max_bytes, limits.packet_max_bytes + 1024),
        outbox_max_bytes=limits.outbox_max_bytes,
        drain_below=limits.drain_below,
        node_down_after_s=limits.node_down_after_s,
        ping_period_s=limits.node_down_after_s / 5,
    )
