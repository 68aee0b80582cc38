"""The command line: `python -m bench local`. A subcommand is one function from options to an exit status."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench import report
from bench.figures import figures
from bench.machine import facts, load, versions
from bench.plan import SECTIONS, Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESULTS = Path(__file__).parent / "results"

# Where each section is measured; imported when it runs, so that a bad option is answered at once.
_MEASURES = {
    "throughput": ("bench.throughput", "measure"),
    "actors": ("bench.lifecycle", "measure_actors"),
    "memory": ("bench.lifecycle", "measure_memory"),
    "tasks": ("bench.tasks", "measure"),
    "latency": ("bench.latency", "measure"),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and give the exit status."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m bench", description="Benchmarks of manifold.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="one node on this machine, beside the other ways to do it")
    local.set_defaults(run=_local)
    size = local.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a smoke run in seconds; writes only with --out")
    size.add_argument("--large", action="store_true", help="go up to a million recipients, actors and tasks")
    local.add_argument("--only", type=_sections, default=SECTIONS, metavar="LIST", help=", ".join(SECTIONS))
    local.add_argument("--rounds", type=_positive, metavar="N", help="how often each contender has its turn")
    local.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: bench/results)")
    cores = commands.add_parser("cores", help="what worker processes add, and cost")
    cores.set_defaults(run=_cores)
    cores.add_argument("--quick", action="store_true", help="a smoke run in seconds; writes only with --out")
    cores.add_argument("--rounds", type=_positive, metavar="N", help="how often each kind of worker has its turn")
    cores.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: bench/results)")
    redraw = commands.add_parser("draw", help="draw the plots of a result again")
    redraw.set_defaults(run=_redraw)
    redraw.add_argument("result", type=Path, nargs="?", default=_RESULTS / "local.json")
    return parser


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    unknown = [name for name in names if name not in SECTIONS]
    if unknown or not names:
        msg = f"no section {', '.join(unknown) or 'named'}; there are {', '.join(SECTIONS)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"{text!r} is not a number of rounds, 1 or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _local(options: argparse.Namespace) -> int:
    plan = make_plan(quick=options.quick, large=options.large, rounds=options.rounds)
    record: dict[str, Any] = {"machine": facts(), "versions": versions()}
    for section in options.only:
        record[section] = _measure(section, plan)
    report.show(record, report.TABLES, figures(record))
    folder = options.out or (None if options.quick else _RESULTS)
    if folder is not None:
        path = folder / "local.json"
        _draw(report.write(record, path), path)
    return 0


def _cores(options: argparse.Namespace) -> int:
    from bench import cores

    plan = cores.make_cores_plan(quick=options.quick, rounds=options.rounds)
    record: dict[str, Any] = {"machine": facts(), "versions": versions()}
    for section, measure in (("handlers", cores.measure_handlers), ("costs", cores.measure_costs)):
        record[section] = {**measure(plan), "load": load()}
    report.show(record, cores.TABLES, cores.figures(record))
    folder = options.out or (None if options.quick else _RESULTS)
    if folder is not None:
        report.write(record, folder / "cores.json")
    return 0


def _measure(section: str, plan: Plan) -> Any:
    began, load_before = time.monotonic(), load()
    print(f"measuring {section} (load {load_before}) ...", end=" ", file=sys.stderr, flush=True)
    module, function = _MEASURES[section]
    result = getattr(importlib.import_module(module), function)(plan)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {**result, "load": load_before}


def _redraw(options: argparse.Namespace) -> int:
    try:
        record = report.read(options.result)
    except (OSError, ValueError) as error:
        print(f"python -m bench draw: no result in {options.result}: {error}", file=sys.stderr)
        return 2
    _draw(record, options.result)
    return 0


def _draw(record: dict[str, Any], path: Path) -> None:
    try:
        from bench.plots import draw
    except ImportError:
        print("no plots: matplotlib is not installed (pip install 'manifold-actors[bench]')", file=sys.stderr)
        return
    for plot in draw(record, path.parent, path.stem):
        print(plot, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
