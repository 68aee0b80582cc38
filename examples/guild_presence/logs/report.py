"""What a replay came to, per guild and in all. Everything shown or printed is derived from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.guild_presence.logs.check import Tally

__all__ = ["FIGURES", "GuildReport", "Report", "as_text", "headline", "verdict"]

FAULTS = ("lost", "duplicated", "reordered")
FIGURES = ("lines", "events", "ignored", "deliveries_expected", "deliveries", *FAULTS)
"""The figures that a guild has, and that add up over guilds."""


@dataclass(slots=True)
class GuildReport:
    """One guild over all its replays. Expected is counted by the rules, all else was seen by the actors."""

    name: str
    lines: int = 0
    events: int = 0
    deliveries_expected: int = 0
    deliveries: int = 0
    lost: int = 0
    """What was sent counts as lost until a session accounts for it."""
    duplicated: int = 0
    reordered: int = 0

    def account(self, tally: Tally) -> None:
        """Take in how it went with what was due to some sessions."""
        due, received, lost, duplicated, reordered = tally
        self.deliveries += received
        self.lost += lost - due
        self.duplicated += duplicated
        self.reordered += reordered

    @property
    def ignored(self) -> int:
        """Lines that gave no event."""
        return self.lines - self.events

    @property
    def faults(self) -> int:
        """Events that did not reach a session as they should have."""
        return self.lost + self.duplicated + self.reordered


@dataclass(slots=True)
class Report:
    """The whole replay."""

    guilds: list[GuildReport] = field(default_factory=list)
    seconds: float = 0.0
    nodes: int | None = 1
    """None, as for `handoffs`: nobody can tell."""
    handoffs: int | None = 0
    troubles: list[str] = field(default_factory=list)
    """What went wrong with nodes."""

    def total(self, figure: str) -> int:
        """Add up a figure over the guilds."""
        return sum(getattr(guild, figure) for guild in self.guilds)

    @property
    def deliveries_per_s(self) -> float:
        """How many events reached a session in a second of the replay."""
        return self.total("deliveries") / self.seconds if self.seconds else 0.0

    @property
    def flawless(self) -> bool:
        """Whether everybody got everything that was theirs, once, in order, and no node had trouble."""
        well = all(not guild.faults and guild.deliveries == guild.deliveries_expected for guild in self.guilds)
        return well and not self.troubles

    def as_json(self) -> dict[str, int | float | None]:
        """Give the figures under their public names."""
        return {
            "guilds": len(self.guilds),
            **{figure: self.total(figure) for figure in FIGURES},
            "seconds": round(self.seconds, 6),
            "deliveries_per_s": round(self.deliveries_per_s, 1),
            "nodes": self.nodes,
            "handoffs": self.handoffs,
        }


def headline(report: Report) -> str:
    """Say in one line how much it was and how fast it went."""
    several = report.nodes is not None and report.nodes > 1
    where = f" on {report.nodes} nodes, with {report.handoffs:,} hand-offs between them" if several else ""
    return (
        f"{report.total('deliveries'):,} deliveries of {report.total('events'):,} events "
        f"in {report.seconds:,.3f} s: {report.deliveries_per_s:,.0f} a second{where}"
    )


def verdict(report: Report) -> str:
    """Say in one line whether it all arrived as it should."""
    if report.flawless:
        return "Nothing lost, duplicated or reordered: every session got exactly its events."
    off = report.total("deliveries") - report.total("deliveries_expected")
    faults = ", ".join(f"{report.total(figure):,} {figure}" for figure in FAULTS)
    return "; ".join([f"FAULTS: {faults}", f"{off:+,} deliveries against what the rules give", *report.troubles]) + "."


def as_text(report: Report) -> str:
    """Give the summary as plain text, a guild a line."""
    rows: list[tuple[str, ...]] = [("guild", *FIGURES)]
    rows += [(guild.name, *(f"{getattr(guild, figure):,}" for figure in FIGURES)) for guild in report.guilds]
    rows.append(("all", *(f"{report.total(figure):,}" for figure in FIGURES)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join([*(_row(row, widths) for row in rows), "", headline(report), verdict(report)])


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([cells[0].ljust(widths[0]), *numbers])
