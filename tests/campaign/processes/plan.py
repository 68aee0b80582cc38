"""What a seed stands for, played on real processes: how many, over what, and which faults may happen."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.campaign.plan import sizes

__all__ = ["ERRORS", "Plan", "plan"]

MILD = {
    "zeromq": ("cut", "cut", "cut", "cut again and again", "stall", "pause", "clock jump"),
    "nats": ("cut", "cut", "cut", "cut again and again", "stall", "pause", "clock jump", "server kill", "server kill"),
}
"""What no node may lose another by."""

GRAVE = {
    "zeromq": ("kill", "kill", "long pause", "long stall"),
    "nats": ("kill", "kill", "long pause", "long stall", "server outage"),
}
"""What may make nodes lose each other."""

TROUBLES = ("crash", "loop crash", "stop actor", "slow receiver", "resize", "monitor", "monitor")
RELIEF = ("spawn",) * 3
"""In the place of those who end."""

ERRORS = ("file", "file", "full disk", "broken pipe", "full pipe")
"""Where the log of the processes goes to."""

MILD_DOWN_S = 6.0
GRAVE_DOWN_S = 1.5


@dataclass(frozen=True)
class Plan:
    """What a seed stands for."""

    seed: int
    transport: str
    children: int
    """Processes beside the driver's own."""
    workers: int
    limits: dict[str, Any]
    is_tight: bool
    """Whether queues and mailboxes are so small that messages are shed."""
    is_grave: bool
    """Whether nodes may lose each other; if not, none may."""
    cookie: str | None
    steps: tuple[str, ...]
    """What happens, one after another."""
    troubles: tuple[str, ...]
    errors: str


def plan(seed: int, transport: str) -> Plan:
    """Give the plan of a seed."""
    random = Random(f"processes/{seed}")
    is_grave = random.random() < 0.6
    is_tight = random.random() < 0.25
    kinds = MILD[transport] + (GRAVE[transport] * 2 if is_grave else ())
    return Plan(
        seed=seed,
        transport=transport,
        children=random.choice((1, 2, 2)),
        workers=random.choice((1, 2)),
        limits=limits(random, is_grave=is_grave, is_tight=is_tight),
        is_tight=is_tight,
        is_grave=is_grave,
        cookie=random.choice((None, "a cookie that is long enough for anybody")),
        steps=tuple(random.choice(kinds) for _ in range(20)),
        troubles=(*random.sample(TROUBLES, random.randint(3, len(TROUBLES))), *RELIEF),
        errors=random.choice(ERRORS),
    )


def limits(random: Random, *, is_grave: bool, is_tight: bool) -> dict[str, Any]:
    """Give the bounds of all nodes."""
    down_s = GRAVE_DOWN_S if is_grave else MILD_DOWN_S
    return {"node_down_after_s": down_s, "stop_grace_s": 5.0, **(sizes(random) if is_tight else {})}
