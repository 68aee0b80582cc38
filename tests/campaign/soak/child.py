"""One node of a soak, in a process of its own, that is told what to do by lines of JSON, and answers each with one.

`python -m tests.campaign.soak.child OPTIONS`, a JSON of: name, origin, address, join, ledger, limits.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import manifold
from tests.campaign.processes.role import Around
from tests.campaign.soak.holdings import blocks, holdings, kinds
from tests.campaign.soak.ledger import Ledger
from tests.campaign.soak.town import Awaiting, Crashed, Desk, Narrow, Neighbours, Resident, Speaker, Town
from tests.campaign.soak.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 2
RESIDENTS: tuple[type[manifold.Actor], ...] = (*[Resident] * 20, *[Awaiting] * 20, *[Narrow] * 2)
FILL_BYTES = 64 << 10
FILL_MAX = 10_000


class Child:
    """The node, those who live there, and what they can be told from outside."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.around = Around(options["address"])
        cls = type("Node", (manifold.Node,), {"around": self.around})
        self.node = cls(
            options["name"],
            workers=WORKERS,
            listen="tcp://127.0.0.1:0",
            join=options["join"],
            limits=manifold.Limits(**options["limits"]),
        )
        self.town = town = Town(self.node, options["origin"], Ledger(options["ledger"]))
        for name in ("manifold", "pykka"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.addHandler(Complaints(town))
        desk = self.node.spawn(Desk, town)
        residents = [self.node.spawn(kind, town) for kind in RESIDENTS]
        town.neighbours[self.node.id] = Neighbours(town.origin, desk, residents)
        self.traffic = Traffic(town)
        self.speaker = Speaker(town, 0)

    # What it may be told; each gives what is answered.

    def who(self) -> dict[str, Any]:
        here = self.town.neighbours[self.node.id]
        pids = [str(here.desk), *map(str, here.residents)]
        return {"node": self.node.id, "port": self.around.port, "origin": here.origin, "pids": pids}

    def meet(self, node: str, origin: int, pids: list[str]) -> None:
        desk, *residents = map(manifold.PID.parse, pids)
        self.town.neighbours[node] = Neighbours(origin, desk, residents)

    def part(self, node: str) -> None:
        self.town.part(node)

    def go(self) -> None:
        self.traffic.go()

    def rest(self) -> None:
        self.traffic.rest()

    def resize(self, workers: int) -> None:
        self.node.resize(workers)

    def block(self, for_s: float) -> None:
        """Have some of those who live here take nothing for a while."""
        residents = self.town.neighbours[self.node.id].residents
        for pid in (residents[0], residents[20], *residents[40:]):
            self.speaker.say(pid, 1, self.speaker.message("block", for_s))

    def fill(self, node: str) -> int | None:
        """Send to a node until the outbox to it is full; give how many messages that took, None if it never was."""
        speaker, pid = self.speaker, self.town.neighbours[node].residents[0]
        before, load = speaker.overloads, bytes(FILL_BYTES)
        for number in range(FILL_MAX):
            speaker.say(pid, 1, speaker.message("", load))
            if speaker.overloads > before and speaker.full == (node,):
                return number
        return None

    def look(self) -> dict[str, Any]:
        """Tell how it is, without touching anything."""
        stats = dict(self.node.stats())
        return {"nodes": self.node.nodes(), "idle": self.traffic.is_idle(), "stats": stats, "wrong": self.town.wrong}

    def hold(self) -> dict[str, int]:
        return holdings(self.node)

    def count(self) -> dict[str, Any]:
        """Tell all that can be told when nothing happens."""
        outcomes: Counter[str] = Counter()
        for source in self.traffic.sources():
            outcomes.update(source.outcomes)
        for pulse in self.town.pulses:
            outcomes.update({f"monitor: {reason}": times for reason, times in getattr(pulse, "downs", {}).items()})
        return {"sent": self.traffic.sent(), "outcomes": outcomes, "blocks": blocks(), "kinds": kinds()}

    def stop(self) -> dict[str, Any]:
        self.traffic.rest()
        self.node.stop()
        return {"stats": dict(self.node.stats()), "wrong": self.town.wrong}


class Complaints(logging.Handler):
    """What is logged as an error is wrong, but for the crashes of those who were told to."""

    def __init__(self, town: Town) -> None:
        super().__init__(logging.ERROR)
        self._town = town

    def emit(self, record: logging.LogRecord) -> None:
        if not (record.exc_info and isinstance(record.exc_info[1], Crashed)):
            self._town.fail(self.format(record))


def main(options: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent
    child = Child(options)
    answer(child.who())
    for line in sys.stdin:
        what, arguments = json.loads(line)
        act: Callable[..., Any] = getattr(child, what)
        answer(act(*arguments))
        if what == "stop":
            return
    child.node.stop()


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
