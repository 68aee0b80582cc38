"""The command line. Bad input gives one line on stderr and exit status 2; a replay with faults gives 1."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from examples.guild_presence.arguments import Parser, positive, read_logs, up_to, whole
from examples.guild_presence.logs.log import BadLogError
from examples.guild_presence.logs.report import as_text, verdict
from examples.guild_presence.logs.traffic import make_up
from examples.guild_presence.replay.cluster import ClusterError
from examples.guild_presence.replay.driver import How, replay
from manifold.testing.nats_server import NatsServer

try:
    from examples.guild_presence.replay import display
except ImportError:  # rich is not installed
    display = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import TextIO

    from examples.guild_presence.logs.report import Report
    from examples.guild_presence.replay.driver import OnStep

PROG = "guild_presence"
DESCRIPTION = """\
Replay chat logs, one guild each: a guild actor reads the log, every user in it is a session actor, and each
event goes to all sessions that are present at that moment. At the end the deliveries are compared with what
the rules give."""
EPILOG = """\
Exit status: 0 all went well, 1 something was lost, doubled or out of order or a node failed, 2 bad input."""

LOG = "IRC logs to replay, a guild each"
REPEAT = """\
replay N times, each time from an empty room; all figures count over all the replays (default: 1)"""
SPEED = "keep to the clock of the logs, X times faster (default: no clock, as fast as it goes)"
USERS = "of all guilds together; the guilds' sizes are Zipf-distributed, and none is empty (default: 2000)"
LINES = "of all guilds together, after all users have joined (default: 10000)"
NODES = "spread guilds and sessions over N nodes, all but one in a process of its own (default: 1)"
WORKERS = "workers of each node (default: one for each CPU core)"
WORKER_KIND = "process: each worker a child process; loop: one worker, the main event loop (default: thread)"
TRANSPORT = """\
nats://host:port: the nodes meet over that server of NATS; nats: over one that is started for it (default: ZeroMQ)"""
MADE_UP = {"guilds": 12, "users": 2000, "lines": 10_000}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the replay that the arguments ask for; gives the exit status."""
    parser = _make_parser()
    options = parser.parse_args(argv)
    try:
        how, guilds = _how(options), _guilds(options)
    except (BadLogError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    try:
        with _transport(options.transport) as transport, _progress(guilds, how.repeat) as on_step:
            report = replay(guilds, replace(how, transport=transport), on_step)
    except KeyboardInterrupt:
        parser.exit(130, f"{PROG}: interrupted\n")
    except ClusterError as error:
        parser.exit(1, f"{PROG}: {error}\n")
    _show(report, as_json=options.json)
    return 0 if report.flawless else 1


def _make_parser() -> Parser:
    parser = Parser(prog=PROG, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--log", metavar="FILE", type=Path, nargs="+", action="extend", help=LOG)
    add("--repeat", metavar="N", type=up_to(10**9), default=1, help=REPEAT)
    add("--speed", metavar="X", type=positive, help=SPEED)
    add("--list", action="store_true", help="send to plain lists of PIDs instead of an Audience")
    add("--nodes", metavar="N", type=up_to(32), default=1, help=NODES)
    add("--workers", metavar="N", type=up_to(1024), help=WORKERS)
    add("--worker-kind", choices=("thread", "loop", "process"), default="thread", help=WORKER_KIND)
    add("--transport", metavar="URL", type=_servers, help=TRANSPORT)
    add("--json", action="store_true", help="print the figures as one JSON object, last and alone on stdout")
    add = parser.add_argument_group("without --log, guilds and traffic are made up").add_argument
    add("--guilds", metavar="N", type=up_to(10**5), help=f"how many (default: {MADE_UP['guilds']})")
    add("--users", metavar="N", type=up_to(10**7), help=USERS)
    add("--lines", metavar="N", type=up_to(10**8), help=LINES)
    add("--seed", metavar="N", type=whole, default=1, help="the same seed, the same traffic (default: 1)")
    return parser


def _servers(text: str) -> str:
    if text != "nats" and not text.startswith(("nats://", "tls://")):
        msg = f"must be nats, or an address such as nats://host:4222, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text


def _how(options: argparse.Namespace) -> How:
    if options.worker_kind == "loop" and options.workers not in (None, 1):
        msg = f"--worker-kind loop is one worker, and --workers {options.workers} does not go with it"
        raise argparse.ArgumentTypeError(msg)
    return How(options.repeat, options.speed, options.list, options.workers, options.nodes, options.worker_kind)


def _guilds(options: argparse.Namespace) -> dict[str, list[str]]:
    """Read the logs or make guilds up; give each guild's lines by its name."""
    given = {name: getattr(options, name) for name in MADE_UP if getattr(options, name) is not None}
    if not options.log:
        return make_up(**MADE_UP | given, seed=options.seed)
    if given:
        msg = f"--{next(iter(given))} is for made-up traffic and does not go with --log"
        raise argparse.ArgumentTypeError(msg)
    return read_logs(options.log)


@contextmanager
def _transport(asked: str | None) -> Iterator[str | None]:
    """Give the address of the server of NATS that the nodes are to use, if any. A replay keeps to itself there."""
    if asked == "nats":
        with _started() as server:
            yield server.url
    elif asked is None or "cluster=" in asked:
        yield asked
    else:
        yield f"{asked}{'&' if '?' in asked else '?'}cluster=guild_presence-{secrets.token_hex(4)}"


def _started() -> NatsServer:
    try:
        return NatsServer()
    except RuntimeError as error:
        raise ClusterError(str(error)) from None


def _progress(guilds: dict[str, list[str]], repeat: int) -> AbstractContextManager[OnStep]:
    if display and sys.stderr.isatty():
        return display.live(guilds, repeat, sys.stderr)
    return nullcontext(lambda *_: None)


def _show(report: Report, *, as_json: bool) -> None:
    """Print the summary, where a person will see it, and the JSON, where a program will read it."""
    if not as_json or sys.stderr.isatty():
        _summarize(report, sys.stderr if as_json else sys.stdout)
    elif not report.flawless:
        print(f"{PROG}: {verdict(report)}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_json()))


def _summarize(report: Report, to: TextIO) -> None:
    if display and to.isatty():
        display.print_summary(report, to)
    else:
        print(as_text(report), file=to)
        if to.isatty():
            print("(For a live display and tables install rich, or manifold with its extra 'demo'.)", file=to)
