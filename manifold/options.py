"""What a node may be told: checked before anything of it is built. A ValueError says what is allowed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["addresses", "check_kind", "check_workers", "checked_name", "checked_roles", "cores"]

MAX_WORKERS = 1024

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def addresses(join: Iterable[str]) -> tuple[str, ...]:
    """Give the addresses to join, of which there may be one alone."""
    return (join,) if isinstance(join, str) else tuple(join)


def checked_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """Give the roles, of which there may be one alone."""
    roles = (roles,) if isinstance(roles, str) else tuple(roles)
    for role in roles:
        if not isinstance(role, str) or not _NAME.fullmatch(role):
            msg = f"a role is 1 to 64 letters, digits, '_', '.' or '-', not {role!r}"
            raise ValueError(msg)
    return roles


def checked_name(name: str) -> str:
    """Give the name, if a node may have it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"a node's name is 1 to 64 letters, digits, '_', '.' or '-', not {name!r}"
        raise ValueError(msg)
    return name


def check_workers(workers: object) -> None:
    """Refuse what is no number of workers."""
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        msg = f"workers must be a number from 1 to {MAX_WORKERS}, not {workers!r}"
        raise ValueError(msg)


def check_kind(kind: str, workers: int | None, on_start: object) -> None:
    """Refuse kinds of workers that there are not, and what does not go with a kind."""
    if workers is not None:
        check_workers(workers)
    if kind not in ("thread", "loop", "process"):
        msg = f"worker_kind must be 'thread', 'loop' or 'process', not {kind!r}"
        raise ValueError(msg)
    if on_start is not None and kind != "process":
        msg = f"on_worker_start is for worker_kind='process', not {kind!r}"
        raise ValueError(msg)


def cores() -> int:
    """Give how many workers there are if nobody says."""
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
