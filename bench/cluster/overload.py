"""A sender many times faster than the receiver: memory stays within the limits, Overloaded is raised, counts reconcile.

The sender sends at a steady rate, that many times what the receiver handles, and never waits: what is refused is
counted, and the next send comes at its time.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from array import array
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Self

import manifold
from bench.cluster.far import Crew, all_settled, far_nodes
from bench.contenders import MESSAGE, Miscounted
from bench.fresh import in_fresh
from bench.machine import rss_of
from bench.stats import quantiles

if TYPE_CHECKING:
    from bench.cluster.far import FarNode
    from bench.plan import ClusterPlan

__all__ = ["flood", "measure"]

_MIB = 1 << 20
_SAMPLE_S = 0.5
_COUNTS = ("sent", "delivered", "dead", "shed", "unreachable", "in_flight")


class Sampler:
    """Notes every half second what both processes hold in memory, and what became of the messages."""

    def __init__(self, far: FarNode) -> None:
        self.rows: list[dict[str, Any]] = []
        self._processes = {"sender_bytes": os.getpid(), "receiver_bytes": far.process}
        self._began = time.perf_counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def counts(self) -> dict[str, int]:
        """Give what became of the messages between the first sample and the last."""
        return {name: self.rows[-1][name] - self.rows[0][name] for name in _COUNTS}

    def row(self) -> dict[str, Any]:
        """Give the figures of both processes, and the samples."""
        return {
            "sender_growth_bytes": self._growth("sender_bytes"),
            "receiver_growth_bytes": self._growth("receiver_bytes"),
            "samples": self.rows,
        }

    def _growth(self, process: str) -> int | None:
        """Give how much more a process held at any time than at first."""
        held = [row[process] for row in self.rows]
        return None if None in held else max(held) - held[0]

    def _note(self) -> None:
        stats = manifold.current_node().stats()
        row: dict[str, Any] = {"at_s": time.perf_counter() - self._began}
        row |= {name: rss_of(process) for name, process in self._processes.items()}
        self.rows.append(row | {name: stats[name] for name in _COUNTS})

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self._note()

    def __enter__(self) -> Self:
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._note()


class Offer:
    """Sends to a crew, to all of it or to one after the other, and what each of its actors must have received."""

    def __init__(self, crew: Crew, *, to_all: bool) -> None:
        self.crew = crew
        self.targets: list[Any] = [crew.pids] if to_all else list(crew.pids)
        self.size = len(crew.pids) // len(self.targets)
        self.expected = [0] * len(self.targets)
        self.calls = array("d")  # small, as the memory of this process is measured
        self.overloaded = 0
        self.shed = 0
        self.handled = 0
        self.seconds = 0.0

    def service(self, seconds: float) -> float:
        """Give how many messages per second the crew handles, tried for so long."""
        self.calls = array("d")
        began = time.perf_counter()
        while time.perf_counter() < began + seconds:
            for _ in range(max(10, len(self.targets))):
                self._send()
            all_settled()
        return len(self.calls) * self.size / (time.perf_counter() - began)

    def run(self, times: int, handled_per_s: float, seconds: float) -> None:
        """Offer so many times what is handled, for so long; what is handled is looked at again and again."""
        self.calls = array("d")
        self.overloaded = self.shed = 0
        while self.seconds < seconds:
            before = manifold.current_node().stats().delivered
            took = self._stretch(times * handled_per_s / self.size, min(1.0, seconds / 4))
            self.seconds += took
            handled = manifold.current_node().stats().delivered - before
            self.handled += handled
            handled_per_s = max(handled_per_s, handled / took)

    def _stretch(self, sends_per_s: float, seconds: float) -> float:
        """Send at this rate. One that is late is not left out: those that follow come at once."""
        clock = time.perf_counter
        due = began = clock()
        while due < began + seconds:
            if (wait_s := due - clock()) > 0:
                time.sleep(wait_s)
            self._send()
            due += 1 / sends_per_s
        return clock() - began

    def row(self) -> dict[str, Any]:
        """Give the figures of the run."""
        return {
            "seconds": self.seconds,
            "handled_per_s": self.handled / self.seconds,
            "offered_per_s": len(self.calls) * self.size / self.seconds,
            "overloaded": self.overloaded,
            "call_us": quantiles([call * 1e6 for call in self.calls]),
        }

    def _send(self) -> None:
        at = len(self.calls) % len(self.targets)
        began = time.perf_counter()
        try:
            manifold.send(self.targets[at], MESSAGE)
            self.expected[at] += 1
        except manifold.Overloaded as error:
            self.overloaded += 1
            self.shed += error.shed
        self.calls.append(time.perf_counter() - began)


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure each flood, the sender in a fresh process: memory that others have left free would hide what it takes."""
    fresh = (in_fresh(flood, plan.overload_times, plan.overload_recipients, *astuple(each)) for each in plan.floods)
    return {"times": plan.overload_times, "recipients": plan.overload_recipients, "floods": list(fresh)}


def flood(times: int, recipients: int, kind: str, seconds: float, burn_s: float, limit_mib: int) -> dict[str, Any]:
    """Find out what the receiver handles, then offer so many times more, and see what becomes of it."""
    limit = limit_mib * _MIB
    with far_nodes(1, _limits(limit)) as (far,):
        far.order("burn", burn_s)
        offer = Offer(Crew(far, recipients, "slow"), to_all=kind == "list")
        handled_per_s = offer.service(min(1.0, seconds))
        gc.collect()
        far.order("collect")
        with Sampler(far) as sampler:
            offer.run(times, handled_per_s, seconds)
            all_settled()
        counts = sampler.counts()
        _check(offer, counts)
    return {"kind": kind, "limit_bytes": 2 * limit, "counts": counts, **offer.row(), **sampler.row()}


def _limits(limit: int) -> dict[str, int]:
    # An inbox holds at least one packet of the largest size, so that has to be smaller.
    return {
        "message_max_bytes": limit // 4,
        "packet_max_bytes": limit // 2,
        "outbox_max_bytes": limit,
        "inbox_max_bytes": limit,
    }


def _check(offer: Offer, counts: dict[str, int]) -> None:
    """Raise Miscounted unless every message is accounted for, once, on both sides."""
    expected = [number for number in offer.expected for _ in range(offer.size)]
    received = offer.crew.order("received")
    if received != expected:
        wrong = sum(has != should for has, should in zip(received, expected, strict=True))
        msg = f"overload: {wrong} of {len(received)} recipients did not receive just what was taken for them"
        raise Miscounted(msg)
    sent = len(offer.calls) * offer.size
    should = dict.fromkeys(_COUNTS, 0) | {"sent": sent, "delivered": sent - offer.shed, "shed": offer.shed}
    if counts != should:
        msg = f"overload: counted were {counts}, which should be {should}"
        raise Miscounted(msg)
