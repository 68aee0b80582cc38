"""The campaign over the simulation: one schedule a seed, thousands an hour."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from manifold.testing import Simulation
from tests.campaign import leftovers
from tests.campaign.judge import Case, audience, judge
from tests.campaign.plan import plan
from tests.campaign.state import Result
from tests.campaign.world import World

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["run"]


class Criticals(logging.Handler):
    """Keeps what says that something went wrong inside of manifold."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "an event loop went on" in record.msg:  # a task of the user's raised what ends loops; no fault of ours
            return
        self.lines.append(self.format(record))


def run(seed: int) -> Result:
    """Play the schedule of a seed, and judge it."""
    what = plan(seed)
    criticals = Criticals()
    logger = logging.getLogger("manifold")
    logger.addHandler(criticals)
    result = Result(seed)
    try:
        with Simulation(
            seed, faults=what.faults, lag_s=what.lag_s, queue_max_packets=what.queue_max_packets
        ) as simulation:
            world = World(what, simulation)
            _play(world, result)
            result.digest = simulation.digest()
    finally:
        logger.removeHandler(criticals)
    result.wrong += criticals.lines
    return result


def _judged(world: World) -> Counter[str]:
    """Hold all against what was promised."""
    book = world.book
    world.reconcile()
    found = judge(Case(book, {node.id: node.stats() for node in world.nodes}, world.plan.is_tight))
    for node in world.nodes:
        leftovers.check(world, node)
    for source in (*world.sources, *(member.source for member in world.members if member.name not in book.ended)):
        for listed in source.lists:
            audience(book, source.name, listed.now(), listed.members)
    for member in world.members:
        if member.is_busy and member.name not in book.ended:
            book.fail(f"{member.name} is still busy")
    return found


def _play(world: World, result: Result) -> None:
    try:
        world.play()
        found = _judged(world)
    except Exception:
        result.wrong.append(traceback.format_exc())
        found = {}
    result.wrong += world.book.wrong
    result.faults = dict(world.book.faults)
    result.counts = {name: found.get(name, 0) for name in ("lost", "doubled", "reordered")}
    result.counts |= world.book.incidents()
    result.count(node.stats() for node in world.nodes)
