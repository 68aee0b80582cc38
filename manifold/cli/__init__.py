"""The command line: each verb in a file of its own. What is wrong with the input is said in one line, with status 2."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

import manifold
from manifold.cli import cookie, node
from manifold.cli.settings import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """As argparse's, but what is wrong is one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process; give the exit status."""
    options, unknown = _parser().parse_known_args(arguments)
    try:
        _refuse(unknown)
        status: int = options.run(options)
    except BadInput as error:
        print(f"manifold {options.verb}: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return 2
    return status


def _refuse(unknown: list[str]) -> None:
    # argparse would say it in the name of the command, not of its verb.
    if unknown:
        msg = f"unknown: {' '.join(unknown)}"
        raise BadInput(msg)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="manifold",
        description="Actor message fan-out: runs nodes of a cluster, and makes the secret that they share.",
        epilog="Each verb has a --help of its own: manifold node --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"manifold {manifold.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Parser)
    for verb in (node, cookie):
        verb.add_to(verbs)
    return parser
