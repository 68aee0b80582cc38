"""Which node, then which worker: grouping recipients by node, and the table from hash slot to worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.core.hashing import SLOT_MASK, SLOT_ORDER, SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifold.core.pid import PID

__all__ = ["Places", "SlotPlaces", "SlotTable", "assign", "group", "node_of", "reassign"]

SlotTable = tuple[int, ...]
"""Slot -> worker. A value: it is replaced, never changed."""


def group(pids: Sequence[PID]) -> dict[str, list[PID]]:
    """Group recipients by node. Order within a node, and doubles, are kept."""
    if pids:
        # Most lists are for one node: seeing that is a third of the work of grouping.
        node = pids[0].node
        alike = [pid for pid in pids if pid.node == node]
        if len(alike) == len(pids):
            return {node: alike}
    groups: dict[str, list[PID]] = {}
    for pid in pids:
        try:
            groups[pid.node].append(pid)
        except KeyError:
            groups[pid.node] = [pid]
    return groups


def node_of(place: str) -> str:
    """Give the node of a place: its id, or its id, a slash and the part of it that is meant."""
    return place.partition("/")[0]


class Places:
    """Where recipients are reached, as one process sees it: `here`, or at another node, which is named by its id."""

    def __init__(self, here: str) -> None:
        self.here = here

    def of(self, pid: PID) -> str:
        """Give the place of one recipient."""
        return pid.node

    def group(self, pids: Sequence[PID]) -> dict[str, list[PID]]:
        """Group recipients by place. Order within a place, and doubles, are kept."""
        return group(pids)


class SlotPlaces(Places):
    """The same where the actors of this node are spread over several processes, by their hash slots."""

    def __init__(self, here: str, by_slot: Sequence[str]) -> None:
        super().__init__(here)
        self._by_slot = by_slot

    def of(self, pid: PID) -> str:
        return self._by_slot[pid.id & SLOT_MASK] if pid.node == self.here else pid.node

    def group(self, pids: Sequence[PID]) -> dict[str, list[PID]]:
        groups = group(pids)
        by_slot = self._by_slot
        for pid in groups.pop(self.here, ()):
            place = by_slot[pid.id & SLOT_MASK]
            try:
                groups[place].append(pid)
            except KeyError:
                groups[place] = [pid]
        return groups

    def group_ids(self, ids: Sequence[int]) -> dict[str, list[int]]:
        """Group the ids of recipients of this node in the same way."""
        by_slot = self._by_slot
        groups: dict[str, list[int]] = {}
        for number in ids:
            try:
                groups[by_slot[number & SLOT_MASK]].append(number)
            except KeyError:
                groups[by_slot[number & SLOT_MASK]] = [number]
        return groups


def assign(workers: int) -> SlotTable:
    """Deal the slots to `workers` workers, evenly: counts differ by one at most."""
    table = [0] * SLOTS
    for turn, slot in enumerate(SLOT_ORDER):
        table[slot] = turn % workers
    return tuple(table)


def reassign(table: SlotTable, workers: int) -> SlotTable:
    """Deal the slots to another number of workers, moving as few as an even deal allows.

    From n to n+1 workers 1/(n+1) of the slots move, all of them to the new worker; from n+1 to n those of the
    last worker move, to all the others. What moves is taken evenly spaced, so that actors started one after
    the other go on falling to different workers.
    """
    owned: list[list[int]] = [[] for _ in range(max(workers, max(table) + 1))]
    for slot in SLOT_ORDER:
        owned[table[slot]].append(slot)
    moving = _surplus(owned, workers)
    fresh = list(table)
    for worker in _needy(owned, workers):
        fresh[moving.pop()] = worker
    return tuple(fresh)


def _quota(worker: int, workers: int) -> int:
    return SLOTS // workers + (worker < SLOTS % workers) if worker < workers else 0


def _surplus(owned: list[list[int]], workers: int) -> list[int]:
    """Give what is to move: of each worker every so many slots, and of one a little later than of the one before."""
    moving: list[int] = []
    quotas = _quotas_by_size(owned, workers)
    for worker, (slots, quota) in enumerate(zip(owned, quotas, strict=True)):
        spare = max(0, len(slots) - quota)
        share = (2 * worker + 1) / (2 * len(owned))
        moving.extend(slots[int((turn + share) * len(slots) / spare)] for turn in range(spare))
    return moving


def _quotas_by_size(owned: list[list[int]], workers: int) -> list[int]:
    """Give the larger quotas to those who own more already, so that a remainder moves nothing."""
    quotas = [0] * len(owned)
    ranked = sorted(range(workers), key=lambda worker: (-len(owned[worker]), worker))
    for rank, worker in enumerate(ranked):
        quotas[worker] = _quota(rank, workers)
    return quotas


def _needy(owned: list[list[int]], workers: int) -> list[int]:
    """Give each worker as often as it lacks slots, in turn."""
    quotas = _quotas_by_size(owned, workers)
    lacking = {w: quota - len(owned[w]) for w, quota in enumerate(quotas) if quota > len(owned[w])}
    turns: list[int] = []
    while lacking:
        turns.extend(lacking)
        lacking = {worker: lacks - 1 for worker, lacks in lacking.items() if lacks > 1}
    return turns
