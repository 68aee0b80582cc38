"""The command line of `load`. Bad input gives one line on stderr and exit status 2; a run with faults gives 1."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from examples.guild_presence.app.supervisor import MOST, StartError, Supervisor
from examples.guild_presence.arguments import Parser, positive, read_logs, up_to, whole
from examples.guild_presence.load.crowd import Crowd, Plan
from examples.guild_presence.load.gateways import Gateways
from examples.guild_presence.load.report import as_text as crowd_as_text
from examples.guild_presence.load.rooms import count_names, replay
from examples.guild_presence.logs.log import BadLogError
from examples.guild_presence.logs.report import as_text, verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from examples.guild_presence.load.report import CrowdReport
    from examples.guild_presence.logs.report import Report

PROG = "guild_presence load"
DESCRIPTION = """\
Connect users on real WebSockets to the application, which is started for it and stopped afterwards. They come, talk,
type and go idle; each checks that it gets every event of its guild, once and in order. With --log the users are those
of chat logs, one guild each, and do what the logs say; the deliveries are compared with what the rules give."""
EPILOG = """\
Exit status: 0 all went well, 1 something was lost, doubled or out of order, or somebody was not served, 2 bad input."""

URL = """\
use the application that runs there, such as http://127.0.0.1:8000 (default: start one); then `nodes` and `handoffs` in
the figures of logs are null"""
SECONDS = "how long they do so, from when all are connected (default: 10)"
RATE = "messages, typing and changes of status a second, of all users together (default: 50)"
LOG = "IRC logs to replay through the application, a guild each, as fast as it goes"
REPEAT = "replay N times, each time in a new guild; all figures count over all the replays (default: 1)"
STARTED = {"gateways": 2, "guild_nodes": 2}
MADE_UP = {"users": 2000, "guilds": 20, "seconds": 10.0, "rate": 50.0, "seed": 1}
FILES_SPARE = 256
DOWN_AFTER_S = 30.0
"""A node that is silent for seconds on a machine that is as busy as this makes it is not dead."""


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; give the exit status."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    try:
        _check(options)
        logs = read_logs(options.log or ())
        _allow_files(FILES_SPARE + (count_names(logs) if logs else options.users))
    except (BadLogError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    try:
        return asyncio.run(_replay(options, logs) if logs else _drive(options))
    except KeyboardInterrupt:
        parser.exit(130, f"{PROG}: interrupted\n")
    except (StartError, ConnectionError) as error:
        parser.exit(1, f"{PROG}: {error}\n")


def _make_parser() -> Parser:
    parser = Parser(prog=PROG, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--log", metavar="FILE", type=Path, nargs="+", action="extend", help=LOG)
    add("--repeat", metavar="N", type=up_to(10**6), help=REPEAT)
    add("--url", type=_url, help=URL)
    add("--gateways", metavar="N", type=up_to(MOST), help="gateway processes of the application (default: 2)")
    add("--guild-nodes", metavar="N", type=up_to(MOST), help="its processes with guilds (default: 2)")
    add("--json", action="store_true", help="print the figures as one JSON object, last and alone on stdout")
    add = parser.add_argument_group("without --log, users are made up").add_argument
    add("--users", metavar="N", type=up_to(10**6), help="how many, a WebSocket each (default: 2000)")
    add("--guilds", metavar="N", type=up_to(10**5), help="of Zipf-distributed sizes (default: 20)")
    add("--seconds", metavar="S", type=positive, help=SECONDS)
    add("--rate", metavar="R", type=positive, help=RATE)
    add("--seed", metavar="N", type=whole, help="the same seed, the same guilds and acts (default: 1)")
    return parser


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        if parts.scheme == "http" and parts.hostname and parts.port != 0 and parts.path in ("", "/"):
            return f"http://{parts.netloc}"
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be as http://host:port, not {text!r}")


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not go together, and fill in what was not given."""
    _fill(options, MADE_UP, "is for made-up users and does not go with --log" if options.log else "")
    _fill(options, STARTED, "is for an application to be started and does not go with --url" if options.url else "")
    _fill(options, {"repeat": 1}, "" if options.log else "is for logs, and there is no --log")
    if options.guilds > options.users:
        raise argparse.ArgumentTypeError(f"{options.users} users cannot fill {options.guilds} guilds")


def _fill(options: argparse.Namespace, defaults: Mapping[str, float], objection: str) -> None:
    given = [name for name in defaults if getattr(options, name) is not None]
    if given and objection:
        raise argparse.ArgumentTypeError(f"--{given[0].replace('_', '-')} {objection}")
    for name in defaults.keys() - given:
        setattr(options, name, defaults[name])


def _allow_files(number: int) -> None:
    """Have this process, and those that it starts, be allowed so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and number > hard:
        raise argparse.ArgumentTypeError(f"{number:,} open files are needed, and {hard:,} allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and number > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


@asynccontextmanager
async def _application(options: argparse.Namespace) -> AsyncIterator[Supervisor | None]:
    """Start the application unless there is one."""
    if options.url:
        yield None
    else:
        async with Supervisor(options.gateways, options.guild_nodes, node_down_after_s=DOWN_AFTER_S) as application:
            yield application


async def _drive(options: argparse.Namespace) -> int:
    async with _application(options) as application:
        crowd = Crowd(
            Plan(options.users, options.guilds, options.rate, options.seed), await _gateways(options, application)
        )
        try:
            await crowd.enter()
            await crowd.act(options.seconds)
            report = crowd.report()
        finally:
            await crowd.close()
    _show(report, crowd_as_text(report), report.verdict, as_json=options.json)
    return 0 if report.flawless else 1


async def _replay(options: argparse.Namespace, logs: dict[str, list[str]]) -> int:
    async with _application(options) as application:
        report = await replay(logs, options.repeat, await _gateways(options, application))
        counts = await application.counts() if application else {}
    report.nodes = len(counts) or None
    report.handoffs = sum(count["handoffs"] for count in counts.values()) if counts else None
    _show(report, as_text(report), verdict(report), as_json=options.json)
    return 0 if report.flawless else 1


async def _gateways(options: argparse.Namespace, application: Supervisor | None) -> Gateways:
    gateways = Gateways(application.urls.values() if application else [options.url])
    await gateways.find("anybody")
    return gateways


def _show(report: Report | CrowdReport, summary: str, verdict: str, *, as_json: bool) -> None:
    """Print the summary, where a person will see it, and the JSON, where a program will read it."""
    if not as_json or sys.stderr.isatty():
        print(summary, file=sys.stderr if as_json else sys.stdout)
    elif not report.flawless:
        print(f"{PROG}: {verdict}", file=sys.stderr)
    if as_json:
        print(json.dumps(report.as_json()))
