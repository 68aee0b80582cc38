"""`manifold node` runs a node until SIGTERM or SIGINT, then stops it in order: nothing that was queued is dropped."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import logging
import operator
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import manifold
from manifold.cli.cookie import read_cookie
from manifold.cli.logs import LogThread
from manifold.cli.settings import BadInput, add_options, gather

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from manifold.cli.settings import Settings

    App = Callable[[manifold.Node], object]

__all__ = ["add_to"]

logger = logging.getLogger("manifold.cli")

_MORE = """\
What is not given as an option comes from a variable (MANIFOLD_NAME, MANIFOLD_WORKER_KIND, ...; MANIFOLD_JOIN,
MANIFOLD_ROLES and MANIFOLD_LIMITS separate with commas; MANIFOLD_COOKIE is the secret itself), else from the
table [node] of --config:

  [node]
  name = "gw-1"
  join = ["tcp://10.0.0.1:7400"]
  limits = { stop_grace_s = 10 }

The first line printed says the node's name, id and address; all else is logged to stderr. SIGTERM and SIGINT
stop the node in order, its placed actors going on on other nodes; a second one ends it at once. Exit status: 0
when stopped, 1 when --app raised, 2 for bad input.

example:
  manifold node --name gw-1 --listen tcp://127.0.0.1:7400 --app mypackage.sessions:setup
  manifold node --name gw-2 --listen tcp://127.0.0.1:0 --join tcp://127.0.0.1:7400
  manifold node --name gw-3 --transport 'nats://10.0.0.9:4222?credentials=gw.creds'
"""


def add_to(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "node",
        help="run a node until SIGTERM or SIGINT",
        description="Run a node until SIGTERM or SIGINT.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the first line as a JSON object")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    settings = gather(vars(options), os.environ)
    log = LogThread(settings.log_level.upper())
    try:
        status = _run_with(settings, as_json=options.json)
    finally:
        is_written = log.close()
    if not is_written:
        os._exit(status)  # a thread that hangs in a write would hold up the end of the process for ever
    return status


def _run_with(settings: Settings, *, as_json: bool) -> int:
    cookie = settings.cookie or (read_cookie(settings.cookie_file) if settings.cookie_file else None)
    app = _load(settings.app) if settings.app else None
    return asyncio.run(_serve(settings, cookie, app, as_json=as_json))


# The app.


def _load(app: str) -> App:
    module, _, path = app.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an import can raise anything
        raise BadInput(f"--app {app}: {_described(error)}") from None
    try:
        found = operator.attrgetter(path)(loaded)
    except AttributeError as error:
        raise BadInput(f"--app {app}: {error}") from None
    if not callable(found):
        msg = f"--app {app}: {found!r} cannot be called"
        raise BadInput(msg)
    return found  # type: ignore[no-any-return]


def _described(error: BaseException) -> str:
    """Say what was raised, and where, if a file of the user's can be to blame."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if last.filename.startswith("<") else f" ({last.filename}, line {last.lineno})"
    return f"cannot be imported: {type(error).__name__}: {error}{where}"


# The node.


async def _serve(settings: Settings, cookie: str | bytes | None, app: App | None, *, as_json: bool) -> int:
    with _Stopping(asyncio.get_running_loop()) as stopping:
        return await _run_node(_start(settings, cookie), app, stopping, as_json=as_json)


async def _run_node(node: manifold.Node, app: App | None, stopping: _Stopping, *, as_json: bool) -> int:
    events = asyncio.create_task(_log_events(node))
    try:
        _announce(node, as_json=as_json)
        return await _live(node, app, stopping)
    finally:
        logger.info("%s stops; a further signal ends it at once", node.id)
        await _leave(node)
        await node.aclose()
        events.cancel()
        logger.info("%s has stopped", node.id)


async def _leave(node: manifold.Node) -> None:
    """Let the placed actors go on elsewhere, as long as a stop may take."""
    try:
        await asyncio.wait_for(_result(node.leave()), node.limits.stop_grace_s)
    except TimeoutError:
        logger.warning("%s stops before all of its placed actors have gone to other nodes", node.id)


def _start(settings: Settings, cookie: str | bytes | None) -> manifold.Node:
    try:
        return manifold.start(
            settings.name,
            workers=settings.workers,
            worker_kind=settings.worker_kind,
            listen=settings.listen,
            join=settings.join,
            transport=settings.transport,
            roles=settings.roles,
            cookie=cookie,
            limits=settings.limits,
        )
    except (ValueError, OSError, manifold.ManifoldError) as error:
        raise BadInput(str(error)) from None


def _announce(node: manifold.Node, *, as_json: bool) -> None:
    facts = {"name": node.name, "id": node.id, "address": node.address}
    text = f"{node.name} runs as {node.id} at {node.address or 'no address'}"
    print(json.dumps(facts) if as_json else text, flush=True)  # noqa: T201


async def _log_events(node: manifold.Node) -> None:
    async for event in node.events():
        if isinstance(event, manifold.NodeDown):
            logger.info("NodeDown %s: %s", event.node, event.reason)
        else:
            logger.info("NodeUp %s", event.node)


async def _live(node: manifold.Node, app: App | None, stopping: _Stopping) -> int:
    """Set the app up, and wait for the signal; give the exit status."""
    try:
        if app is not None:
            await _set_up(app, node, stopping)
    except Exception:
        logger.critical("--app raised:", exc_info=True)
        return 1
    await stopping.asked.wait()
    return 0


async def _set_up(app: App, node: manifold.Node, stopping: _Stopping) -> None:
    result = stopping.call(app, node)
    if inspect.isawaitable(result):
        setup = asyncio.ensure_future(_result(result))
        asked = asyncio.create_task(stopping.asked.wait())
        await asyncio.wait({setup, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if setup.done():
            setup.result()
        else:
            setup.cancel()
            await asyncio.wait({setup}, timeout=node.limits.stop_grace_s)


async def _result(awaitable: Awaitable[object]) -> None:
    await awaitable


# The signals.


class _Interrupted(BaseException):
    """Raised by a signal in an app that is being set up, as KeyboardInterrupt is."""


class _Stopping:
    """Hears SIGTERM and SIGINT, once: a second one does what it does by default, which ends the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self._loop = loop
        self._interrupts = False
        self._near, self._far = socket.socketpair()

    def __enter__(self) -> Self:
        # A handler runs when the main thread next runs Python code. A signal that comes just before the loop waits, or
        # on another thread, ends no wait: but the interpreter writes a byte for it, and that does.
        for end in (self._near, self._far):
            end.setblocking(False)
        self._loop.add_reader(self._near, self._near.recv, 4096)
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._loop.remove_reader(self._near)
        self._near.close()
        self._far.close()

    def call(self, app: App, node: manifold.Node) -> object:
        """Call the app. A signal ends the call: one that blocks would never let the loop hear of it."""
        with suppress(_Interrupted):
            try:
                self._interrupts = True
                return app(node)
            finally:
                self._interrupts = False
        return None

    def _hear(self, _number: int, _frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        self._loop.call_soon_threadsafe(self.asked.set)
        if self._interrupts:
            raise _Interrupted
