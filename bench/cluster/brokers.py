"""Over a server in between: the library over NATS beside itself over ZeroMQ, and beside what one writes without it.

That is: a publish to each recipient's own subject of NATS; groups and channels of Django Channels over Redis.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

import manifold
from bench.cluster.child import Child
from bench.cluster.fanout import FarAudiences, FarFloor, FarLists
from bench.cluster.far import Crew, FarNode, far_nodes
from bench.cluster.redis_server import redis_server, why_no_redis
from bench.cluster.singles import FarSingles
from bench.cluster.subscribers import ECHO, GROUP, make_layer
from bench.contenders import MESSAGE, WAIT_S, Miscounted
from bench.stats import percentile, quantiles
from bench.turns import Burst, take_turns, warmed
from manifold import ports
from manifold.testing.nats_server import NatsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Context

    from bench.plan import ClusterPlan
    from bench.turns import Bursts, Lane

__all__ = ["measure"]

ASK = "ask and get"


class Within:
    """A contender whose node is not the default one but that of a context."""

    def __init__(self, context: Context, make: Callable[[], Bursts]) -> None:
        self._context = context
        self._contender = context.run(make)
        self.name = self._contender.name.replace("manifold", "manifold over NATS")
        self.recipients = self._contender.recipients

    def burst(self, sends: int) -> Burst:
        """Measure there."""
        return self._context.run(self._contender.burst, sends)

    def close(self) -> None:
        """Let go there."""
        self._context.run(self._contender.close)


class Subscribers:
    """What the ways without the library share: recipients in a process of their own, and a loop that sends to them."""

    name: str
    kind: str

    def __init__(self, url: str, recipients: int) -> None:
        self.recipients = recipients
        self.sent = 0
        self.url = url
        self.child = Child("bench.cluster.subscribers", self.kind, url, str(recipients))
        self.where: list[str] = json.loads(self.child.line)
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.open())

    async def open(self) -> None:
        """Connect to the server."""

    async def send(self) -> None:
        """Send the message to all."""

    async def flush(self) -> None:
        """See to it that all has gone out."""

    def burst(self, sends: int) -> Burst:
        """Measure until each of them has handled all, and the other process has said so."""
        gc.collect()
        began = time.perf_counter()
        calls = self.loop.run_until_complete(self._run(sends))
        self.sent += sends
        found = json.loads(self.child.ask(str(self.sent)))
        seconds = time.perf_counter() - began
        if found != [self.recipients, self.sent, self.sent]:
            msg = f"{self.name}: {self.recipients} recipients should have received {self.sent} messages each: {found}"
            raise Miscounted(msg)
        return Burst(sends * self.recipients / seconds, calls)

    async def _run(self, sends: int) -> list[float]:
        calls = []
        for _ in range(sends):
            began = time.perf_counter()
            await self.send()
            calls.append(time.perf_counter() - began)
        await self.flush()
        return calls

    def close(self) -> None:
        """End the other process, and the connection."""
        self.child.close()
        self.loop.run_until_complete(self.leave())
        self.loop.close()

    async def leave(self) -> None:
        """Close the connection."""


class NatsSubjects(Subscribers):
    """A subject for each recipient; the message is encoded once, and published to each."""

    name = "nats-py, a publish each"
    kind = "nats"

    async def open(self) -> None:
        import nats

        self.client = await nats.connect(self.url)

    async def send(self) -> None:
        data = msgpack.packb(MESSAGE)
        for subject in self.where:
            await self.client.publish(subject, data)

    async def flush(self) -> None:
        await self.client.flush()

    def ask(self) -> float:
        """Ask for the message back; the seconds it took."""
        return self.loop.run_until_complete(self._ask())

    async def _ask(self) -> float:
        began = time.perf_counter()
        answer = await self.client.request(ECHO, msgpack.packb(MESSAGE), timeout=WAIT_S)
        if msgpack.unpackb(answer.data) != MESSAGE:
            msg = f"nats-py: the answer is {answer.data!r}"
            raise Miscounted(msg)
        return time.perf_counter() - began

    async def leave(self) -> None:
        await self.client.close()


class RedisGroup(Subscribers):
    """`group_send` over Redis's publish and subscribe."""

    name = "Channels over Redis pub/sub, group_send"
    kind = "group"

    async def open(self) -> None:
        self.layer = make_layer(self.url)

    async def send(self) -> None:
        await self.layer.group_send(GROUP, MESSAGE)

    async def leave(self) -> None:
        await self.layer.flush()


class RedisChannels(RedisGroup):
    """A `send` to the channel of each."""

    name = "Channels over Redis pub/sub, a send each"
    kind = "channels"

    async def send(self) -> None:
        for channel in self.where:
            await self.layer.send(channel, MESSAGE)


@contextmanager
def _nats(url: str) -> Iterator[tuple[Context, FarNode]]:
    """Have a second node in this process, and one far away, that meet over NATS; it is current in the context."""
    context = copy_context()
    with ExitStack() as stack:
        node = manifold.Node("near-nats", transport=url)
        stack.callback(node.stop)
        context.run(ports.current.set, node)
        far = context.run(FarNode, "far-nats", {}, url)
        stack.callback(far.close)
        yield context, far


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure all that can be measured here, in turn; say of the rest why it cannot."""
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        (far,) = stack.enter_context(far_nodes())
        nats = redis = None
        try:
            nats = stack.enter_context(NatsServer()).url
            context, far_nats = stack.enter_context(_nats(nats))
        except (RuntimeError, ValueError) as error:
            skipped["NATS, and what would stand beside it"] = str(error)
            return {"rows": [], "ways": {}, "quiet": {}, "skipped": skipped}
        if reason := why_no_redis():
            skipped["Redis"] = reason
        else:
            redis = stack.enter_context(redis_server())
        rows = [row for size in plan.broker_recipients for row in _at(plan, size, far, context, far_nats, nats, redis)]
        return {"rows": rows, "skipped": skipped, **_asks(plan, far, context, far_nats, nats)}


def _at(
    plan: ClusterPlan, size: int, far: FarNode, context: Context, far_nats: FarNode, nats: str, redis: str | None
) -> list[dict[str, Any]]:
    crew, crew_nats = Crew(far, size), context.run(Crew, far_nats, size)
    kinds = (FarLists, FarAudiences, FarSingles)  # the last one dismisses the crew
    makers: list[Callable[[], Bursts]] = [partial(kind, crew) for kind in (FarFloor, *kinds)]
    makers += [partial(Within, context, partial(kind, crew_nats)) for kind in kinds]
    makers.append(partial(NatsSubjects, nats, size))
    makers += [partial(kind, redis, size) for kind in (RedisGroup, RedisChannels) if redis is not None]
    with ExitStack() as stack:
        contenders = []
        for make in makers:
            contenders.append(make())
            stack.callback(contenders[-1].close)
        floor, *lanes = [warmed(each, plan.broker_burst_s, plan.single_burst_max) for each in contenders]
        gc.freeze()
        stack.callback(gc.unfreeze)
        take_turns(floor, lanes, plan.rounds)
    return _rows(floor, lanes)


def _rows(floor: Lane, lanes: list[Lane]) -> list[dict[str, Any]]:
    rows = [lane.row() for lane in (floor, *lanes)]
    audience = next(row["ratio"] for row in rows if row["contender"] == FarAudiences.name)
    return [row | {"to_audience": row["ratio"] / audience} for row in rows]


def _asks(plan: ClusterPlan, far: FarNode, context: Context, far_nats: FarNode, nats: str) -> dict[str, Any]:
    """Ask one after the other: over ZeroMQ, over NATS, and with nats-py alone, in turn."""
    plain = NatsSubjects(nats, 1)
    near, there = far.order("spawn", "echo"), context.run(far_nats.order, "spawn", "echo")
    ways: dict[str, Callable[[], float]] = {
        f"manifold, {ASK}": lambda: _ask(near),
        f"manifold over NATS, {ASK}": lambda: context.run(_ask, there),
        "nats-py, request": plain.ask,
    }
    rounds: dict[str, list[list[float]]] = {way: [] for way in ways}
    for turn in range(plan.rounds + 1):
        for way, ask in ways.items():
            gc.collect()
            taken = [ask() * 1e6 for _ in range(plan.pings)]
            if turn:  # the first one warms up
                rounds[way].append(taken)
    plain.close()
    return {
        "pings": plan.pings,
        "ways": {way: quantiles([us for taken in found for us in taken]) for way, found in rounds.items()},
        "quiet": {
            way: {str(percent): min(percentile(taken, percent) for taken in found) for percent in (50, 99)}
            for way, found in rounds.items()
        },
    }


def _ask(echo: manifold.PID) -> float:
    began = time.perf_counter()
    if (answer := manifold.ask(echo, MESSAGE, timeout=WAIT_S).get()) != MESSAGE:
        msg = f"ask: the answer is {answer!r}"
        raise Miscounted(msg)
    return time.perf_counter() - began
