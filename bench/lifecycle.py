"""What an actor costs before it handles anything: microseconds to start and to stop, bytes while it idles."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import manifold
from bench.contenders import (
    MESSAGE,
    WAIT_S,
    ManifoldSession,
    Miscounted,
    Session,
    ThreadSession,
    check,
    settle,
)
from bench.fresh import in_fresh
from bench.machine import rss_bytes
from bench.stats import beside, median

if TYPE_CHECKING:
    from pykka import ActorRef

    from bench.plan import Plan

__all__ = ["crowd", "manifold_bytes", "measure_actors", "measure_memory", "thread_bytes"]

_BATCH = 1_000
# Enough actors to stand on every worker of the node.
_SPREAD = 64


def measure_actors(plan: Plan) -> dict[str, Any]:
    """Measure starts and stops on a node with default workers, and ThreadingActor's starts beside them."""
    manifold.start()
    try:
        _start(_BATCH, [])
        return {"start": _starts(plan), "stop": _stops(plan)}
    finally:
        manifold.stop()


def _starts(plan: Plan) -> dict[str, float]:
    calls, ready, threads, objects = [], [], [], []
    for _ in range(plan.lives):
        call_s, ready_s = _time_starts(plan.starts)
        calls.append(call_s)
        ready.append(ready_s)
        threads.append(_time_thread_starts(plan.thread_starts))
        objects.append(_time_objects(plan.starts))
    return {
        "actors": plan.starts,
        "call_us": median(calls) * 1e6,
        "ready_us": median(ready) * 1e6,
        "quiet_ready_us": min(ready) * 1e6,
        "threads": plan.thread_starts,
        "thread_us": median(threads) * 1e6,
        "object_us": median(objects) * 1e6,
    }


def _time_starts(number: int) -> tuple[float, float]:
    """Give the seconds per actor of the calls alone, and until the node answers for the last of them."""
    began = time.perf_counter()
    refs = _start(number, [])
    called = time.perf_counter()
    settle(manifold.send(refs[-_SPREAD:], MESSAGE, receipt=True))
    ready = time.perf_counter()
    _stop_all(refs)
    return (called - began) / number, (ready - began) / number


def _time_thread_starts(number: int) -> float:
    began = time.perf_counter()
    refs = [ThreadSession.start([]) for _ in range(number)]
    seconds = time.perf_counter() - began
    _stop_all(refs)
    return seconds / number


def _time_objects(number: int) -> float:
    crew: list[Any] = []
    began = time.perf_counter()
    for _ in range(number):
        Session(crew)
    return (time.perf_counter() - began) / number


def _start(number: int, crew: list[Any]) -> list[ActorRef[ManifoldSession]]:
    return [ManifoldSession.start(crew) for _ in range(number)]


def _stop_all(refs: list[ActorRef[Any]]) -> float:
    """Stop all of them and give the seconds until the last had stopped."""
    began = time.perf_counter()
    last = deque((ref.stop(block=False) for ref in refs), maxlen=_SPREAD)
    for future in last:
        future.get(timeout=WAIT_S)
    _wait_for_the_dead(refs)
    return time.perf_counter() - began


def _wait_for_the_dead(refs: list[ActorRef[Any]]) -> None:
    deadline = time.monotonic() + WAIT_S
    for ref in refs:
        while ref.is_alive():
            if time.monotonic() > deadline:
                msg = f"{ref} did not stop within {WAIT_S:g} s"
                raise TimeoutError(msg)
            time.sleep(0.0001)


def _stops(plan: Plan) -> dict[str, Any]:
    """Measure a small population directly before and after each large one, as the machine's speed drifts."""
    small, large = plan.populations
    smalls, larges, ratios = [], [], []
    for _ in range(plan.lives):
        before, many, after = (_population(size, plan.single_stops) for size in (small, large, small))
        smalls += [before, after]
        larges.append(many)
        ratios.append({key: beside(before[key], many[key], after[key]) for key in many})
    return {
        "populations": [small, large],
        "one_us": [_median_of(smalls, "one") * 1e6, _median_of(larges, "one") * 1e6],
        "each_us": [_median_of(smalls, "each") * 1e6, _median_of(larges, "each") * 1e6],
        "one_ratio": _median_of(ratios, "one"),
        "each_ratio": _median_of(ratios, "each"),
    }


def _population(size: int, singles: int) -> dict[str, float]:
    """Give the seconds of stopping one of `size` actors (blocking), and per actor of stopping the others."""
    refs = _start(size, [])
    step = max(size // singles, 1)
    chosen = refs[::step][:singles]
    ones = [_time_stop(ref) for ref in chosen]
    each = _stop_all(refs) / (size - len(chosen))
    return {"one": median(ones), "each": each}


def _time_stop(ref: ActorRef[Any]) -> float:
    began = time.perf_counter()
    ref.stop()
    return time.perf_counter() - began


def _median_of(rows: list[dict[str, float]], key: str) -> float:
    return median([row[key] for row in rows])


def measure_memory(plan: Plan) -> dict[str, Any]:
    """Measure resident memory per idle actor, each kind in a fresh process, and (if planned) a crowd."""
    result = {
        "actors": plan.idle_actors,
        "bytes": in_fresh(manifold_bytes, plan.idle_actors),
        "threads": plan.idle_threads,
        "thread_bytes": in_fresh(thread_bytes, plan.idle_threads),
    }
    if plan.crowd:
        result["crowd"] = in_fresh(crowd, plan.crowd)
    return result


class Idle(manifold.Actor):
    """An actor without any state of its own."""

    def on_receive(self, message: Any) -> None:
        """Ignore it."""


def manifold_bytes(number: int) -> float:
    """Give the bytes per running actor, its PID in a list included, the node itself not."""
    manifold.start()
    warm = [Idle.start().pid for _ in range(100)]
    before = rss_bytes()
    pids = [Idle.start().pid for _ in range(number)]
    settle(manifold.send(pids[-_SPREAD:], None, receipt=True))
    grown = rss_bytes() - before
    outcomes = settle(manifold.send([*warm, *pids], None, receipt=True))
    if sum(outcome.delivered for outcome in outcomes.values()) != len(warm) + number:
        msg = "memory: some of the idle actors did not live"
        raise Miscounted(msg)
    manifold.stop()
    return grown / number


def thread_bytes(number: int) -> float:
    """Give the resident bytes per running ThreadingActor (its stack counts only as far as touched)."""
    refs = [ThreadSession.start([]) for _ in range(10)]
    before = rss_bytes()
    refs += [ThreadSession.start([]) for _ in range(number)]
    grown = rss_bytes() - before
    _stop_all(refs)
    return grown / number


def crowd(number: int) -> dict[str, float]:
    """Start so many actors on one node, and send to all of them at once, twice."""
    manifold.start()
    crew: list[Any] = []
    before = rss_bytes()
    began = time.perf_counter()
    pids = [ManifoldSession.start(crew).pid for _ in range(number)]
    started = time.perf_counter()
    grown = rss_bytes() - before
    audience = manifold.Audience(pids)
    first, second = (_time_send(audience) for _ in range(2))
    check("the crowd", crew, number, 2)
    return {
        "actors": number,
        "start_s": started - began,
        "rss_mb": grown / 1e6,
        "first_send_s": first,
        "second_send_s": second,
    }


def _time_send(audience: Any) -> float:
    began = time.perf_counter()
    settle(manifold.send(audience, MESSAGE, receipt=True))
    return time.perf_counter() - began
