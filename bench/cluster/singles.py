"""Single messages: one sender, another recipient each time, all on one node; bare pyzmq is the floor."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import manifold
from bench.cluster.bare import BarePair
from bench.cluster.far import Crew, far_nodes
from bench.contenders import MESSAGE, settle
from bench.stats import median
from bench.turns import Burst, take_turns, warmed

if TYPE_CHECKING:
    from bench.plan import ClusterPlan

__all__ = ["measure"]


class BareSingles:
    """One packet each, from process to process."""

    name = "bare pyzmq (floor)"

    def __init__(self, recipients: int) -> None:
        self.recipients = recipients
        self._pair = BarePair()

    def burst(self, sends: int) -> Burst:
        """Measure until the other side has taken the last one."""
        began = time.perf_counter()
        calls = self._pair.send(sends * self.recipients)
        return Burst(len(calls) / (time.perf_counter() - began), calls)

    def close(self) -> None:
        """End the other process."""
        self._pair.close()


class FarSingles:
    """`manifold.send(pid, message)`, to one after the other."""

    name = "manifold, a send each"

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.recipients = crew.recipients
        self.cpu_s: list[tuple[float, float]] = []

    def burst(self, sends: int) -> Burst:
        """Measure until the last one was handled: a list send to all with a receipt, behind them, tells."""
        far = self.crew.far
        far.order("collect")
        before = time.process_time(), far.order("cpu_s")
        began = time.perf_counter()
        calls = [second for _ in range(sends) for second in self._to_each()]
        settle(manifold.send(self.crew.pids, MESSAGE, receipt=True))
        seconds = time.perf_counter() - began
        after = time.process_time(), far.order("cpu_s")
        self.cpu_s.append(((after[0] - before[0]) / len(calls), (after[1] - before[1]) / len(calls)))
        self.crew.received(sends + 1, self.name)
        return Burst(len(calls) / seconds, calls)

    def _to_each(self) -> list[float]:
        clock, send = time.perf_counter, manifold.send
        calls = []
        for pid in self.crew.pids:
            began = clock()
            send(pid, MESSAGE)
            calls.append(clock() - began)
        return calls

    def close(self) -> None:
        """Stop the recipients."""
        self.crew.close()


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure both in turn; of the library also the processor's time, in both processes."""
    with far_nodes() as (far,):
        bare, singles = BareSingles(plan.single_recipients), FarSingles(Crew(far, plan.single_recipients))
        floor, lane = (warmed(one, plan.single_burst_s, plan.single_burst_max) for one in (bare, singles))
        singles.cpu_s.clear()
        gc.freeze()
        try:
            take_turns(floor, [lane], plan.rounds)
        finally:
            gc.unfreeze()
            bare.close()
            singles.close()
        near, there = (median(list(each)) * 1e6 for each in zip(*singles.cpu_s, strict=True))
        return {
            "rows": [floor.row(), lane.row()],
            "quiet_per_s": max(lane.rates),
            "sender_cpu_us": near,
            "receiver_cpu_us": there,
        }
