"""Concurrent tasks: an actor each that awaits a sleep; seconds from before the send to the last completion.

Beside it the same number of bare asyncio tasks on one loop. Every measurement has a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import manifold
from bench.fresh import in_fresh
from bench.stats import median

if TYPE_CHECKING:
    from bench.plan import Plan

__all__ = ["asyncio_tasks", "manifold_tasks", "measure"]

# From so many tasks on, most of the time is the collector's, which walks all of them again and again.
_COLLECTOR_MATTERS = 20_000


class Task(manifold.Actor):
    """Sleeps as long as the message says, and notes when it has done so."""

    def __init__(self, crew: list[Any]) -> None:
        super().__init__()
        self.finished = 0.0
        crew.append(self)

    async def on_receive(self, message: float) -> None:
        """Sleep."""
        await asyncio.sleep(message)
        self.finished = time.perf_counter()


def measure(plan: Plan) -> dict[str, Any]:
    """Measure each size, manifold and bare asyncio in turn; large ones also without the collector."""
    runs = [(number, _pair(number, plan.task_s, collect=True)) for number in plan.tasks]
    rows = [_row(number, [pair for size, pair in runs if size == number]) for number in sorted(set(plan.tasks))]
    for row in rows:
        if row["tasks"] >= _COLLECTOR_MATTERS:
            pair = _pair(row["tasks"], plan.task_s, collect=False)
            row["uncollected_manifold_s"], row["uncollected_asyncio_s"] = pair
    return {"task_s": plan.task_s, "rows": rows}


def _pair(number: int, task_s: float, *, collect: bool) -> tuple[float, float]:
    return in_fresh(manifold_tasks, number, task_s, collect), in_fresh(asyncio_tasks, number, task_s, collect)


def _row(number: int, pairs: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "tasks": number,
        "manifold_s": median([pair[0] for pair in pairs]),
        "asyncio_s": median([pair[1] for pair in pairs]),
        "quiet_manifold_s": min(pair[0] for pair in pairs),
        "uncollected_manifold_s": None,
        "uncollected_asyncio_s": None,
        "runs": len(pairs),
    }


def manifold_tasks(number: int, task_s: float, collect: bool) -> float:
    """Give the seconds from one send to `number` running actors until the last handler has ended."""
    _set_collector(collect)
    manifold.start()
    crew: list[Any] = []
    pids = [Task.start(crew).pid for _ in range(number)]
    began = time.perf_counter()
    manifold.send(pids, task_s)
    time.sleep(task_s)
    for task in crew:
        while not task.finished:
            time.sleep(0.01)
    last: float = max(task.finished for task in crew)
    return last - began


def asyncio_tasks(number: int, task_s: float, collect: bool) -> float:
    """Give the seconds that as many asyncio tasks take, from before the first one is made."""
    _set_collector(collect)
    seconds: float = asyncio.run(_asyncio_tasks(number, task_s))
    return seconds


def _set_collector(on: bool) -> None:
    if not on:
        gc.disable()


async def _asyncio_tasks(number: int, task_s: float) -> float:
    began = time.perf_counter()
    finished: list[float] = await asyncio.gather(*(_sleep(task_s) for _ in range(number)))
    return max(finished) - began


async def _sleep(task_s: float) -> float:
    await asyncio.sleep(task_s)
    return time.perf_counter()
