"""Latency: from a sender's thread to the handler of an idle actor, the node idle or busy with fan-outs.

Probes are paced and take turns, so that the ways compared share the machine's good and bad moments.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pykka

import manifold
from bench.contenders import MESSAGE, WAIT_S, ManifoldSession, Miscounted, check, settle
from bench.stats import quantiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan

__all__ = ["measure"]

# Enough actors to stand on every worker of the node.
_PROBED = 16


class _Note:
    """What every probed recipient does: note how long the message took."""

    delays: list[float]

    def note(self, message: Any) -> None:
        self.delays.append(time.perf_counter() - message["sent"])


class Probed(_Note, manifold.Actor):
    """An actor of this library."""

    def __init__(self, delays: list[float]) -> None:
        super().__init__()
        self.delays = delays

    def on_receive(self, message: Any) -> None:
        """Note it."""
        self.note(message)


class ProbedThread(_Note, pykka.ThreadingActor):
    """Pykka's thread actor."""

    def __init__(self, delays: list[float]) -> None:
        super().__init__()
        self.delays = delays

    def on_receive(self, message: Any) -> None:
        """Note it."""
        self.note(message)


class BareThread(_Note):
    """The floor: a thread that reads a queue."""

    def __init__(self) -> None:
        self.delays = []
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while (message := self.queue.get()) is not None:
            self.note(message)


def measure(plan: Plan) -> dict[str, Any]:
    """Measure an idle node, then one that is kept busy, default workers."""
    manifold.start()
    try:
        _probe(plan, 50)
        gc.collect()
        return {"idle": _probe(plan, plan.probes), "busy": _busy(plan)}
    finally:
        manifold.stop()


def _probe(plan: Plan, probes: int) -> dict[str, Any]:
    """Send `probes` paced messages each way, in turn, and give the distribution of the delays in µs."""
    actor_delays: list[float] = []
    thread_delays: list[float] = []
    pids = [Probed.start(actor_delays).pid for _ in range(_PROBED)]
    thread = ProbedThread.start(thread_delays)
    bare = BareThread()
    ways: dict[str, tuple[Callable[[int, Any], object], list[float]]] = {
        "bare thread (floor)": (lambda _, message: bare.queue.put(message), bare.delays),
        "manifold": (lambda turn, message: manifold.send(pids[turn % _PROBED], message), actor_delays),
        "Pykka thread": (lambda _, message: thread.tell(message), thread_delays),
    }
    for turn in range(probes):
        for send, _ in ways.values():
            time.sleep(plan.probe_gap_s)
            send(turn, {"sent": time.perf_counter()})
    result = {way: _distribution(way, delays, probes) for way, (_, delays) in ways.items()}
    bare.queue.put(None)
    thread.stop()
    return result


def _distribution(way: str, delays: list[float], probes: int) -> dict[str, float]:
    deadline = time.monotonic() + WAIT_S
    while len(delays) < probes and time.monotonic() < deadline:
        time.sleep(0.001)
    if len(delays) != probes:
        msg = f"latency, {way}: {len(delays)} of {probes} probes arrived"
        raise Miscounted(msg)
    return quantiles([delay * 1e6 for delay in delays])


def _busy(plan: Plan) -> dict[str, Any]:
    """Probe while another thread sends to an audience back to back, waiting for each send's receipt."""
    crew: list[Any] = []
    refs = [ManifoldSession.start(crew) for _ in range(plan.busy_recipients)]
    audience = manifold.Audience([ref.pid for ref in refs])
    over = threading.Event()
    sends = [0]
    storm = threading.Thread(target=_storm, args=(audience, over, sends), daemon=True)
    began = time.perf_counter()
    storm.start()
    try:
        result = _probe(plan, plan.probes)
    finally:
        over.set()
        storm.join(WAIT_S)
    rate = sends[0] / (time.perf_counter() - began)
    check("the busy node", crew, plan.busy_recipients, sends[0])
    audience.close()
    return {**result, "fanouts_per_s": rate, "recipients": plan.busy_recipients}


def _storm(audience: Any, over: threading.Event, sends: list[int]) -> None:
    while not over.is_set():
        settle(manifold.send(audience, MESSAGE, receipt=True))
        sends[0] += 1
