"""One sender and several receiving nodes: how its time of a call grows with them, and with the recipients."""

from __future__ import annotations

import gc
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import manifold
from bench.cluster.far import Crew, far_nodes
from bench.cluster.sending import back_to_back, call_row, one_by_one
from bench.contenders import MESSAGE, Miscounted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cluster.far import FarNode
    from bench.cluster.sending import Calls
    from bench.plan import ClusterPlan

__all__ = ["measure"]

_HOWS = {"idle": one_by_one, "back to back": back_to_back}


class Split:
    """So many recipients in all, as many on each node, those of all nodes mixed in the list."""

    def __init__(self, fars: Sequence[FarNode], recipients: int) -> None:
        self.recipients = recipients
        self.crews = [Crew(far, recipients // len(fars)) for far in fars]
        pids = list(itertools.chain.from_iterable(zip(*(crew.pids for crew in self.crews), strict=True)))
        self.ways = {"list": pids, "audience": manifold.Audience(pids)}
        self.taken: dict[tuple[str, str], list[Calls]] = {(way, how): [] for way in self.ways for how in _HOWS}

    def measure(self, calls: int) -> None:
        """Measure every way once, and check what came of it."""
        for (way, how), found in self.taken.items():
            gc.collect()
            handoffs = _handoffs()
            found.append(_HOWS[how](partial(manifold.send, self.ways[way], MESSAGE), calls))
            sends = found[-1].sends
            name = f"{len(self.crews)} nodes, {way}, {how}"
            if (made := _handoffs() - handoffs) != sends * len(self.crews):
                msg = f"{name}: {sends} sends made {made} hand-offs"
                raise Miscounted(msg)
            for crew in self.crews:
                crew.received(sends, name)

    def rows(self) -> list[dict[str, Any]]:
        """Give a row for every way."""
        head = {"nodes": len(self.crews), "recipients": self.recipients}
        return [{**head, "to": way, "how": how, **call_row(found)} for (way, how), found in self.taken.items()]


def _handoffs() -> int:
    handoffs: int = manifold.current_node().stats().handoffs
    return handoffs


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure all numbers of nodes and of recipients in turn."""
    with far_nodes(max(plan.node_counts)) as fars:
        splits = [Split(fars[:nodes], size) for size in plan.node_recipients for nodes in plan.node_counts]
        for split in splits:
            split.measure(1)  # warms up
            split.taken = {key: [] for key in split.taken}
        for _ in range(plan.rounds):
            for split in splits:
                split.measure(plan.node_calls)
        return {"rows": [row for split in splits for row in split.rows()]}
