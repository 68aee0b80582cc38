"""Results as tables on the terminal and as one JSON file; sections that were not run keep their last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.figures import Figure

__all__ = ["Record", "Table", "merged", "read", "show", "write"]

Record = dict[str, Any]
# A title, the head of each column, the rows.
Table = tuple[str, tuple[str, ...], "Sequence[tuple[str, ...]]"]


def merged(old: Record, new: Record) -> Record:
    """Give `new` with those sections of `old` that it lacks, if the same kind of machine measured both."""
    if _comparable(old) != _comparable(new):
        return new
    return {**old, **new}


def _comparable(record: Record) -> Record:
    return {key: value for key, value in record.get("machine", {}).items() if key != "date"}


def read(path: Path) -> Record:
    """Give the result in `path`; OSError or ValueError if there is none."""
    record = json.loads(path.read_text())
    if not isinstance(record, dict):
        msg = "not a result of this bench"
        raise ValueError(msg)  # noqa: TRY004 - the file is wrong, not the caller
    return record


def write(record: Record, path: Path) -> Record:
    """Write `record` to `path`, merged with what stands there, and give what was written."""
    old = read(path) if path.exists() else {}
    whole = merged(old, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return whole


def show(record: Record, tables: Mapping[str, Callable[[Record], list[Table]]], figures: Sequence[Figure]) -> None:
    """Print the tables of each section in `record`, and last the figures to reach."""
    for section, make in tables.items():
        if section in record:
            for title, head, rows in make(record[section]):
                _print_table(title, head, rows)
    _print_table("Figures to reach", ("figure", "to reach", "measured", "quietest round", ""), _figure_rows(figures))


def _figure_rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for figure in figures:
        to_reach = f"{figure.at} {figure.limit:,g} {figure.unit}"
        rows.append((figure.name, to_reach, _value(figure.measured), _value(figure.quiet), figure.verdict))
    return rows


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _print_table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table as RichTable
    except ImportError:
        print("\n".join(["", title, *("\t".join(row) for row in (head, *rows))]))
        return
    table = RichTable(*head, title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "left" if column.header == "contender" else "right"
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print()
    console.print(table)
