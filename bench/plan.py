"""How much is measured: every size of a run stands here, none in the code that measures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = [
    "CLUSTER_SECTIONS",
    "RING_SECTIONS",
    "SECTIONS",
    "SOCKETS_SECTIONS",
    "AnyPlan",
    "ClusterPlan",
    "Flood",
    "Plan",
    "RingPlan",
    "SocketsPlan",
    "Unmeasurable",
    "make_cluster_plan",
    "make_plan",
    "make_ring_plan",
    "make_sockets_plan",
]

SECTIONS = ("throughput", "actors", "memory", "tasks", "latency")
RING_SECTIONS = ("building", "lookups", "balance", "moved")
CLUSTER_SECTIONS = ("fanout", "wire", "singles", "roundtrip", "nodes", "brokers", "overload")
SOCKETS_SECTIONS = ("messages",)


@dataclass(frozen=True)
class Plan:
    """The sizes of one run; the defaults take about three minutes on two cores."""

    # throughput: how many turns each contender has, how long, how many deliveries may be queued at most
    rounds: int = 21
    recipients: tuple[int, ...] = (1_000, 10_000, 100_000)
    burst_s: float = 0.05
    burst_max: int = 1_000_000
    threads_max: int = 1_000
    # the sender's time of a single call: as many rounds of so many calls
    sender_recipients: int = 10_000
    sender_calls: int = 30
    # starting and stopping: so many lives of each population
    lives: int = 7
    starts: int = 10_000
    thread_starts: int = 300
    populations: tuple[int, int] = (1_000, 100_000)
    single_stops: int = 100
    # memory
    idle_actors: int = 100_000
    idle_threads: int = 500
    crowd: int = 0
    # concurrent tasks: a size that stands several times is measured as often
    tasks: tuple[int, ...] = (320, 1_280, 5_120, 20_480, 20_480, 20_480)
    task_s: float = 2.5
    # latency
    probes: int = 3_000
    probe_gap_s: float = 0.001
    busy_recipients: int = 10_000

    def rounds_at(self, recipients: int) -> int:
        """Give how many turns each contender has at that size: fewer where one turn takes seconds."""
        return self.rounds if recipients < 1_000_000 else max(self.rounds // 4, 1)


_QUICK = Plan(
    rounds=2,
    recipients=(100, 1_000),
    burst_s=0.005,
    threads_max=100,
    sender_recipients=1_000,
    sender_calls=10,
    lives=2,
    starts=500,
    thread_starts=20,
    populations=(100, 1_000),
    single_stops=20,
    idle_actors=2_000,
    idle_threads=50,
    tasks=(64, 256),
    task_s=0.2,
    probes=100,
    busy_recipients=1_000,
)


def make_plan(*, quick: bool = False, large: bool = False, rounds: int | None = None) -> Plan:
    """Give the sizes for a smoke run, a usual one, or (`large`) one that goes up to a million."""
    plan = _QUICK if quick else Plan()
    if large:
        plan = replace(
            plan,
            recipients=(*plan.recipients, 1_000_000),
            tasks=(*plan.tasks, 81_920, 327_680, 1_000_000),
            crowd=1_000_000,
        )
    return plan if rounds is None else replace(plan, rounds=rounds)


@dataclass(frozen=True)
class Flood:
    """One overload: sends to a "list" of all recipients or "single" ones, for how long; `limit_mib` bounds both queues.

    A handler that takes longer keeps the sender less busy; what is queued at the end then takes longer to work off.
    """

    kind: str
    seconds: float
    burn_s: float
    limit_mib: int


@dataclass(frozen=True)
class ClusterPlan:
    """The sizes of a run of `bench cluster`; the defaults take about four minutes on two cores."""

    # how many turns each contender has
    rounds: int = 9
    # fan-outs: how long a burst is, and how many deliveries may be queued at most
    recipients: tuple[int, ...] = (1_000, 10_000, 100_000)
    burst_s: float = 0.3
    burst_max: int = 4_000_000
    # the sender's time of a single call: as many rounds of so many calls
    sender_recipients: int = 10_000
    sender_calls: int = 30
    # bytes: so many sends of each kind
    wire_recipients: int = 10_000
    wire_sends: int = 200
    # single messages: so many in a burst at most, as an outbox holds them
    single_recipients: int = 1_000
    single_burst_s: float = 0.7
    single_burst_max: int = 80_000
    # round trips in each turn
    pings: int = 1_000
    # several receiving nodes
    node_counts: tuple[int, ...] = (1, 2, 4)
    node_recipients: tuple[int, ...] = (10_000, 40_000)
    node_calls: int = 8
    # over a server in between: fan-outs
    broker_recipients: tuple[int, ...] = (1_000, 10_000)
    broker_burst_s: float = 0.2
    # overload: the sender is so many times faster than the receiver
    overload_times: int = 10
    overload_recipients: int = 1_000
    floods: tuple[Flood, ...] = (Flood("list", 60.0, 3e-6, 16), Flood("single", 15.0, 300e-6, 8))


_QUICK_CLUSTER = ClusterPlan(
    rounds=2,
    recipients=(100, 1_000),
    burst_s=0.02,
    sender_recipients=1_000,
    sender_calls=5,
    wire_recipients=1_000,
    wire_sends=20,
    single_recipients=100,
    single_burst_s=0.05,
    pings=50,
    node_counts=(1, 2),
    node_recipients=(400,),
    node_calls=5,
    broker_recipients=(100,),
    broker_burst_s=0.02,
    overload_recipients=100,
    floods=(Flood("list", 1.0, 10e-6, 1), Flood("single", 0.5, 100e-6, 1)),
)


def make_cluster_plan(*, quick: bool = False, rounds: int | None = None) -> ClusterPlan:
    """Give the sizes for a smoke run, or a usual one."""
    plan = _QUICK_CLUSTER if quick else ClusterPlan()
    return plan if rounds is None else replace(plan, rounds=rounds)


@dataclass(frozen=True)
class RingPlan:
    """The sizes of a run of `bench ring`; the defaults take about three minutes."""

    # how many turns each contender has
    rounds: int = 15
    # look-ups and building: a ring of so many nodes, so many keys, and how long a burst is
    nodes: int = 100
    keys: int = 100_000
    burst_s: float = 0.1
    # so many keys in one call, so often
    bulk_keys: int = 5_000_000
    bulk_rounds: int = 7
    # loads: so many sets of names at each number of replicas, and so many keys to count
    replicas: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1_024)
    crowds: int = 11
    balance_keys: int = 500_000
    # keys that move when a node is added to 2, 3, ... nodes
    moved_keys: int = 20_000
    nodes_max: int = 64


_QUICK_RING = RingPlan(
    rounds=2,
    nodes=10,
    keys=1_000,
    burst_s=0.005,
    bulk_keys=20_000,
    bulk_rounds=2,
    replicas=(16, 512),
    crowds=2,
    balance_keys=2_000,
    moved_keys=500,
    nodes_max=8,
)


def make_ring_plan(*, quick: bool = False, rounds: int | None = None) -> RingPlan:
    """Give the sizes for a smoke run, or a usual one."""
    plan = _QUICK_RING if quick else RingPlan()
    return plan if rounds is None else replace(plan, rounds=rounds)


class Unmeasurable(Exception):
    """What was asked for cannot be measured, or not here; the message says why."""


@dataclass(frozen=True)
class SocketsPlan:
    """The sizes of a run of `bench websockets`; the defaults take about five minutes on two cores."""

    # how many turns each contender has
    rounds: int = 5
    # clients, in how many guilds, on how many servers; the application has nodes for its guilds besides
    sockets: int = 2_000
    guilds: int = 4
    gateways: int = 2
    guild_nodes: int = 1
    # as much as goes: so many messages outstanding in each guild, counted for so long after a while
    window: int = 16
    warm_s: float = 1.0
    seconds: float = 4.0
    # at a load that each can carry: this share of what the slowest can; the application also at so many times that
    share: float = 0.5
    times: int = 10


_QUICK_SOCKETS = SocketsPlan(rounds=1, sockets=40, guilds=2, window=4, warm_s=0.2, seconds=0.5)


def make_sockets_plan(*, quick: bool = False, **sizes: Any) -> SocketsPlan:
    """Give the sizes for a smoke run, or a usual one; `sizes` that are not None stand for the plan's own.

    Raises Unmeasurable.
    """
    plan = _QUICK_SOCKETS if quick else SocketsPlan()
    plan = replace(plan, **{name: size for name, size in sizes.items() if size is not None})
    if plan.sockets < plan.guilds:
        msg = f"{plan.sockets} sockets cannot be in {plan.guilds} guilds"
        raise Unmeasurable(msg)
    return plan


AnyPlan = Plan | ClusterPlan | RingPlan | SocketsPlan
