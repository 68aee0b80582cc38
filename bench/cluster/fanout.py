"""Fan-outs to another node: lists and audiences in turn with the floor, which runs in the receiving process."""

from __future__ import annotations

import gc
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import manifold
from bench.cluster.far import Crew, FarNode, far_nodes
from bench.cluster.sending import back_to_back, call_row, one_by_one
from bench.contenders import MESSAGE, sends_to
from bench.turns import Burst, take_turns, warmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.cluster.sending import Calls
    from bench.plan import ClusterPlan

__all__ = ["measure"]


class _ToCrew:
    """What the contenders share: one crew. So the floor runs over the very objects that the others send to."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.recipients = crew.recipients
        self.to: Any = crew.pids

    def close(self) -> None:
        """Nothing: the crew is everybody's."""


class FarFloor(_ToCrew):
    """The bare loop, in the process where the actors are; its time is taken there."""

    name = "bare loop over there (floor)"

    def burst(self, sends: int) -> Burst:
        """Have it run."""
        self.crew.far.order("collect")
        calls = self.crew.order("floor", sends)
        self.crew.received(sends, self.name)
        return Burst(sends * self.recipients / sum(calls), calls)


class FarLists(_ToCrew):
    """`manifold.send(pids, message)`, with the PIDs that came from there."""

    name = "manifold, list"

    def burst(self, sends: int) -> Burst:
        """Measure until the last handler over there has returned, and this side has heard of it."""
        self.crew.far.order("collect")
        began = time.perf_counter()
        calls = sends_to(self.to, sends)
        seconds = time.perf_counter() - began
        self.crew.received(sends, self.name)
        return Burst(sends * self.recipients / seconds, calls)


class FarAudiences(FarLists):
    """`manifold.send(audience, message)`."""

    name = "manifold, audience"

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self.to = manifold.Audience(crew.pids)

    def close(self) -> None:
        """Have it forgotten over there."""
        self.to.close()


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure both at every size, and what a call costs the sender."""
    with far_nodes() as (far,):
        rows = [row for recipients in plan.recipients for row in _at(plan, far, recipients)]
        return {"rows": rows, "sender": _sender(plan, far)}


def _at(plan: ClusterPlan, far: FarNode, recipients: int) -> list[dict[str, Any]]:
    crew = Crew(far, recipients)
    kinds = (FarFloor, FarLists, FarAudiences)
    floor, *lanes = [warmed(kind(crew), plan.burst_s, plan.burst_max) for kind in kinds]
    gc.freeze()
    try:
        take_turns(floor, lanes, plan.rounds)
    finally:
        gc.unfreeze()
        for lane in lanes:
            lane.contender.close()
        crew.close()
    return [lane.row() for lane in (floor, *lanes)]


def _sender(plan: ClusterPlan, far: FarNode) -> dict[str, Any]:
    """Measure the sending call alone, both ways to make it, in turn."""
    crew = Crew(far, plan.sender_recipients)
    audience = manifold.Audience(crew.pids)
    ways: dict[str, Callable[..., Any]] = {
        "list": partial(manifold.send, crew.pids, MESSAGE),
        "list, offload": partial(manifold.send, crew.pids, MESSAGE, send_mode="offload"),
        "audience": partial(manifold.send, audience, MESSAGE),
    }
    hows = {"idle": one_by_one, "back to back": back_to_back}
    taken: dict[tuple[str, str], list[Calls]] = {(how, way): [] for how in hows for way in ways}
    for _ in range(plan.rounds):
        for (how, way), found in taken.items():
            gc.collect()
            found.append(hows[how](ways[way], plan.sender_calls))
            crew.received(found[-1].sends, f"the sender's time, {way}, {how}")
    audience.close()
    crew.close()
    rows = {how: {way: call_row(taken[how, way]) for way in ways} for how in hows}
    return {"recipients": plan.sender_recipients, **rows}
