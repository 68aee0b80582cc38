"""A node with a good peer and a bad one, which sends any packets: the good one stays, and the bad one is forgotten.

The bad one does not know the sessions of the good one: who does can speak in its name, where a transport authenticates
nobody. It does not claim to be the same node, in a later life, either. All else it may.
"""

from __future__ import annotations

from unittest import mock

from manifold.cluster import hub as hub_module
from manifold.cluster.hub import Hub
from manifold.cluster.membership import Membership
from manifold.core.bodies import Kind, Members, Send
from manifold.core.codec import encode
from manifold.core.frames import (
    PACKET_HEADER_BYTES,
    RESET,
    Ack,
    Frame,
    FrameError,
    Hello,
    encode_ack,
    encode_frame_header,
    encode_goodbye,
    encode_hello,
    encode_packet,
    encode_ping,
)
from manifold.core.link import Link
from manifold.core.link_terms import LinkDown, LinkFull, LinkLimits, State
from manifold.core.pid import PID
from manifold.transport import memory
from tests.fuzz.home import at_home
from tests.fuzz.script import Script

HOME, GOOD, BAD = "memory://home", "memory://good", "memory://bad"
LIMITS = LinkLimits(node_down_after_s=5.0, ping_period_s=1.0)
WIRE_LIMITS = {"frame_max_bytes": 1_000, "window_bytes": 2_000}
STEPS_MAX = 60
LINKS_MAX = FORMER_MAX = 8  # in place of thousands
STEP_S, LONG_STEP_S = 0.5, 2.0
WAITS = (0, 1, 3, 12, 25)
LINES_MAX = 150


def run(data):
    with at_home() as home:
        world = World(home, Script(data))
        with mock.patch.multiple(hub_module, _LINKS_MAX=LINKS_MAX, _FORMER_MAX=FORMER_MAX):
            world.play()


class Hasty(memory.Memory):
    """One that never waits."""

    def poll(self, timeout_s):
        super().poll(0.0)


class End:
    """A peer: its transport, its link, and what came in."""

    def __init__(self, world, node, address):
        self.world = world
        self.node = node
        self.wires = Hasty(address, hub=world.wires)
        self.wires.open(self._receive, lambda _: self.link.reconnected())
        self.wires.dial(HOME)
        self.frames = []
        self.packets = []  # the last that it sent
        self.begin()

    def begin(self):
        """Start over, in a new session."""
        clock = self.world.clock
        self.link = Link(Hello(self.node, self.wires.address), clock.time_ns(), now=clock.now, limits=LIMITS)

    def _receive(self, data):
        try:
            events = self.link.receive_packet(data, self.world.clock.now)
        except FrameError:
            assert self is not self.world.good
            return
        self.frames += [event for event in events if type(event) is Frame]

    def turn(self):
        now = self.world.clock.now
        self.wires.poll(0.0)
        self.link.tick(now)
        self.link.backlog(0, now)
        for packet in self.link.packets_to_send(now):
            self.packets = [*self.packets[-7:], packet]
            self.wires.send(HOME, packet)


class World:
    """The node's hub, without its thread, and the two peers."""

    def __init__(self, home, script):
        self.home = home
        self.script = script
        self.clock = home.node.around
        self.wires = memory.Hub()
        home.begin().actor_ref.stop(block=False)
        self.membership = Membership()
        node = home.node
        transport = Hasty(HOME, hub=self.wires)
        self.hub = Hub(node, node.name, node.cluster, self.membership, transport, node.limits, ())
        transport.open(self.hub._receive, self.hub._connected)
        self.good = End(self, "good@1", GOOD)
        self.bad = End(self, "bad@1", BAD)
        self.secret = {self.good.link.session}

    def play(self):
        self.turns(3)
        assert self.good.link.state is State.UP
        self.secret.add(self.good.link.peer_session)
        steps = (self.forge, self.forge, self.forge, self.damage, self.noise, self.turn, self.members, self.frame,
                 self.again, self.wait, self.cut)  # fmt: skip
        for _ in range(STEPS_MAX):
            if not self.script:
                break
            self.script.pick(steps)()
            self.hub._turn()
            self.good.turn()
            self.check()
        self.end()

    def turn(self):
        """All do what is due."""
        self.bad.turn()
        self.hub._turn()
        self.good.turn()

    def turns(self, number):
        for _ in range(number):
            self.turn()

    def check(self):
        hub = self.hub
        assert self.good.link.state is State.UP, self.good.link.reason
        assert self.good.link.peer_session in hub._live
        assert "good@1" in self.membership.up()
        assert len(hub._live) <= LINKS_MAX and len(hub._leaving) <= FORMER_MAX
        assert len(hub._by_session) <= LINKS_MAX + FORMER_MAX

    # What the bad one does.

    def again(self):
        self.bad.node = self.script.pick(self._nodes())
        self.bad.begin()

    def wait(self):
        for _ in range(self.script.pick(WAITS)):
            self.clock.now += STEP_S
            self.turn()

    def cut(self):
        self.wires.cut(BAD)
        self.hub._turn()
        self.wires.heal(BAD)

    def members(self):
        nodes = [(self.script.pick(self._nodes()), self._address()) for _ in range(self.script.below(12))]
        self._send(Kind.MEMBERS, b"".join(Members(nodes).pack()))

    def frame(self):
        self._send(self.script.pick((*Kind, 99)), self.script.take(self.script.below(40)))

    def _send(self, kind, body):
        try:
            self.bad.link.send(kind, [body])
        except (LinkDown, LinkFull):
            pass
        self.bad.turn()

    def noise(self):
        self._post(self.script.take(self.script.below(80)))

    def damage(self):
        if self.bad.packets:
            self._post(self.script.edit(self.script.pick(self.bad.packets)))

    def forge(self):
        script, link = self.script, self.bad.link
        sender = script.pick((link.session, link.session, link.session + 1, script.number())) or 1
        receiver = script.pick((0, link.peer_session, script.number()))
        chunks = [self._forged_frame() for _ in range(script.below(4))]
        self._post(encode_packet(sender, receiver, int(any(chunk[0] >= 16 for chunk in chunks)), chunks))

    def _forged_frame(self):
        script = self.script
        what = script.below(7)
        if what < 3:
            members = tuple((script.pick(self._nodes()), self._address()) for _ in range(script.below(4)))
            limits = {"frame_max_bytes": script.number() + 6, "window_bytes": script.number() + 358}
            return encode_hello(_within_64_bits(Hello(script.pick(self._nodes()), self._address(), limits, members)))
        if what == 3:
            return encode_ack(Ack(*(script.number() for _ in range(5)), bool(script.below(2))))
        if what == 4:
            return encode_ping(script.number())
        if what == 5:
            return encode_goodbye("why")
        kind = script.pick((RESET, *Kind))
        body = b"" if kind == RESET else script.take(script.below(30))
        return encode_frame_header(kind, len(body)) + body

    def _nodes(self):
        return "bad@1", "bad@2", "good@2", "home@1", self.home.node.id, "", "x", "\n@"

    def _address(self):
        number = self.script.below(40)
        return (BAD, GOOD, HOME, "", "nonsense", "tcp://127.0.0.1:1")[number] if number < 6 else f"memory://n{number}"

    def _post(self, packet):
        """Send it, unless it happens to hold a session that its sender does not know."""
        if len(packet) >= PACKET_HEADER_BYTES:
            sessions = {int.from_bytes(packet[at : at + 8], "little") for at in (4, 12)}
            if sessions & self.secret:
                return
        self.bad.wires.send(HOME, packet)

    # The end.

    def end(self):
        """The two serve each other as ever; what the bad one left is gone in time."""
        self.check_service()
        until = self.clock.now + 3 * self.hub._patience_s
        while self.clock.now < until:
            self.clock.now += LONG_STEP_S
            self.hub._turn()
            self.good.turn()
        self.check()
        assert list(self.hub._live) == [self.good.link.peer_session]
        assert not self.hub._leaving
        assert list(self.membership.up()) == ["good@1"]
        self.check_service()
        self.hub._say_goodbye()
        assert not self.membership.up() and not self.home.node.cluster.peers
        self.home.rest()
        self.home.check(lines_max=LINES_MAX)

    def check_service(self):
        actor, node = self.home.steady, self.home.node
        self.good.frames.clear()
        self.good.link.send(Kind.SEND, Send(0, [actor.pid.id], encode("served")).pack())
        node.send([PID("good@1", 5)], "serves")
        for _ in range(4):
            self.clock.now += 0.01
            self.hub._turn()
            self.home.rest()
            self.good.turn()
        assert actor.got[-1:] == ["served"]
        assert any(frame.kind == Kind.SEND for frame in self.good.frames)
        actor.got.clear()


def _within_64_bits(hello):
    return hello._replace(limits={name: min(value, 2**64 - 1) for name, value in hello.limits.items()})
