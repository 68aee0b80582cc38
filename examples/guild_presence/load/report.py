"""What the made-up users found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

_TROUBLES_SHOWN = 3

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CrowdReport", "as_text"]

_DECIMALS = {"connect_seconds": 3, "seconds": 3, "deliveries_per_s": 1, "latency_p50_ms": 3, "latency_p99_ms": 3}


@dataclass(slots=True)
class CrowdReport:
    """`seconds` and `deliveries_per_s` are of the time in which they act, all else counts from the beginning.

    `latency`: of messages, from the moment of sending to each client's getting it. `resumed`: how many of the
    `reconnects` went on where they were; the others got a SNAPSHOT.
    """

    users: int
    guilds: int
    connected: int = 0
    connect_seconds: float = 0.0
    seconds: float = 0.0
    events: int = 0
    deliveries: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    deliveries_per_s: float = 0.0
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    reconnects: int = 0
    resumed: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def flawless(self) -> bool:
        """Whether everybody was connected and got everything, once and in order."""
        faults = self.lost + self.duplicated + self.reordered
        return not faults and not self.troubles and self.connected == self.users

    def take_latencies(self, seconds: Iterable[float]) -> None:
        """Take the percentiles, if there are any."""
        ordered = sorted(seconds)
        if ordered:
            self.latency_p50_ms, self.latency_p99_ms = (
                1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99)
            )

    def as_json(self) -> dict[str, int | float | None]:
        """Give the figures under their public names."""
        figures = asdict(self)
        del figures["troubles"]
        return figures | {name: round(figures[name], digits) for name, digits in _DECIMALS.items() if figures[name]}

    @property
    def verdict(self) -> str:
        """Say in one line whether it all arrived as it should."""
        if self.flawless:
            return "Nothing lost, duplicated or reordered: everybody got exactly the events of their guild."
        faults = f"FAULTS: {self.lost:,} lost, {self.duplicated:,} duplicated, {self.reordered:,} reordered"
        missing = [f"{self.users - self.connected:,} not connected"] if self.connected < self.users else []
        more = len(self.troubles) - _TROUBLES_SHOWN
        hidden = [f"and {more:,} more"] if more > 0 else []
        return "; ".join([faults, *missing, *self.troubles[:_TROUBLES_SHOWN], *hidden]) + "."


def as_text(report: CrowdReport) -> str:
    """Give the summary as plain text."""
    latency = "no messages"
    if report.latency_p50_ms is not None and report.latency_p99_ms is not None:
        latency = f"messages there after {report.latency_p50_ms:.1f} ms (median), {report.latency_p99_ms:.1f} ms (p99)"
    return f"""\
{report.connected:,} of {report.users:,} users of {report.guilds:,} guilds connected in {report.connect_seconds:.1f} s
{report.deliveries:,} deliveries of {report.events:,} events
{report.deliveries_per_s:,.0f} deliveries a second while they acted, for {report.seconds:.1f} s; {latency}
{report.reconnects:,} reconnects, {report.resumed:,} of which went on where they were
{report.verdict}"""
