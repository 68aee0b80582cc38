"""The command line: `python -m bench local`, `cluster`, ... A subcommand is a function from options to a status."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench import cores, figures, report, ring, tables
from bench.cluster import figures as cluster_figures
from bench.cluster import tables as cluster_tables
from bench.cores import CORES_SECTIONS, CoresPlan, make_cores_plan
from bench.machine import facts, load, versions
from bench.plan import (
    CLUSTER_SECTIONS,
    RING_SECTIONS,
    SECTIONS,
    SOCKETS_SECTIONS,
    Unmeasurable,
    make_cluster_plan,
    make_plan,
    make_ring_plan,
    make_sockets_plan,
)
from bench.websockets import results as sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.figures import Figure
    from bench.plan import AnyPlan
    from bench.report import Record, Table

_RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class _Suite:
    """A subcommand that measures: its sections, with where each is measured, and what is said of the result."""

    # Imported when it runs, so that a bad option is answered at once.
    measures: Mapping[str, tuple[str, str]]
    tables: Mapping[str, Callable[[Record], list[Table]]]
    figures: Callable[[Record], list[Figure]]


_SUITES = {
    "local": _Suite(
        {
            "throughput": ("bench.throughput", "measure"),
            "actors": ("bench.lifecycle", "measure_actors"),
            "memory": ("bench.lifecycle", "measure_memory"),
            "tasks": ("bench.tasks", "measure"),
            "latency": ("bench.latency", "measure"),
        },
        tables.TABLES,
        figures.figures,
    ),
    "cluster": _Suite(
        {section: (f"bench.cluster.{section}", "measure") for section in CLUSTER_SECTIONS},
        cluster_tables.TABLES,
        cluster_figures.figures,
    ),
    "cores": _Suite(
        {section: ("bench.cores", f"measure_{section}") for section in CORES_SECTIONS},
        cores.TABLES,
        cores.figures,
    ),
    "ring": _Suite(
        {section: ("bench.ring", f"measure_{section}") for section in RING_SECTIONS}, ring.TABLES, ring.figures
    ),
    "websockets": _Suite(
        {section: (f"bench.websockets.{section}", "measure") for section in SOCKETS_SECTIONS},
        sockets.TABLES,
        sockets.figures,
    ),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and give the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except Unmeasurable as why:
        print(f"\npython -m bench {options.command}: {why}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bench", description="Benchmarks of manifold.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="one node on this machine, beside the other ways to do it")
    size = _add_options(local, SECTIONS)
    size.add_argument("--large", action="store_true", help="go up to a million recipients, actors and tasks")
    cluster = commands.add_parser("cluster", help="nodes in several processes on this machine")
    _add_options(cluster, CLUSTER_SECTIONS)
    _add_options(commands.add_parser("cores", help="what worker processes add, and cost"), CORES_SECTIONS)
    keys = commands.add_parser("ring", help="which node a key belongs to, beside the other ways to tell")
    _add_options(keys, RING_SECTIONS)
    clients = commands.add_parser("websockets", help="an application with real WebSockets, beside two written without")
    _add_options(clients, SOCKETS_SECTIONS)
    for size, what in (("sockets", "how many clients"), ("guilds", "how many guilds they are in")):
        clients.add_argument(f"--{size}", type=partial(_positive, what="a number, 1 or more"), metavar="N", help=what)
    clients.add_argument("--seconds", type=_seconds, metavar="S", help="how long each turn is measured")
    redraw = commands.add_parser("draw", help="draw the plots of results again")
    redraw.set_defaults(run=_redraw)
    every = sorted(_RESULTS.glob("*.json"))
    redraw.add_argument("results", type=Path, nargs="*", default=every, metavar="RESULT", help="(default: all)")
    return parser


def _add_options(parser: argparse.ArgumentParser, sections: tuple[str, ...]) -> Any:
    parser.set_defaults(run=_run)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a smoke run in seconds; writes only with --out")
    only = partial(_sections, sections)
    parser.add_argument("--only", type=only, default=sections, metavar="LIST", help=", ".join(sections))
    parser.add_argument("--rounds", type=_positive, metavar="N", help="how often each contender has its turn")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: bench/results)")
    return size


def _sections(known: tuple[str, ...], text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        msg = f"no section {', '.join(unknown) or 'named'}; there are {', '.join(known)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _positive(text: str, what: str = "a number of rounds, 1 or more") -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"{text!r} is not {what}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    msg = f"{text!r} is not a number of seconds above 0"
    raise argparse.ArgumentTypeError(msg)


def _run(options: argparse.Namespace) -> int:
    suite = _SUITES[options.command]
    record: Record = {"machine": facts(), "versions": versions()}
    for section in options.only:
        record[section] = _measure(section, suite, _plan(options))
    report.show(record, suite.tables, suite.figures(record))
    folder = options.out or (None if options.quick else _RESULTS)
    if folder is not None:
        path = folder / f"{options.command}.json"
        _draw(report.write(record, path), path)
    return 0


def _plan(options: argparse.Namespace) -> AnyPlan | CoresPlan:
    if options.command == "ring":
        return make_ring_plan(quick=options.quick, rounds=options.rounds)
    if options.command == "cluster":
        return make_cluster_plan(quick=options.quick, rounds=options.rounds)
    if options.command == "cores":
        return make_cores_plan(quick=options.quick, rounds=options.rounds)
    if options.command == "websockets":
        sizes = {"sockets": options.sockets, "guilds": options.guilds, "seconds": options.seconds}
        return make_sockets_plan(quick=options.quick, rounds=options.rounds, **sizes)
    return make_plan(quick=options.quick, large=options.large, rounds=options.rounds)


def _measure(section: str, suite: _Suite, plan: AnyPlan | CoresPlan) -> Any:
    began, load_before = time.monotonic(), load()
    print(f"measuring {section} (load {load_before}) ...", end=" ", file=sys.stderr, flush=True)
    module, function = suite.measures[section]
    result = getattr(importlib.import_module(module), function)(plan)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {**result, "load": load_before}


def _redraw(options: argparse.Namespace) -> int:
    for path in options.results:
        try:
            record = report.read(path)
        except (OSError, ValueError) as error:
            print(f"python -m bench draw: no result in {path}: {error}", file=sys.stderr)
            return 2
        _draw(record, path)
    return 0


def _draw(record: Record, path: Path) -> None:
    try:
        from bench.plots import draw
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'manifold-actors[bench]')", file=sys.stderr)
        return
    for plot in draw(record, path.parent, path.stem):
        print(plot, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
