"""The sums of a campaign as a table: with rich where it is installed, else plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    from rich.console import Console
    from rich.table import Table
except ImportError:
    Console = None  # type: ignore[assignment,misc]

from tests.campaign.state import CAUSES

if TYPE_CHECKING:
    from tests.campaign.state import Result, Sums

__all__ = ["line", "rows", "show"]

NEVER = ("lost", "doubled", "reordered")
INCIDENTS = ("overloads", "downs", "connections cut")


def rows(sums: Sums) -> list[tuple[str, str]]:
    """Give the lines of the table."""
    counts = sums.counts
    accounted = sum(counts[name] for name in CAUSES[1:])
    return [
        ("schedules", f"{len(sums.seeds):,}"),
        *((f"fault: {kind}", f"{number:,}") for kind, number in sorted(sums.faults.items())),
        *((name, f"{counts[name]:,}") for name in INCIDENTS if name in counts),
        *((name.replace("_", " "), f"{counts[name]:,}") for name in CAUSES),
        ("sent, and not accounted for", f"{counts['sent'] - accounted:,}"),
        *((name, f"{counts[name]:,}") for name in NEVER),
        ("failed schedules", f"{len(sums.failed):,}"),
    ]


def line(result: Result) -> str:
    """Give what came of one schedule in one line."""
    told = (f"{result.counts.get(name, 0):,} {name.replace('_', ' ')}" for name in (*INCIDENTS, *CAUSES, *NEVER))
    return f"seed {result.seed}: {', '.join(told)}{'; FAILED' if result.wrong else ''}"


def show(sums: Sums, title: str) -> None:
    """Print the table, and the seeds of what failed."""
    if Console is None:
        print(title, *(f"{name:30} {value:>14}" for name, value in rows(sums)), sep="\n")
    else:
        table = Table("", "", title=title, show_header=False)
        table.columns[1].justify = "right"
        for row in rows(sums):
            table.add_row(*row)
        Console().print(table)
    for seed, wrong in sums.failed.items():
        print(f"seed {seed}: {wrong[0].strip().splitlines()[-1]}")
