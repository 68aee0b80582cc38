"""Deliveries per second of each contender, in turn, each as a ratio to the floor measured around it."""

from __future__ import annotations

import gc
import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from pykka import ThreadingFuture

import manifold
from bench.contenders import (
    MESSAGE,
    Audiences,
    Contender,
    Floor,
    Lists,
    ManifoldSession,
    Queues,
    ReceivedLists,
    Threads,
    check,
    settle,
    timed,
)
from bench.stats import growth, median, percentile
from bench.turns import take_turns, warmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan

__all__ = ["measure"]


def measure(plan: Plan) -> dict[str, Any]:
    """Measure every contender at every size, and the sender's time, on a node with the default workers."""
    manifold.start()
    try:
        rows = [row for recipients in plan.recipients for row in _at(plan, recipients)]
        return {"rows": rows, "growth": _growths(rows), "sender": _sender(plan)}
    finally:
        manifold.stop()


def _at(plan: Plan, recipients: int) -> list[dict[str, Any]]:
    kinds: list[type[Contender]] = [Floor, Lists, ReceivedLists, Audiences, Queues]
    if recipients <= plan.threads_max:
        kinds.append(Threads)
    floor, *lanes = [warmed(kind(recipients), plan.burst_s, plan.burst_max) for kind in kinds]
    # Frozen: no contender pays for the collector walking the others' objects.
    gc.freeze()
    try:
        take_turns(floor, lanes, plan.rounds_at(recipients))
    finally:
        gc.unfreeze()
        for lane in (floor, *lanes):
            lane.contender.close()
    return [lane.row() for lane in (floor, *lanes)]


def _growths(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Give, per contender, how the cost per recipient grows from its smallest size to each of its others."""
    found: dict[str, dict[str, float]] = {}
    smallest: dict[str, float] = {}
    for row in rows:
        first = smallest.setdefault(row["contender"], row["ratio"])
        found.setdefault(row["contender"], {})[str(row["recipients"])] = growth(first, row["ratio"])
    return found


def _sender(plan: Plan) -> dict[str, Any]:
    """Measure the sending call alone: to an idle node, each settled before the next; and back to back."""
    crew: list[Any] = []
    refs = [ManifoldSession.start(crew) for _ in range(plan.sender_recipients)]
    pids = [ref.pid for ref in refs]
    audience = manifold.Audience(pids)
    ways: dict[str, Callable[..., Any]] = {
        "list": partial(manifold.send, pids, MESSAGE),
        "list, offload": partial(manifold.send, pids, MESSAGE, send_mode="offload"),
        "audience": partial(manifold.send, audience, MESSAGE),
    }
    every_way = {"one put to a bare thread (floor)": _BareThread().put, **ways}
    idle, busy = [], []
    for _ in range(plan.rounds):
        idle.append({way: _settled_calls(send, plan.sender_calls) for way, send in every_way.items()})
        busy.append({way: _back_to_back(send, plan.sender_calls) for way, send in every_way.items()})
    check("the sender's time", crew, plan.sender_recipients, _received(plan, len(ways)))
    audience.close()
    for ref in refs:
        ref.stop(block=False)
    return {
        "recipients": plan.sender_recipients,
        "idle": {way: _call_row([calls[way] for calls in idle]) for way in every_way},
        "back to back": {way: _call_row([calls[way] for calls in busy]) for way in every_way},
    }


def _received(plan: Plan, ways: int) -> int:
    """Give how many messages each recipient got; one more settles each idle call, and each row of calls."""
    return plan.rounds * ways * (2 * plan.sender_calls + plan.sender_calls + 1)


def _settled_calls(send: Callable[..., Any], calls: int) -> list[float]:
    return [_back_to_back(send, 1)[0] for _ in range(calls)]


def _back_to_back(send: Callable[..., Any], calls: int) -> list[float]:
    """Time sends without a receipt; one more with a receipt, behind them, tells when all is done."""
    seconds = timed(calls, send)
    settle(send(receipt=True))
    return seconds


def _call_row(rounds: list[list[float]]) -> dict[str, float]:
    seconds = [call for calls in rounds for call in calls]
    return {
        "median_us": median(seconds) * 1e6,
        "p99_us": percentile(seconds, 99) * 1e6,
        "quiet_us": min(median(calls) for calls in rounds) * 1e6,
    }


class _BareThread:
    """The least that waking another thread costs: one item into the queue that it waits for."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[ThreadingFuture[None]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def put(self, *, receipt: bool = False) -> ThreadingFuture[None] | None:
        handled: ThreadingFuture[None] = ThreadingFuture()
        self._queue.put(handled)
        return handled if receipt else None

    def _read(self) -> None:
        while True:
            self._queue.get().set(None)
