"""python -m tests.campaign KIND: play many schedules, each from a seed of its own, and sum up. Exit 1 if any failed.

A seed that failed is played again, and told of in full, with `--seed SEED --schedules 1`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import signal
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaign import simulated, state, table
from tests.campaign.processes import run as processes
from tests.campaign.soak import command as soak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["RUNS", "cleanly", "main", "prepared"]

RUNS: dict[str, Callable[[str], Callable[[int], state.Result]]] = {
    "sim": lambda _: simulated.run,
    "processes": lambda transport: partial(processes.run, transport),
}
"""How the schedule of a seed is played, by the kind of campaign and the transport."""

SCHEDULES = {"sim": 20_000, "processes": 60}

REPORT_S = 10.0
SOAK_MIN = 30.0
SERIAL_MAX = 100
"""Fewer schedules than this are not worth another process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a campaign from the command line."""
    args = _parser().parse_args(argv)
    if args.kind == "soak":
        return soak.main(args.minutes or SOAK_MIN, args.seed)
    sums = state.Sums()
    for result in state.load(args.resume) if args.resume else ():
        sums.add(result)
    many = SCHEDULES[args.kind] if args.schedules is None else args.schedules
    jobs = args.jobs or (1 if args.kind == "processes" else os.cpu_count() or 1)
    seeds = [seed for seed in range(args.seed, args.seed + many) if seed not in sums.seeds]
    if sums.seeds:
        print(f"{len(sums.seeds):,} were played before; {len(seeds):,} are left")
    for result in _within(args.minutes, _results(RUNS[args.kind](args.transport), seeds, jobs)):
        sums.add(result)
        if args.resume:
            state.append(args.resume, result)
        if args.kind == "processes":
            print(table.line(result), flush=True)
        if result.wrong:
            print(_told(args, result), flush=True)
    table.show(sums, f"campaign {args.kind}, from seed {args.seed}")
    return 1 if sums.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    kinds = "sim: on simulated nodes; processes: on real ones; soak: half an hour on real ones, docs/soak.md"
    parser.add_argument("kind", choices=[*RUNS, "soak"], help=kinds)
    parser.add_argument(
        "--transport", choices=(*processes.TRANSPORTS, "both"), default="both", help="of processes; both take turns"
    )
    parser.add_argument("--schedules", type=int, metavar="N", help=f"by default {SCHEDULES}")
    parser.add_argument("--seed", type=int, default=0, help="of the first one; the others follow")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep results there, and skip those it has")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long; how long to soak")
    parser.add_argument("--jobs", type=int, metavar="N", help="how many at a time; by default one per core, or one")
    return parser


def _told(args: argparse.Namespace, result: state.Result) -> str:
    over = f" --transport {args.transport}" if args.kind == "processes" else ""
    again = f"python -m tests.campaign {args.kind}{over} --seed {result.seed} --schedules 1"
    return "\n  ".join([f"FAILED: {again}", *result.wrong])


def _results(run: Callable[[int], state.Result], seeds: Sequence[int], jobs: int) -> Iterator[state.Result]:
    """Play all, in as many processes; report how far it is now and then."""
    started = reported = time.monotonic()
    for number, result in enumerate(_played(run, seeds, jobs), 1):
        yield result
        if time.monotonic() > reported + REPORT_S:
            reported = time.monotonic()
            rate = number / (reported - started)
            print(f"{number:,} of {len(seeds):,}, {rate:.0f} a second", flush=True)


def _played(run: Callable[[int], state.Result], seeds: Sequence[int], jobs: int) -> Iterator[state.Result]:
    if jobs == 1 or len(seeds) < SERIAL_MAX:
        with prepared():
            yield from map(partial(cleanly, run), seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, initializer=_prepare_child) as pool:
        yield from pool.imap_unordered(partial(cleanly, run), seeds, chunksize=20)


def cleanly(run: Callable[[int], state.Result], seed: int) -> state.Result:
    """Play a schedule, and leave no garbage to the next one."""
    result = run(seed)
    gc.collect()
    return result


@contextmanager
def prepared() -> Iterator[None]:
    """What fails is told by the results, not by the log; and what is here before is no garbage."""
    loggers = [logging.getLogger(name) for name in ("manifold", "pykka", "asyncio")]
    silent = logging.NullHandler()
    for logger in loggers:
        logger.propagate = False
        logger.addHandler(silent)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        for logger in loggers:
            logger.propagate = True
            logger.removeHandler(silent)


_child = ExitStack()


def _prepare_child() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent
    _child.enter_context(prepared())


def _within(minutes: float | None, results: Iterable[state.Result]) -> Iterator[state.Result]:
    """Give results until the time is over, or somebody presses Ctrl-C: between two schedules, never in one."""
    interrupted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    end = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        for result in results:
            yield result
            if interrupted or (end is not None and time.monotonic() > end):
                return
    finally:
        signal.signal(signal.SIGINT, before)
