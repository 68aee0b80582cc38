"""Round trips between two nodes that have nothing else to do: one message there, one back, then the next."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import manifold
from bench.cluster.bare import BarePair
from bench.cluster.far import far_nodes
from bench.contenders import MESSAGE, WAIT_S, Miscounted, timed
from bench.stats import percentile, quantiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import ClusterPlan

__all__ = ["measure"]


class Ping(manifold.Actor):
    """Sends to an actor that sends back, and again when that has come, as often as it was told."""

    def __init__(self, to: manifold.PID) -> None:
        super().__init__()
        self.to = to
        self.began = 0.0

    def on_receive(self, message: Any) -> None:
        """Begin; or note how long it took, and go on."""
        if type(message) is not list:
            self.left, self.done = message
            self.delays: list[float] = []
        elif message != [self.pid, MESSAGE]:
            self.done.set_exception((Miscounted, Miscounted(f"ping-pong: {message!r} came back"), None))
            return
        else:
            self.delays.append(time.perf_counter() - self.began)
            self.left -= 1
        if self.left:
            self.began = time.perf_counter()
            manifold.send(self.to, [self.pid, MESSAGE])
        else:
            self.done.set(self.delays)


def measure(plan: ClusterPlan) -> dict[str, Any]:
    """Measure bare pyzmq, an ask of a thread, and two actors that send to each other, in turn."""
    with far_nodes() as (far,), BarePair() as bare:
        echo = far.order("spawn", "echo")
        ping = manifold.current_node().spawn(Ping, far.order("spawn", "pong"))
        ways: dict[str, Callable[[int], list[float]]] = {
            "bare pyzmq (floor)": lambda pings: timed(pings, lambda: bare.send(1)),
            "manifold, ask and get": lambda pings: timed(pings, lambda: _ask(echo)),
            "manifold, actor to actor": lambda pings: _ping(ping, pings),
        }
        rounds: dict[str, list[list[float]]] = {way: [] for way in ways}
        for run in ways.values():
            run(plan.pings)
        for _ in range(plan.rounds):
            for way, run in ways.items():
                gc.collect()
                rounds[way].append(run(plan.pings))
        return {
            "pings": plan.pings,
            "ways": {way: _distribution(found) for way, found in rounds.items()},
            "quiet": {way: _quiet(found) for way, found in rounds.items()},
        }


def _ask(echo: manifold.PID) -> None:
    answer = manifold.ask(echo, MESSAGE).get()
    if answer != MESSAGE:
        msg = f"ask: the answer is {answer!r}"
        raise Miscounted(msg)


def _ping(ping: manifold.PID, pings: int) -> list[float]:
    done: manifold.Future[list[float]] = manifold.Future()
    manifold.send(ping, (pings, done))
    delays: list[float] = done.get(timeout=WAIT_S)
    return delays


def _distribution(rounds: list[list[float]]) -> dict[str, float]:
    """Give the distribution over all rounds, in µs."""
    return quantiles([delay * 1e6 for delays in rounds for delay in delays])


def _quiet(rounds: list[list[float]]) -> dict[str, float]:
    """Give the median and the p99 of the round in which each was least, in µs."""
    return {str(percent): min(percentile(delays, percent) for delays in rounds) * 1e6 for percent in (50, 99)}
