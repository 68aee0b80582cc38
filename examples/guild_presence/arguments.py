"""What the command lines of the verbs share: bad input gives one line on stderr, and exit status 2."""

from __future__ import annotations

import argparse
import math
from itertools import count
from typing import TYPE_CHECKING, NoReturn

from examples.guild_presence.logs.log import read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from pathlib import Path

__all__ = ["Parser", "positive", "read_logs", "up_to", "whole"]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None


def up_to(most: int, least: int = 1) -> Callable[[str], int]:
    """Read a whole number from the least to the most."""

    def read(text: str) -> int:
        number = whole(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {text}")
        return number

    return read


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def read_logs(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Give the lines of each log by a name of its own. Raises BadLogError."""
    logs: dict[str, list[str]] = {}
    for path in paths:
        logs[_new_name(path, logs)] = read_lines(path)
    return logs


def _new_name(path: Path, taken: Container[str]) -> str:
    """Name a guild after its file; printable, whatever bytes the file's name is made of."""
    name = path.stem.encode(errors="replace").decode()
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)
