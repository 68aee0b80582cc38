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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["RUNS", "cleanly", "main", "prepared"]

RUNS: dict[str, Callable[[int], state.Result]] = {"sim": simulated.run}
"""How the schedule of a seed is played, by the kind of campaign."""

REPORT_S = 10.0
SERIAL_MAX = 100
"""Fewer schedules than this are not worth another process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a campaign from the command line."""
    args = _parser().parse_args(argv)
    sums = state.Sums()
    for result in state.load(args.resume) if args.resume else ():
        sums.add(result)
    seeds = [seed for seed in range(args.seed, args.seed + args.schedules) if seed not in sums.seeds]
    if sums.seeds:
        print(f"{len(sums.seeds):,} were played before; {len(seeds):,} are left")
    for result in _within(args.minutes, _results(RUNS[args.kind], seeds, args.jobs)):
        sums.add(result)
        if args.resume:
            state.append(args.resume, result)
        if result.wrong:
            print(_told(args.kind, result), flush=True)
    table.show(sums, f"campaign {args.kind}, from seed {args.seed}")
    return 1 if sums.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("kind", choices=RUNS)
    parser.add_argument("--schedules", type=int, default=20_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of the first one; the others follow")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep results there, and skip those it has")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long, to be resumed later")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many processes")
    return parser


def _told(kind: str, result: state.Result) -> str:
    again = f"python -m tests.campaign {kind} --seed {result.seed} --schedules 1"
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
