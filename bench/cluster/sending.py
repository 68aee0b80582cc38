"""What a call costs its sender: its time, the processor time of its thread, and that of its whole process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.contenders import settle, timed
from bench.stats import median, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Calls", "back_to_back", "call_row", "one_by_one"]


@dataclass(frozen=True)
class Calls:
    """The seconds of each call that was timed, and the processor's seconds of one, in the mean."""

    seconds: list[float]
    thread_s: float
    """Of the calling thread, in the call."""
    process_s: float
    """Of all threads of the process, until the recipients' node has said that all was handled."""
    sends: int
    """How often the recipients were sent to, those included that were not timed."""


def back_to_back(send: Callable[..., Any], calls: int) -> Calls:
    """Time sends without a receipt; one more with a receipt, behind them, tells when all is done."""
    process_s, thread_s = time.process_time(), time.thread_time()
    seconds = timed(calls, send)
    thread_s = time.thread_time() - thread_s
    settle(send(receipt=True))
    process_s = time.process_time() - process_s
    return Calls(seconds, thread_s / calls, process_s / (calls + 1), calls + 1)


def one_by_one(send: Callable[..., Any], calls: int) -> Calls:
    """Time each send alone, to nodes that have nothing else to do."""
    each = [back_to_back(send, 1) for _ in range(calls)]
    return Calls(
        [call.seconds[0] for call in each],
        sum(call.thread_s for call in each) / calls,
        sum(call.process_s for call in each) / calls,
        sum(call.sends for call in each),
    )


def call_row(rounds: Sequence[Calls]) -> dict[str, float]:
    """Give the figures of all rounds, in microseconds."""
    seconds = [second for calls in rounds for second in calls.seconds]
    return {
        "median_us": median(seconds) * 1e6,
        "p99_us": percentile(seconds, 99) * 1e6,
        "quiet_us": min(median(calls.seconds) for calls in rounds) * 1e6,
        "thread_us": median([calls.thread_s for calls in rounds]) * 1e6,
        "process_us": median([calls.process_s for calls in rounds]) * 1e6,
    }
