"""The verb `serve`: the whole application on this machine, until ^C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from examples.guild_presence.app.supervisor import MOST, StartError, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

PROG = "guild_presence serve"
DESCRIPTION = "Start the application: gateways with a page and WebSockets, and guild nodes. ^C stops it in order."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str]) -> int:
    """Serve; give the exit status."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (StartError, ValueError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROG, description=DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--gateways", metavar="N", type=_whole(1, MOST), default=2, help="gateway processes (default: 2)")
    add("--guild-nodes", metavar="N", type=_whole(1, MOST), default=2, help="processes with guilds (default: 2)")
    add("--port", metavar="N", type=_whole(0, 65535), default=8000, help="of the first gateway; 0: any (default: 8000)")
    add("--host", default="127.0.0.1", help="where the gateways serve; 0.0.0.0 lets others in (default: 127.0.0.1)")
    return parser


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {text!r}")
        return int(text)

    return read


async def _serve(options: argparse.Namespace) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    print("starting ...", flush=True)
    application = Supervisor(options.gateways, options.guild_nodes, port=options.port, host=options.host)
    async with application:
        first, *others = application.urls.values()
        print(f"Open {first}   (the other gateways: {', '.join(others) or 'none'}; ^C stops it)", flush=True)
        await asked.wait()
        print("stopping ...", flush=True)
