"""Facts about the machine that explain a figure, and none that name the machine or its paths."""

from __future__ import annotations

import datetime as dt
import gc
import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

__all__ = ["facts", "load", "processor_s", "rss_bytes", "rss_of", "versions"]

_PROC = Path("/proc")


def facts() -> dict[str, str | int | bool]:
    """Give what must be equal for two results to be comparable, and the date."""
    return {
        "cpus": _cpus(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "platform": f"{platform.system()} {platform.machine()}",
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def load() -> float | None:
    """Give how many programs wanted to run lately: well above 0 before a measurement means others were in its way."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """Give the version of each contender that is an installed package."""
    return {name: metadata.version(name) for name in ("pykka", "uhashring") if find_spec(name)}


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def rss_bytes() -> int:
    """Give the resident memory of this process now (where there is no /proc: its peak so far)."""
    gc.collect()
    now = rss_of(os.getpid())
    return _peak_rss_bytes() if now is None else now


def rss_of(process: int) -> int | None:
    """Give the resident memory of a running process; None where there is no /proc."""
    statm = _PROC / str(process) / "statm"
    if not statm.exists():
        return None
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_s(process: int) -> float:
    """Give the processor time that a process has taken so far, with all its threads; Linux alone."""
    fields = (_PROC / str(process) / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_rss_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
