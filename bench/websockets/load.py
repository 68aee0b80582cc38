"""The clients of one server, in a process of their own: `python -m bench.websockets.load JSON` (see `Options`).

It says how many sockets are in their guilds, and then answers lines of JSON: `{"do": "flood", ...}` and
`{"do": "pace", ...}` with the arguments of the methods of `Load`.
"""

from __future__ import annotations

import gc
import http.client
import json
import select
import signal
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from bench.websockets.client import Crowd, Guild, Link, Lost
from bench.websockets.dialects import DIALECTS
from bench.websockets.watch import Sent, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Load", "Options"]

_HANDSHAKES = 32
# How long a socket may take until it is in its guild.
_JOIN_S = 15.0
# How long nothing may come before what is missing is lost.
_PATIENCE_S = 15.0
_LOOK_S = 0.05
# Under full load sockets are read no oftener: clients that wanted all of the processor would measure themselves.
_SWEEP_S = 0.02
# One socket in so many is watched, of each guild the first at least.
_WATCHED = 20
_TEXT = "Something that somebody says to a whole guild at once, as long as such a thing usually is in a chat room."


@dataclass(frozen=True)
class Options:
    """Whom to talk to, and how many sockets: `asks` whether the first URL tells where a user belongs."""

    urls: list[str]
    dialect: str
    asks: bool
    sockets: int
    guilds: int


class Load:
    """Sockets spread over guilds and servers, as a context; each message is sent by the next socket of its guild.

    When it is entered all are in their guilds, or `Lost` is raised and none is left open.
    """

    def __init__(self, options: Options) -> None:
        self._dialect = DIALECTS[options.dialect]()
        self._crowd = Crowd(self._dialect)
        self._guilds = [Guild(f"guild-{number}") for number in range(options.guilds)]
        self._sent = Sent(_TEXT)
        self._watches: list[Watch] = []
        self._options = options

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self._crowd)
            with _asked(self._options.urls[0]) if self._options.asks else _in_turn(self._options.urls) as where:
                self._join(self._options, where)
            self._opened = opened.pop_all()
        self._senders = {guild.name: cycle(guild.links) for guild in self._guilds}
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _join(self, options: Options, where: Callable[[str], str]) -> None:
        joining: list[Link] = []
        for number in range(options.sockets):
            guild = self._guilds[number % len(self._guilds)]
            user = f"user-{number}"
            joining.append(self._crowd.connect(where(user), user, guild, self._watch(guild)))
            if len(joining) >= _HANDSHAKES:
                joining = self._still(joining, at_most=_HANDSHAKES - 1)
        self._still(joining, at_most=0)

    def _watch(self, guild: Guild) -> Watch | None:
        if len(guild.links) % _WATCHED:
            return None
        self._watches.append(Watch(self._sent))
        return self._watches[-1]

    def _still(self, joining: list[Link], at_most: int) -> list[Link]:
        """Wait until so many of these at most are still joining, and give them."""
        until = time.perf_counter() + _JOIN_S
        while len(joining) > at_most:
            self._crowd.poll(_LOOK_S)
            joining = [link for link in joining if not link.joined]
            if len(joining) > at_most and time.perf_counter() > until:
                msg = f"{joining[0].user} is not in its guild within {_JOIN_S:g} s"
                raise Lost(msg)
        return joining

    def heard_line(self) -> str:
        """Wait for a line of the driver, and meanwhile for servers that ask whether their clients are alive."""
        while not select.select([sys.stdin], [], [], 0)[0]:
            self._crowd.poll(_LOOK_S)
        return sys.stdin.readline()

    def flood(self, warm_s: float, seconds: float, window: int) -> dict[str, Any]:
        """Have `window` messages outstanding in each guild, all the time; count what comes after `warm_s`."""
        self._begin()
        begin = time.perf_counter() + warm_s
        self._keep_outstanding(window, begin)
        before, begin = self._got(), time.perf_counter()
        self._keep_outstanding(window, begin + seconds)
        while self._got() == before and time.perf_counter() < begin + seconds + _PATIENCE_S:
            self._keep_outstanding(window, time.perf_counter() + _LOOK_S)  # all stood still: 0 is no rate
        deliveries, seconds = self._got() - before, time.perf_counter() - begin
        return {"deliveries_per_s": deliveries / seconds, **self._end()}

    def _keep_outstanding(self, window: int, until: float) -> None:
        """A message counts as arrived when as many deliveries have come as it and those before it make."""
        while time.perf_counter() < until:
            for guild in self._guilds:
                while guild.sent - guild.got // len(guild.links) < window:
                    self._send(guild)
            began = time.perf_counter()
            self._crowd.poll(_LOOK_S)
            time.sleep(max(began + _SWEEP_S - time.perf_counter(), 0))

    def pace(self, per_s: float, seconds: float) -> dict[str, Any]:
        """Send so many messages a second, to the guilds in turn, whatever comes of them."""
        self._begin()
        begin = time.perf_counter()
        for number, guild in zip(range(max(round(per_s * seconds), 1)), cycle(self._guilds), strict=False):
            while (wait_s := begin + number / per_s - time.perf_counter()) > 0:
                self._crowd.poll(wait_s)
            self._send(guild)
        return self._end()

    def _begin(self) -> None:
        gc.collect()
        gc.freeze()
        self._sent.begin()
        for guild in self._guilds:
            guild.begin()
        for watch in self._watches:
            watch.clear()

    def _send(self, guild: Guild) -> None:
        link = next(self._senders[guild.name])
        guild.sent += 1
        link.say(self._dialect.op(_TEXT, self._sent.add(link.user, time.perf_counter())).encode())

    def _got(self) -> int:
        return sum(guild.got for guild in self._guilds)

    def _end(self) -> dict[str, Any]:
        """Wait for what is under way, until nothing comes any more, and say what has come."""
        self._await_all()
        missed = [guild.sent - link.got for guild in self._guilds for link in guild.links]
        return {
            "sent": sum(guild.sent for guild in self._guilds),
            "deliveries": self._got(),
            "lost": sum(max(number, 0) for number in missed),
            "doubled": sum(max(-number, 0) for number in missed) + sum(watch.doubled for watch in self._watches),
            "disordered": sum(watch.disordered for watch in self._watches),
            "wrong": sum(watch.wrong for watch in self._watches),
            "watched": sum(len(watch.seconds) for watch in self._watches),
            "seconds": [second for watch in self._watches for second in watch.seconds],
        }

    def _await_all(self) -> None:
        expected = sum(guild.sent * len(guild.links) for guild in self._guilds)
        got, until = self._got(), time.perf_counter() + _PATIENCE_S
        while got < expected:
            is_late = time.perf_counter() > until  # one look more: what came while this process stood still is there
            self._crowd.poll(_LOOK_S)
            if self._got() > got:
                got, until = self._got(), time.perf_counter() + _PATIENCE_S
            elif is_late:
                return


@contextmanager
def _in_turn(urls: list[str]) -> Iterator[Callable[[str], str]]:
    places = cycle(urls)
    yield lambda _: next(places)


@contextmanager
def _asked(url: str) -> Iterator[Callable[[str], str]]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:

        def ask(user: str) -> str:
            connection.request("GET", f"/gateway?user={quote(user)}")
            found: str = json.loads(connection.getresponse().read())["url"]
            return found

        yield ask


def _answers(load: Load) -> Iterator[dict[str, Any]]:
    does: dict[str, Callable[..., dict[str, Any]]] = {"flood": load.flood, "pace": load.pace}
    while line := load.heard_line():
        arguments = json.loads(line)
        yield does[arguments.pop("do")](**arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
    options = Options(**json.loads(sys.argv[1]))
    with Load(options) as running:
        print(json.dumps({"joined": options.sockets}), flush=True)
        for answer in _answers(running):
            print(json.dumps(answer), flush=True)
