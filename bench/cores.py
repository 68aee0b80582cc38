"""`python -m bench cores`: what worker processes add, and cost, on this machine.

Workers of both kinds are measured in turn, in rounds, each in a fresh main process: of the ratios of a round the median
is given, so that a machine whose speed drifts is the same for both sides of each. Where other programs use the cores
that a second process would take, time tells nothing of it: so the processor time of every process is taken too, and
what it would come to on two free cores is given beside.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import manifold
from bench.contenders import MESSAGE, WAIT_S, Miscounted, settle, timed
from bench.figures import Figure
from bench.fresh import in_fresh
from bench.machine import processor_s
from bench.stats import median

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.report import Record, Table

__all__ = ["CORES_SECTIONS", "TABLES", "CoresPlan", "figures", "make_cores_plan", "measure_costs", "measure_handlers"]

CORES_SECTIONS = ("handlers", "costs")

_WIDE = 16

Rates = dict[str, float]


@dataclass(frozen=True)
class CoresPlan:
    """The sizes of one run; the defaults take about three minutes on two cores."""

    rounds: int = 7
    recipients: int = 10_000
    burst_s: float = 2.0
    sends_min: int = 20
    calls: int = 300
    starts: int = 3


def make_cores_plan(*, quick: bool = False, rounds: int | None = None) -> CoresPlan:
    """Give the sizes for a smoke run, or a usual one."""
    plan = CoresPlan(rounds=1, recipients=500, burst_s=0.05, sends_min=2, calls=20, starts=1) if quick else CoresPlan()
    return plan if rounds is None else replace(plan, rounds=rounds)


class Counting(manifold.Actor):
    """Handles in no time; tells how many it got when it is asked."""

    def __init__(self) -> None:
        self.received = 0

    def on_receive(self, message: Any) -> Any:
        """Count."""
        if message == "count":
            return self.received
        self.received += 1
        return None


class Encoding(Counting):
    """Encodes each message as JSON: some 5 us."""

    def on_receive(self, message: Any) -> Any:
        """Count, and encode."""
        if message != "count":
            json.dumps(message)
        return super().on_receive(message)


_CLASSES = {"nothing": Counting, "json": Encoding}
_KINDS = (("thread", 1), ("process", 1), ("process", 2))


def measure_handlers(plan: CoresPlan) -> dict[str, Any]:
    """Measure audience sends to handlers that cost nothing, and some 5 us, with each kind of worker in turn."""
    rows: dict[str, dict[str, list[Rates]]] = {what: {_name(*kind): [] for kind in _KINDS} for what in _CLASSES}
    for _ in range(plan.rounds):
        for what, kinds in rows.items():
            for kind in _KINDS:
                kinds[_name(*kind)].append(in_fresh(rates, what, *kind, plan.recipients, plan.burst_s, plan.sends_min))
    return {
        "recipients": plan.recipients,
        "rates": rows,
        "nothing_ratio": _ratio(rows["nothing"], ("process", 2), ("thread", 1)),
        "json_ratio": _ratio(rows["json"], ("process", 2), ("process", 1)),
    }


def _name(kind: str, workers: int) -> str:
    return f"{workers} {kind}"


def _ratio(found: dict[str, list[Rates]], one: tuple[str, int], other: tuple[str, int]) -> dict[str, float]:
    pairs = list(zip(found[_name(*one)], found[_name(*other)], strict=True))
    by_time = [a["by_time"] / b["by_time"] for a, b in pairs]
    by_processor = [a["by_processor"] / b["by_processor"] for a, b in pairs]
    return {"median": median(by_time), "best": max(by_time), "by_processor": median(by_processor)}


def rates(what: str, kind: Any, workers: int, recipients: int, burst_s: float, sends_min: int) -> Rates:
    """Send to an audience for about so long, and wait until all was handled; each recipient must have got each.

    Gives deliveries per second: by the clock, and as they would be if two cores had nothing else to do.
    """
    with manifold.Node("cores", worker_kind=kind, workers=workers) as node:
        pids = [node.spawn(_CLASSES[what]) for _ in range(recipients)]
        audience = manifold.Audience(pids)
        send = partial(node.send, audience, MESSAGE)
        once = min(_timed(lambda: settle(send(receipt=True))) for _ in range(2))
        sends = max(sends_min, int(burst_s / once))
        used = _processor_s(node)
        seconds = _timed(lambda: _burst(send, sends))
        used = [after - before for before, after in zip(used, _processor_s(node), strict=True)]
        _check([node.ask(pid, "count", WAIT_S) for pid in pids], sends + 2)
        busiest = max(*used, sum(used) / 2, 1e-9)
        return {"by_time": sends * recipients / seconds, "by_processor": sends * recipients / busiest}


def _processor_s(node: manifold.Node) -> list[float]:
    """Give the processor time of the main process, and of each worker process, so far."""
    workers = [] if node._crew is None else node._crew.pids()
    return [time.process_time(), *map(processor_s, workers)]


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _burst(send: Callable[..., Any], sends: int) -> None:
    for _ in range(sends - 1):
        send()
    settle(send(receipt=True))


def _check(counts: list[Any], sent: int) -> None:
    wrong = [count.get() for count in counts if count.get() != sent]
    if wrong:
        msg = f"{len(wrong)} of {len(counts)} did not receive {sent} messages each, but {min(wrong)} to {max(wrong)}"
        raise Miscounted(msg)


def measure_costs(plan: CoresPlan) -> dict[str, Any]:
    """Measure a send's cost in the main process with many workers, starting and stopping, and memory."""
    sends = [in_fresh(cost_of_a_send, _WIDE, plan.recipients, plan.calls) for _ in range(plan.starts)]
    starts = [in_fresh(start_and_stop, 4) for _ in range(plan.starts)]
    return {
        "workers": _WIDE,
        "call_us": median([each["call_us"] for each in sends]),
        "quiet_call_us": min(each["call_us"] for each in sends),
        "cpu_us": median([each["cpu_us"] for each in sends]),
        "quiet_cpu_us": min(each["cpu_us"] for each in sends),
        "writes": max(each["writes"] for each in sends),
        "start_s": median([each["start_s"] for each in starts]),
        "quiet_start_s": min(each["start_s"] for each in starts),
        "stop_s": median([each["stop_s"] for each in starts]),
        "worker_mb": median([each["worker_mb"] for each in starts]),
    }


def cost_of_a_send(workers: int, recipients: int, calls: int) -> dict[str, float]:
    """Give what one audience send takes of the caller, and of the main process with all its threads."""
    with manifold.Node("cores", worker_kind="process", workers=workers) as node:
        audience = manifold.Audience([node.spawn(Counting) for _ in range(recipients)])
        settle(node.send(audience, MESSAGE, receipt=True))
        assert node._crew is not None
        before, cpu = node._crew.writes(), time.process_time()
        seconds = timed(calls, lambda: node.send(audience, MESSAGE))
        written = node._crew.writes() - before
        settle(node.send(audience, MESSAGE, receipt=True))
        cpu = time.process_time() - cpu
        return {
            "call_us": median(seconds) * 1e6,
            "cpu_us": cpu / (calls + 1) * 1e6,
            "writes": written / calls / workers,
        }


def start_and_stop(workers: int) -> dict[str, float]:
    """Give how long a node with so many workers takes to start and to stop, and what an idle worker holds."""
    began = time.perf_counter()
    node = manifold.Node("cores", worker_kind="process", workers=workers)
    started = time.perf_counter()
    assert node._crew is not None
    private = [_private_mb(process) for process in node._crew.pids()]
    stopping = time.perf_counter()
    node.stop()
    return {
        "start_s": started - began,
        "stop_s": time.perf_counter() - stopping,
        "worker_mb": sum(private) / len(private),
    }


def _private_mb(process: int) -> float:
    """Give what a process holds for itself alone."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def figures(record: Record) -> list[Figure]:
    """Give every figure to reach, with what `record` holds for it."""
    handlers, costs = record.get("handlers", {}), record.get("costs", {})
    is_full = handlers.get("recipients") == 10_000
    json_ratio, ratio = ((handlers.get(f"{what}_ratio") if is_full else None) or {} for what in ("json", "nothing"))
    call, cpu = ((costs.get(f"{what}_us"), costs.get(f"quiet_{what}_us")) for what in ("call", "cpu"))
    start = costs.get("start_s"), costs.get("quiet_start_s")
    return [
        Figure("5 us handlers, 2 processes to 1", ">=", 1.75, "x", json_ratio.get("median"), json_ratio.get("best")),
        Figure("the same, by processor time", ">=", 1.75, "x", json_ratio.get("by_processor")),
        Figure("free handlers, 2 processes to 1 thread", ">=", 1.4, "x", ratio.get("median"), ratio.get("best")),
        Figure("the same, by processor time", ">=", 1.4, "x", ratio.get("by_processor")),
        Figure("writes per worker and send", "<=", 1, "", costs.get("writes")),
        Figure("audience send, 16 workers: the call", "<=", 100, "us (median)", *call),
        Figure("the same, all of the main process", "<=", 100, "us (CPU)", *cpu),
        Figure("start of 4 workers", "<=", 1.5, "s", *start),
    ]


def _handlers(data: Record) -> list[Table]:
    rows = [
        (what, kind, *(f"{median([each[by] for each in found]):,.0f}" for by in ("by_time", "by_processor")))
        for what, kinds in data["rates"].items()
        for kind, found in kinds.items()
    ]
    title = f"Audience sends to {data['recipients']:,} recipients, deliveries/s"
    return [(title, ("handler", "workers", "by the clock", "by processor time, on 2 free cores"), rows)]


def _costs(data: Record) -> list[Table]:
    rows = [
        (f"audience send, {data['workers']} workers: the call", f"{data['call_us']:.0f} us"),
        ("the same, all of the main process", f"{data['cpu_us']:.0f} us of CPU"),
        ("start of 4 workers", f"{data['start_s']:.2f} s"),
        ("their stop", f"{data['stop_s']:.2f} s"),
        ("an idle worker, for itself alone", f"{data['worker_mb']:.0f} MB"),
    ]
    return [("What worker processes cost", ("what", "measured"), rows)]


TABLES: dict[str, Callable[[Record], list[Table]]] = {"handlers": _handlers, "costs": _costs}
