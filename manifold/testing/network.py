"""Endpoints of links over the simulated medium.

network = Network(seed=7, faults=Faults(loss=0.1))
a, b = network.add("a"), network.add("b")
link = a.connect("b")
a.send("b", 16, b"hello")
assert network.run_until(lambda: a.is_quiet("b"), within_s=10)
assert [event.body for _, event in b.frames] == [b"hello"]
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from manifold.core.frames import Frame, FrameError, Hello, Packet, decode_packet, reset_for
from manifold.core.link import Link
from manifold.core.link_terms import Down, Event, Input, LinkLimits, State
from manifold.testing.medium import STEP_S, Faults, Medium

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endpoint", "Network"]


class Network(Medium):
    """Endpoints, what is on its way between them, and the time; see `Medium`."""

    def __init__(self, seed: int, *, faults: Faults | None = None) -> None:
        super().__init__(seed, faults=faults)
        self.endpoints: dict[str, Endpoint] = {}

    def add(self, name: str, *, limits: LinkLimits | None = None) -> Endpoint:
        """Give a new endpoint, whose links have these limits."""
        endpoint = self.endpoints[name] = self.stations[name] = Endpoint(self, name, limits or LinkLimits())
        return endpoint


class Endpoint:
    """A node as far as its links go: one `Link` to each peer, and another when that is down.

    What its links have to tell comes to `on_event` (peer, link, event), if set, and is kept in `events`. Sessions grow
    from link to link, across restarts, too. Made by `Network.add`.
    """

    def __init__(self, network: Network, name: str, limits: LinkLimits) -> None:
        self.network = network
        self.name = name
        self.limits = limits
        self.links: dict[str, Link] = {}
        """By peer: those that are not down."""
        self.events: list[tuple[str, Event]] = []
        """Peer and event, in order."""
        self.errors: list[FrameError] = []
        """What was wrong with packets that came in."""
        self.on_event: Callable[[str, Link, Event], None] | None = None
        self.is_paused = False
        self._wanted: set[str] = set()
        self._inbox: list[tuple[str, bytes]] = []
        self._session = network.random.getrandbits(48)
        self._wakes: dict[str, float] = {}

    @property
    def frames(self) -> list[tuple[str, Frame]]:
        """Peer and frame, of all frames that came in."""
        return [(peer, event) for peer, event in self.events if isinstance(event, Frame)]

    def connect(self, peer: str) -> Link:
        """Give the link to this peer; make one, and one after each that goes down, until somebody says goodbye.

        That may be a goodbye which is on its way already.
        """
        self._wanted.add(peer)
        link = self.links.get(peer) or self._make_link(peer)
        self.flush(peer)
        return link

    def send(self, peer: str, kind: int, *parts: bytes, tag: object = None) -> None:
        """Send a frame over the link to this peer, as `Link.send`."""
        self.links[peer].send(kind, parts, tag)
        self.flush(peer)

    def settle(self, peer: str, delivered: int, dead: int = 0, shed: int = 0) -> None:
        """Tell the peer what became of recipients, as `Link.settle`."""
        self.links[peer].settle(delivered, dead, shed, self.network.now)
        self.flush(peer)

    def backlog(self, peer: str, size_bytes: int) -> None:
        """Say how much waits here, as `Link.backlog`."""
        self.links[peer].backlog(size_bytes, self.network.now)
        self.flush(peer)

    def close(self, peer: str) -> None:
        """Say goodbye and end the link. It comes back if the peer, or `connect`, makes another."""
        self._wanted.discard(peer)
        link = self.links.pop(peer)
        link.close()
        self._transmit(peer, link)
        self._tell(peer, link, Down(Input.CLOSE.value))

    def is_up(self, peer: str) -> bool:
        """Say whether there is a link to the peer that is up."""
        return peer in self.links and self.links[peer].state is State.UP

    def is_quiet(self, peer: str) -> bool:
        """Say whether the link is up and the peer has acknowledged all that was sent."""
        return self.is_up(peer) and not self.links[peer].unacked

    # Faults at the test's command.

    def pause(self) -> None:
        """Stand still, as a process that is swapped out: what comes in waits, no time passes."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on: first with what has come in, then with what time has made due."""
        self.is_paused = False
        waiting, self._inbox = self._inbox, []
        for peer, packet in waiting:
            self._arrived(peer, packet)
        for peer in list(self.links):
            self.flush(peer)

    def restart(self) -> None:
        """Forget all, without a goodbye, and connect anew to the peers that `connect` was called for."""
        self.is_paused = False
        self._inbox.clear()
        links, self.links = self.links, {}
        for peer, link in links.items():
            link.close()
            self._tell(peer, link, Down("restart"))
        for peer in sorted(self._wanted):
            self.connect(peer)

    # What the network and the time bring.

    def flush(self, peer: str) -> None:
        """Send what is due on the link to this peer, and be woken when more is. Frames queued otherwise need it."""
        link = self.links.get(peer)
        if link is None or self.is_paused:
            return
        self._take(peer, link, link.tick(self.network.now))
        link = self.links.get(peer)
        if link is not None:
            self._transmit(peer, link)
            self._plan_wake(peer, link)

    def _arrived(self, peer: str, packet: bytes) -> None:
        if self.is_paused:
            self._inbox.append((peer, packet))
            return
        try:
            self._receive(peer, decode_packet(packet, self.limits.frame_max_bytes))
        except FrameError as error:
            self.errors.append(error)
        self.flush(peer)

    def _receive(self, peer: str, packet: Packet) -> None:
        link = self.links.get(peer)
        if link is None and (packet.receiver or not packet.hello):
            answer = reset_for(packet)
            if answer:
                self.network._transmit(self.name, peer, answer)
            return
        link = link or self._make_link(peer)
        events = link.receive(packet, self.network.now)
        self._take(peer, link, events)

    def _reconnected(self, peer: str) -> None:
        if peer in self.links:
            self.links[peer].reconnected()
            self.flush(peer)

    def _make_link(self, peer: str) -> Link:
        self._session += 1 + self.network.random.getrandbits(10)
        hello = Hello(self.name, f"sim://{self.name}")
        jitter = self.network.random.random()
        link = Link(hello, self._session, now=self.network.now, limits=self.limits, jitter=jitter)
        self.links[peer] = link
        return link

    def _take(self, peer: str, link: Link, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Down):
                self._replace(peer, link, event)
            self._tell(peer, link, event)

    def _replace(self, peer: str, link: Link, down: Down) -> None:
        if down.reason == Input.GOODBYE.value:
            self._wanted.discard(peer)
        if self.links.get(peer) is link:
            del self.links[peer]
        if peer in self._wanted:
            self._make_link(peer)

    def _tell(self, peer: str, link: Link, event: Event) -> None:
        self.events.append((peer, event))
        if self.on_event:
            self.on_event(peer, link, event)

    def _transmit(self, peer: str, link: Link) -> None:
        for packet in link.packets_to_send(self.network.now):
            self.network._transmit(self.name, peer, packet)

    def _plan_wake(self, peer: str, link: Link) -> None:
        timeout_s = link.next_timeout(self.network.now)
        if timeout_s is None:
            return
        at = self.network.now + max(timeout_s, STEP_S)
        if at < self._wakes.get(peer, inf):
            self._wakes[peer] = at
            self.network.after(at - self.network.now, partial(self._wake, peer, at))

    def _wake(self, peer: str, at: float) -> None:
        if self._wakes.get(peer) == at:
            del self._wakes[peer]
            self.flush(peer)
