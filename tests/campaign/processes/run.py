"""The campaign over real processes: one schedule a seed, over ZeroMQ or a server of NATS."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import manifold
from tests.campaign.judge import Case, judge
from tests.campaign.processes.plan import Plan, plan
from tests.campaign.processes.theatre import FAULTS, Theatre
from tests.campaign.scribe import read
from tests.campaign.state import Result

if TYPE_CHECKING:
    from tests.campaign.book import Book

__all__ = ["TRANSPORTS", "play", "run"]

TRANSPORTS = ("zeromq", "nats")


def run(transport: str, seed: int) -> Result:
    """Play the schedule of a seed, and judge it. With both transports they take turns."""
    return play(plan(seed, TRANSPORTS[seed % 2] if transport == "both" else transport))


def play(what: Plan) -> Result:
    """Play a schedule, and judge it."""
    result = Result(what.seed)
    try:
        with tempfile.TemporaryDirectory(prefix="campaign-") as place:
            _play(what, Path(place), result)
    except Exception:
        result.wrong.append(traceback.format_exc())
    return result


def _play(what: Plan, place: Path, result: Result) -> None:
    with Theatre(what, place) as theatre:
        theatre.play()
        stats = {node: manifold.Stats(**counts) for node, counts in theatre.end().items()}
    book = read(path for path in theatre.files if path.exists())
    found = judge(Case(book, stats, what.is_tight))
    _stay_together(book, what)
    result.wrong += book.wrong
    result.faults = dict(book.faults)
    result.counts = {name: found.get(name, 0) for name in ("lost", "doubled", "reordered")}
    result.counts |= {"connections cut": theatre.broken, **book.incidents()}
    result.count(stats.values())


def _stay_together(book: Book, what: Plan) -> None:
    """Where nothing lasted, no node has lost another."""
    downs = [change for change in book.history if change.reason]
    if downs and not what.is_grave:
        before = [f"{kind} at {at:.2f}" for at, kind in book.happened if at < downs[0].at and kind in FAULTS]
        book.fail(f"nodes lost each other for nothing: {downs[:3]} after {', '.join(before[-8:])}")
