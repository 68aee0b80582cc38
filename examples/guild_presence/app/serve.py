"""The verb `serve`: the whole application on this machine, until ^C."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from examples.guild_presence.app.supervisor import MOST, StartError, Supervisor
from examples.guild_presence.arguments import Parser, up_to

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

PROG = "guild_presence serve"
DESCRIPTION = "Start the application: gateways with a page and WebSockets, and guild nodes. ^C stops it in order."
PORT = "of the first gateway; 0: any (default: 8000)"


def main(arguments: Sequence[str]) -> int:
    """Serve; give the exit status."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except (StartError, ValueError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> Parser:
    parser = Parser(prog=PROG, description=DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--gateways", metavar="N", type=up_to(MOST), default=2, help="gateway processes (default: 2)")
    add("--guild-nodes", metavar="N", type=up_to(MOST), default=2, help="processes with guilds (default: 2)")
    add("--port", metavar="N", type=up_to(65535, least=0), default=8000, help=PORT)
    add("--host", default="127.0.0.1", help="where the gateways serve; 0.0.0.0 lets others in (default: 127.0.0.1)")
    return parser


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
