"""How much is measured: every size of a run stands here, none in the code that measures."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["SECTIONS", "Plan", "make_plan"]

SECTIONS = ("throughput", "actors", "memory", "tasks", "latency")


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
