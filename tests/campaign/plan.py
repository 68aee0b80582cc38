"""What a seed stands for: how many nodes of what kind, which faults may happen, and how long it all goes on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from manifold import Limits
from manifold.testing import Faults

__all__ = ["GRAVE", "MILD", "Plan", "plan", "sizes"]

MILD = (
    "blink", "disconnect", "weather", "short pause", "worker pause", "resize", "crash", "loop crash", "stop actor",
    "spawn", "slow", "clock jump", "drift", "monitor",
)  # fmt: skip
"""What may happen without any node losing another."""

GRAVE = ("partition", "one-way partition", "long disconnect", "long pause", "kill", "stop node", "move", "impostor")
"""What may make nodes lose each other."""


@dataclass(frozen=True)
class Plan:
    """What a seed stands for."""

    seed: int
    nodes: int
    workers: int
    limits: Limits
    faults: Faults
    lag_s: tuple[float, float]
    queue_max_packets: int
    kinds: tuple[str, ...]
    """Which faults may happen."""
    steps: int
    is_tight: bool
    """Whether queues and mailboxes are so small that messages are shed."""
    loop_node: bool
    """Whether the last node lives on an application's event loop."""


def plan(seed: int) -> Plan:
    """Give the plan of a seed."""
    random = Random(f"plan/{seed}")
    is_tight = random.random() < 0.2
    mild = random.sample(MILD, random.randint(2, len(MILD)))
    grave = random.sample(GRAVE, random.randint(1, 4)) if random.random() < 0.6 else []
    return Plan(
        seed=seed,
        nodes=random.choice((2, 2, 3, 3, 3, 4)),
        workers=random.choice((1, 2, 2, 3)),
        limits=limits(random, is_tight=is_tight),
        faults=weather(random),
        lag_s=random.choice(((2e-6, 1e-3), (2e-6, 1e-4), (1e-5, 0.02))),
        queue_max_packets=random.choice((4, 50, 1000)),
        kinds=tuple(mild + grave),
        steps=random.choice((8, 16, 32)),
        is_tight=is_tight,
        loop_node=random.random() < 0.15,
    )


def limits(random: Random, *, is_tight: bool) -> Limits:
    """Give the bounds of all nodes: seconds are short, for time with nothing to do is no test."""
    small = sizes(random) if is_tight else {}
    return Limits(node_down_after_s=random.choice((1.0, 2.0)), stop_grace_s=random.choice((0.5, 2.0)), **small)


def sizes(random: Random) -> dict[str, int]:
    """Give bounds so small that messages are shed."""
    return {
        "message_max_bytes": 4096,
        "packet_max_bytes": 8192,
        "worker_queue_max_bytes": random.choice((1024, 4096)),
        "outbox_max_bytes": random.choice((2048, 8192)),
        "inbox_max_bytes": random.choice((9300, 20_000)),
        "offload_queue_max_bytes": random.choice((1024, 8192)),
    }


def weather(random: Random) -> Faults:
    """Give what happens to packets."""
    if random.random() < 0.3:
        return Faults()
    share = (0.0, 0.01, 0.05, 0.2)
    return Faults(
        loss=random.choice(share),
        duplicate=random.choice(share),
        reorder=random.choice(share),
        delay_s=(0.0005, random.choice((0.001, 0.005, 0.05))),
        late_s=random.choice((0.02, 0.2)),
    )
