"""The I/O thread of a node: its transport, its links, and their timers. Nothing else touches sockets or the clock."""

from __future__ import annotations

import logging
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from manifold.cluster.holders import Holders
from manifold.cluster.peer import Peer
from manifold.core.bodies import AudienceChange, Kind, Members
from manifold.core.frames import PACKET_HEADER_BYTES, FrameError, Hello, decode_packet
from manifold.core.link import Down, Frame, Link, LinkLimits, Refused, Room, Settled, State, Up
from manifold.transport import AddressError, Finder

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
_LINKS_MAX = 1024
_DIALS_MAX = 16
"""How many of those that it is told of are dialled in a turn: a thousand at once would take most of a second."""
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
        self._cluster = cluster
        self._membership = membership
        self._transport = transport
        self._limits = limits
        self._link_limits = _link_limits(limits)
        self._join = tuple(join)
        self._by_session: dict[int, Peer] = {}  # those in use, and some that are over
        self._live: dict[int, Peer] = {}  # by session
        self._leaving: dict[int, Peer] = {}  # by session: over, with something left to say
        self._by_node: dict[str, Peer] = {}  # those that are up
        self._former: deque[int] = deque()
        self._holders = Holders(host.id, membership.up, self._heard_at, 2 * self._link_limits.ping_period_s)
        self._told_of: deque[str] = deque()  # addresses that are still to be dialled
        self._patience_s = _FORGET_AFTER * limits.node_down_after_s
        self._gossip_at = 0.0
        self._session = 0
        self._has_started = False
        self._closing_at: float | None = None
        self._warned: set[str] = set()
        self._monotonic = host.around.monotonic
        self._time_ns = host.around.time_ns
        self._thread = host.around.turns(f"{name}-io", self._turns)

    @property
    def address(self) -> str:
        """Where other nodes dial this one."""
        return self._transport.address

    def listen(self) -> None:
        """Have an address, and take nothing in yet. Raises AddressError, having opened nothing."""
        if isinstance(self._transport, Finder):
            self._transport.find(lambda address: self._meet([("", address)]))
        self._transport.open(self._receive, self._connected)
        try:
            for address in self._join:
                self._transport.dial(address)
        except BaseException:
            self._transport.close()
            raise

    def start(self) -> None:
        """Start the thread: others are met from now on."""
        self._has_started = True
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look at what was put. From any thread."""
        self._transport.wake()

    def close(self, until: float) -> None:
        """Let what is queued be acknowledged until then, say goodbye, and end the thread."""
        self._closing_at = until
        if self._has_started:
            self.wake()
            self._thread.join(max(0.0, until - self._monotonic()) + 1.0)
        else:
            self._transport.close()
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
        return self._monotonic() >= until or not any(peer.up and peer.is_owed() for peer in self._live.values())

    def _turn(self) -> None:
        # Whoever is called silent was so before what has come in is taken: this thread itself may have stood still.
        taken_at = self._monotonic()
        self._transport.poll(0.0)
        self._dial_some()
        self._tell_forgotten()
        self._gossip(self._monotonic())
        pumped = (self._pump(peer, taken_at) for peer in list(self._live.values()))
        timeout = min([1.0, *pumped, *map(self._see_off, list(self._leaving.values()))])
        timeout = 0.0 if self._told_of else timeout
        self._transport.poll(timeout if self._closing_at is None else min(timeout, _PUMP_S))

    def _pump(self, peer: Peer, taken_at: float) -> float:
        """Send what is due; the seconds until more will be. What came in until `taken_at` was taken."""
        now = self._monotonic()
        with peer.lock:
            events = peer.link.tick(taken_at)
            fresh = peer.tally.fresh()
            if any(fresh):
                peer.link.settle(*fresh, now)
            peer.link.backlog(peer.arrivals.backlog(), now)
            self._send(peer, now)
            timeout = peer.link.next_timeout(now)
        self._on_events(peer, events)
        # What is stuck goes on when the transport has room: it wakes this thread then.
        return 1.0 if timeout is None or peer.stuck else min(1.0, timeout)

    def _see_off(self, peer: Peer) -> float:
        """Send what one that is over has left to say; the seconds until more of it is due."""
        now = self._monotonic()
        with peer.lock:
            self._send(peer, now)
            timeout = peer.link.next_timeout(now)
        if (timeout is None and not peer.stuck) or now > peer.link.heard_at + self._patience_s:
            self._part(peer)
        return 1.0 if timeout is None or peer.stuck else min(1.0, timeout)

    def _leave(self, peer: Peer) -> None:
        """Let a link that is over say what it has left to say. When too many do, the first of them has to go."""
        self._leaving[peer.link.session] = peer
        if len(self._leaving) > _FORMER_MAX:
            self._part(next(iter(self._leaving.values())))

    def _part(self, peer: Peer) -> None:
        """Have nothing more to do with a link that is over."""
        self._leaving.pop(peer.link.session, None)
        if not any(other.address == peer.address for other in self._live.values()):
            self._transport.hang_up(peer.address)

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
        for peer in self._live.values():
            if peer.address == address:
                with peer.lock:
                    peer.stuck.clear()
                    peer.link.reconnected()

    # Links.

    def _dial(
        self, address: str, *, forever: bool = False, wanted_until: float = 0.0, after_s: float = 0.0
    ) -> Peer | None:
        """Make a new link to whoever is at an address; None for one, learnt from a peer, that cannot be dialled.

        Its first hello is said after so many seconds.
        """
        if len(self._live) >= _LINKS_MAX and not forever:
            self._warn(f"more than {_LINKS_MAX} nodes: no more are dialled")
            return None
        now = self._monotonic()
        self._session = max(self._session + 1, self._time_ns())
        try:
            self._transport.dial(address)
        except AddressError as error:
            self._warn(str(error))
            return None
        jitter, limits = self._session % 97 / 97, self._link_limits
        link = Link(self._hello(), self._session, now=now, limits=limits, jitter=jitter, hello_after_s=after_s)
        peer = Peer(address, link, self._host, self.wake, self._cluster.members_left, self._meet)
        self._host.directory.attach(peer)
        peer.forever = forever or address in self._join
        peer.wanted_until = wanted_until
        self._by_session[self._session] = self._live[self._session] = peer
        self._transport.wake()  # its hello is due now, not when this turn's wait is over
        return peer

    def _hello(self) -> Hello:
        members = tuple(self._membership.up().items())
        return Hello(self._host.id, self._transport.address, {}, members)

    def _receive(self, data: bytes) -> None:
        if len(data) < PACKET_HEADER_BYTES:
            return
        sender, receiver = _SESSIONS.unpack_from(data, _SESSIONS_AT)
        peer = self._by_session.get(receiver)
        try:
            # One that speaks to an earlier session of ours introduces itself again, and hears that it is over.
            peer = self._introduced(data) if peer is None else peer
            if peer is not None:
                self._feed(peer, sender, data)
        except FrameError as error:
            self._warn(f"a packet was refused: {error}")

    def _feed(self, peer: Peer, sender: int, data: bytes) -> None:
        if not peer.up and self._is_double(peer, sender, data):
            return self._retire(peer)
        with peer.lock:
            events = peer.link.receive_packet(data, self._monotonic())
            if peer.link.state is State.DOWN and peer.link.next_timeout(0.0) is not None:
                self._leave(peer)
        return self._on_events(peer, events)

    def _is_double(self, peer: Peer, sender: int, data: bytes) -> bool:
        """Tell whether a link leads to a session that one which is up leads to: by another name of its address.

        Sessions of different nodes may have the same number: only their owners tell them apart.
        """
        for other in self._by_node.values():
            if other is not peer and other.link.peer_session == sender and peer.link.session in self._live:
                hello = decode_packet(data, self._link_limits.frame_max_bytes).hello
                if hello is not None and hello.node == other.node:
                    other.forever |= peer.forever
                    return True
        return False

    def _introduced(self, data: bytes) -> Peer | None:
        """Find, or make, the link for a packet of one who does not know our session yet."""
        hello = decode_packet(data, self._link_limits.frame_max_bytes).hello
        if hello is None or hello.node == self._host.id or not hello.address or self._closing_at is not None:
            return None
        peer = self._by_node.get(hello.node) or self._leading_to(hello.node, hello.address)
        objection = self._objection(hello)
        if objection is None:
            return peer or self._dial(hello.address)
        if objection and (peer := peer or self._dial(hello.address)) is not None and not peer.up:
            with peer.lock:
                peer.link.receive_packet(data, self._monotonic())
            self._reject(peer, hello, objection)
        return None

    def _leading_to(self, node: str, address: str) -> Peer | None:
        return next((peer for peer in self._live.values() if peer.leads_to(node, address)), None)

    def _objection(self, hello: Hello) -> str | None:
        return self._holders.objection(hello.node, hello.address, self._monotonic())

    def _heard_at(self, node: str) -> float:
        return self._by_node[node].link.heard_at

    def _reject(self, peer: Peer, hello: Hello, why: str) -> None:
        """Tell a node why it is not welcome, if that is certain, and try again later what has to be tried for ever."""
        if why:
            self._warn(f"{hello.node} at {hello.address} was turned away: {why}")
        self._retire(peer, why)
        if peer.forever:
            self._dial(peer.address, after_s=self._limits.node_down_after_s)

    def _warn(self, text: str) -> None:
        """Log something that may come again and again, once."""
        if text not in self._warned and len(self._warned) < _FORMER_MAX:
            self._warned.add(text)
            logger.error("%s: %s", self._host.id, text)

    # Events of links.

    def _on_events(self, peer: Peer, events: list[Event]) -> None:
        for event in events:
            if type(event) is Frame:
                peer.handle(event.kind, event.body)
            elif type(event) is Settled:
                peer.account(event)
            elif type(event) is Up:
                self._on_up(peer, event.hello)
            elif type(event) is Down:
                self._lose(peer, event)
            elif type(event) is Room:
                self._host.local.relieve()
            elif type(event) is Refused:
                self._warn(f"{peer.node} takes no frames as large as one that was queued for it: it was dropped")

    def _on_up(self, peer: Peer, hello: Hello) -> None:
        if hello.node == self._host.id:
            return self._retire(peer)
        if (objection := self._objection(hello)) is not None:
            return self._reject(peer, hello, objection)
        for other in list(self._by_node.values()):
            # The same node in a new session, or another where it was.
            if other.node == hello.node or other.announced == hello.address:
                peer.forever |= other.forever
                self._lose(other, Down("restarted"))
        peer.node, peer.announced = hello.node, hello.address
        self._by_node[hello.node] = peer
        with peer.lock:
            peer.up = True
        self._cluster.peers[hello.node] = peer
        self._membership.joined(hello.node, hello.address)
        self._meet(hello.members)
        parts = Members([(hello.node, hello.address)]).pack()
        for other in list(self._by_node.values()):
            if other is not peer:
                other.put(Kind.MEMBERS, parts)
        return None

    def _meet(self, members: Iterable[tuple[str, str]]) -> None:
        known = {self._host.id, *self._by_node}
        addresses = {"", *self._told_of, *(peer.address for peer in self._live.values())}
        for node, address in members:
            if node not in known and address not in addresses and len(self._told_of) < _LINKS_MAX:
                addresses.add(address)
                self._told_of.append(address)

    def _dial_some(self) -> None:
        for _ in range(min(_DIALS_MAX, len(self._told_of))):
            address = self._told_of.popleft()
            if not any(peer.address == address for peer in self._live.values()):
                self._dial(address, wanted_until=self._monotonic() + self._patience_s)

    def _lose(self, peer: Peer, down: Down) -> None:
        """A link is over. Whoever was there may come back, in a new session."""
        now, was_up = self._monotonic(), peer.up
        self._retire(peer)
        if was_up:
            peer.wanted_until = now + self._patience_s
            self._cluster.drop(peer)
            self._membership.left(peer.node, down.reason)
            self._host.local.relieve()  # of its outbox
        if down.said:
            self._warn(f"turned away by the node at {peer.address}: {down.said}")
        if (other := self._leading_to(peer.node, peer.address)) is not None:
            other.forever |= peer.forever
            other.wanted_until = max(other.wanted_until, peer.wanted_until)
            return
        if peer.forever or (down.reason != "goodbye" and now < peer.wanted_until):
            after_s = self._limits.node_down_after_s if down.said else 0.0
            self._dial(peer.address, wanted_until=peer.wanted_until, after_s=after_s)

    def _retire(self, peer: Peer, why: str = "") -> None:
        """Take a link out of use. It stays for a while, empty, to tell a peer that still believes in it."""
        session = peer.link.session
        with peer.lock:
            peer.link.close(why)
            peer.link.forget()
            peer.stuck.clear()
        if self._live.pop(session, None) is None:
            return
        if self._by_node.get(peer.node) is peer:
            del self._by_node[peer.node]
        self._leave(peer)
        self._former.append(session)
        if len(self._former) > _FORMER_MAX:
            self._by_session.pop(self._former.popleft(), None)

    def _gossip(self, now: float) -> None:
        """Tell everybody who is here, now and then: two who lost each other, or never met, hear so of each other."""
        if now >= self._gossip_at:
            if self._gossip_at:
                self._host.directory.expect_no_more()
            self._gossip_at = now + self._limits.node_down_after_s
            parts = Members(list(self._membership.up().items())).pack()
            for peer in list(self._by_node.values()):
                peer.put(Kind.MEMBERS, parts)

    def _tell_forgotten(self) -> None:
        forgotten = self._cluster.forgotten
        while forgotten:
            number, nodes = forgotten.popleft()
            parts = AudienceChange(number, 0, ()).pack()
            for node in nodes:
                if (peer := self._by_node.get(node)) is not None:
                    peer.put(Kind.AUDIENCE_CHANGE, parts)

    def _say_goodbye(self) -> None:
        now = self._monotonic()
        for peer in list(self._live.values()):
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
        frame_max_bytes=int(limits.packet_max_bytes),  # the peer hears of these two, and takes no other numbers
        window_bytes=int(limits.inbox_max_bytes),
        outbox_max_bytes=limits.outbox_max_bytes,
        drain_below=limits.drain_below,
        node_down_after_s=limits.node_down_after_s,
        ping_period_s=limits.node_down_after_s / 5,
    )
