"""A network and its clock, simulated: one seed decides every delay and fault, and nothing ever sleeps.

    network = Network(seed=7, faults=Faults(loss=0.1))
    a, b = network.add("a"), network.add("b")
    link = a.connect("b")
    a.send("b", 16, b"hello")
    assert network.run_until(lambda: a.is_quiet("b"), within_s=10)
    assert [event.body for _, event in b.frames] == [b"hello"]

Between two endpoints there are two connections, one each way, as over ZeroMQ. A connection keeps the order of its
packets unless `Faults.reorder` says otherwise, and loses what is on its way when it breaks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import TYPE_CHECKING

from manifold.core.frames import Frame, FrameError, Hello, Packet, decode_packet, reset_for
from manifold.core.link import Link
from manifold.core.link_terms import Down, Event, Input, LinkLimits, State

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Endpoint", "Faults", "Network", "Spinning"]

_STEP_S = 1e-6


class Spinning(AssertionError):
    """An endpoint is woken over and over without the time moving on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to packets on their way; shares are 0..1, of all packets, each decided for itself."""

    loss: float = 0.0
    """The share that is lost."""
    duplicate: float = 0.0
    """The share that comes again, up to `late_s` later."""
    reorder: float = 0.0
    """The share that is overtaken by others: it comes up to `late_s` later than it should."""
    delay_s: tuple[float, float] = (0.001, 0.003)
    """The least and the longest way."""
    late_s: float = 0.05


class Network:
    """Endpoints, what is on its way between them, and the time.

    `seed` decides everything; two networks of one seed that are used in the same way do the same. `now` is the time,
    in seconds from 0. `faults` may be replaced at any time; it holds for packets sent from then on. `on_packet`, if
    set, sees (from, to, packet) of every packet that is sent, before any fault.
    """

    def __init__(self, seed: int, *, faults: Faults | None = None) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - a simulation
        self.now = 0.0
        self.faults = faults or Faults()
        self.endpoints: dict[str, Endpoint] = {}
        self.on_packet: Callable[[str, str, bytes], None] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._cut: set[tuple[str, str]] = set()
        # How often a connection broke, and until when: what was sent before does not arrive.
        self._breaks: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._broken_until: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._last_arrival: defaultdict[tuple[str, str], float] = defaultdict(float)

    def __repr__(self) -> str:
        return f"Network(seed={self.seed}) at {self.now:.3f} s"

    def add(self, name: str, *, limits: LinkLimits | None = None) -> Endpoint:
        """Give a new endpoint, whose links have these limits."""
        endpoint = self.endpoints[name] = Endpoint(self, name, limits or LinkLimits())
        return endpoint

    # Time.

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call this when the time has come."""
        heappush(self._events, (self.now + delay_s, next(self._serial), call))

    def run(self, for_s: float) -> None:
        """Let so much time pass, and all happen that is due in it."""
        self.run_until(lambda: False, within_s=for_s)

    def run_until(self, condition: Callable[[], bool], *, within_s: float) -> bool:
        """Let time pass until the condition holds, and say whether it did within so many seconds.

        Raises `Spinning` when an endpoint does not let the time pass.
        """
        end, still = self.now + within_s, 0
        while not condition():
            if not self._events or self._events[0][0] > end:
                self.now = end
                return condition()
            at, _, call = heappop(self._events)
            still = still + 1 if at - self.now < _STEP_S else 0
            if still > 100_000:
                raise Spinning(f"{self!r}: 100,000 events in a row at the same time")
            self.now = at
            call()
        return True

    # Faults at the test's command. Those of two endpoints hold for both ways unless `one_way`: then from a to b.

    def partition(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Lose all that is sent between the two from now on. Connections stay up: nobody is told."""
        self._cut.update(_ways(a, b, one_way=one_way))

    def heal(self, a: str, b: str) -> None:
        """End a partition."""
        self._cut.difference_update(_ways(a, b, one_way=False))

    def disconnect(self, a: str, b: str, *, for_s: float = 0.0, one_way: bool = False) -> None:
        """Break connections: what is on its way is lost, and what is sent until they are back, then both are told."""
        for way in _ways(a, b, one_way=one_way):
            self._breaks[way] += 1
            self._broken_until[way] = self.now + for_s
            self.after(for_s, partial(self._reconnect, way, self._breaks[way]))

    def is_connected(self, a: str, b: str) -> bool:
        """Say whether the connection from a to b stands."""
        return self.now >= self._broken_until[a, b]

    def _reconnect(self, way: tuple[str, str], breaks: int) -> None:
        if self._breaks[way] == breaks:
            self.endpoints[way[0]]._reconnected(way[1])

    # The way of a packet.

    def _transmit(self, sender: str, receiver: str, packet: bytes) -> None:
        if self.on_packet:
            self.on_packet(sender, receiver, packet)
        faults, chance = self.faults, self.random.random
        if (sender, receiver) in self._cut or self.now < self._broken_until[sender, receiver]:
            return
        copies = 1 + (chance() < faults.duplicate)
        if chance() >= faults.loss:
            for copy in range(copies):
                self._post((sender, receiver), packet, is_late=copy > 0 or chance() < faults.reorder)

    def _post(self, way: tuple[str, str], packet: bytes, *, is_late: bool) -> None:
        at = self.now + self.random.uniform(*self.faults.delay_s)
        if is_late:
            at += self.random.uniform(0, self.faults.late_s)
        else:
            at = self._last_arrival[way] = max(at, self._last_arrival[way])
        self.after(at - self.now, partial(self._arrive, way, self._breaks[way], packet))

    def _arrive(self, way: tuple[str, str], breaks: int, packet: bytes) -> None:
        receiver = self.endpoints.get(way[1])
        if receiver and self._breaks[way] == breaks:
            receiver._arrived(way[0], packet)


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
        at = self.network.now + max(timeout_s, _STEP_S)
        if at < self._wakes.get(peer, inf):
            self._wakes[peer] = at
            self.network.after(at - self.network.now, partial(self._wake, peer, at))

    def _wake(self, peer: str, at: float) -> None:
        if self._wakes.get(peer) == at:
            del self._wakes[peer]
            self.flush(peer)


def _ways(a: str, b: str, *, one_way: bool) -> list[tuple[str, str]]:
    return [(a, b)] if one_way else [(a, b), (b, a)]
