"""`manifold cookie` makes the secret that the nodes of a cluster share; `manifold node` reads it here."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
from pathlib import Path
from typing import Any

from manifold.cli.settings import BadInput

__all__ = ["add_to", "read_cookie"]

logger = logging.getLogger("manifold")

_BYTES_MIN, _BYTES_MAX = 16, 1024
_OTHERS = 0o077

_EXAMPLE = """\
example:
  manifold cookie --write cluster.cookie      # give every node of the cluster this file
  manifold node --listen tcp://0.0.0.0:7400 --cookie-file cluster.cookie
"""


def add_to(verbs: Any) -> None:
    """Add the verb."""
    text = "Make a secret for a cluster. Nodes that do not have the same one do not talk to each other."
    parser = verbs.add_parser(
        "cookie",
        help="make the secret that the nodes of a cluster share",
        description=text,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--bytes", metavar="N", default="32", help="how many random bytes it has; by default 32")
    parser.add_argument("--write", metavar="FILE", help="write it to a new file that you alone can read")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    cookie = secrets.token_urlsafe(_number_of_bytes(options.bytes))
    if options.write is None:
        print(cookie)  # noqa: T201
    else:
        _write(options.write, cookie)
    return 0


def _number_of_bytes(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if not _BYTES_MIN <= number <= _BYTES_MAX:
        msg = f"--bytes: expected a number from {_BYTES_MIN} to {_BYTES_MAX}, not {text!r}"
        raise BadInput(msg)
    return number


def _write(path: str, cookie: str) -> None:
    try:
        with open(path, "x", opener=_open_for_us_alone) as file:
            file.write(cookie + "\n")
    except FileExistsError:
        msg = f"--write: {path} exists already, and is not overwritten"
        raise BadInput(msg) from None
    except OSError as error:
        msg = f"--write: {path} cannot be written: {error.strerror}"
        raise BadInput(msg) from None


def _open_for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_cookie(path: str) -> bytes:
    """Read the secret from a file; white space around it does not count. Raises BadInput."""
    try:
        with Path(path).open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            cookie = stream.read().strip()
    except OSError as error:
        msg = f"the cookie file {path} cannot be read: {error.strerror}"
        raise BadInput(msg) from None
    if not cookie:
        msg = f"the cookie file {path} is empty; manifold cookie makes a good secret"
        raise BadInput(msg)
    if os.name == "posix" and mode & _OTHERS:
        logger.warning("the cookie file %s can be read by others: chmod 600 %s", path, path)
    return cookie
