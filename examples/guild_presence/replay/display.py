"""What a person sees: progress while it runs, then the summary as a table. Needs rich (the extra `demo`)."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from examples.guild_presence.logs.report import headline, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from rich.progress import TaskID

    from examples.guild_presence.logs.report import Report
    from examples.guild_presence.replay.driver import OnStep
    from examples.guild_presence.replay.messages import Step

__all__ = ["live", "print_summary"]

_ROWS_MAX = 16
"""More guilds than this are shown together only."""

_COLUMNS = {
    "lines": "lines",
    "events": "events",
    "ignored": "ignored",
    "expected": "deliveries_expected",
    "delivered": "deliveries",
    "faults": "faults",
}


@contextmanager
def live(guilds: Mapping[str, Sequence[str]], repeat: int, to: TextIO) -> Iterator[OnStep]:
    """Show progress on a terminal as long as the context lasts; it gives what to call for each piece done."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rates]}", justify="right", markup=False),
        console=Console(file=to),
    )
    with progress:
        yield _Bars(progress, guilds, repeat).on_step


class _Bars:
    """A bar for all lines and, where there are few, one for each guild."""

    def __init__(self, progress: Progress, guilds: Mapping[str, Sequence[str]], repeat: int) -> None:
        self._progress = progress
        self._began = time.monotonic()
        self._events = self._sent = 0
        lines = repeat * sum(map(len, guilds.values()))
        self._all = progress.add_task("all guilds", total=lines, rates="")
        self._bars: dict[str, TaskID] = {}
        if len(guilds) <= _ROWS_MAX:
            sizes = {name: repeat * len(lines) for name, lines in guilds.items()}
            self._bars = {name: progress.add_task(name, total=size, rates="") for name, size in sizes.items()}

    def on_step(self, name: str, lines: int, step: Step) -> None:
        self._events += step["events"]
        self._sent += step["sent"]
        passed = max(time.monotonic() - self._began, 1e-9)
        rates = f"{self._events / passed:,.0f} events/s  {self._sent / passed:,.0f} deliveries/s"
        self._progress.update(self._all, advance=lines, rates=rates)
        if name in self._bars:
            self._progress.update(self._bars[name], advance=lines)


def print_summary(report: Report, to: TextIO) -> None:
    """Print the report: a row for each guild (of many, the first), their sum, and whether all is well."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("guild", overflow="fold")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for guild in report.guilds[:_ROWS_MAX]:
        table.add_row(Text(guild.name), *(f"{getattr(guild, figure):,}" for figure in _COLUMNS.values()))
    hidden = len(report.guilds) - _ROWS_MAX
    if hidden > 0:
        table.add_row(Text(f"and {hidden:,} more", style="dim"))
    table.add_section()
    table.add_row("all", *(f"{report.total(figure):,}" for figure in _COLUMNS.values()), style="bold")
    console = Console(file=to)
    console.print(table)
    console.print(Text(headline(report)))
    console.print(Text(verdict(report), style="green" if report.flawless else "bold red"))
