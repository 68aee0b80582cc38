"""A soak from its beginning to its end: traffic and faults, with a time of rest before, in the middle and after."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from tests.campaign.soak.faults import FAULTS, MORTAL, Unseen, meet
from tests.campaign.soak.holdings import PASSING
from tests.campaign.soak.ledger import read
from tests.campaign.soak.nodes import Nodes, resources, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.campaign.soak.nodes import Running

__all__ = ["Record", "Soak", "soak"]

NAMES = "abc"
MORTALS = "c"
"""The nodes that are killed and restarted; the others live through, and their memory is measured."""
LIMITS = {
    "outbox_max_bytes": 8 << 20,
    "inbox_max_bytes": 4 << 20,
    "message_max_bytes": 1 << 20,
    "packet_max_bytes": 2 << 20,
}
WARM_UP_SHARE = 0.3
"""Of the faults; but never before there was one of each kind."""
FIRST_GO_S = 3.0
QUIET_S = 60.0
PATIENCE = 12
"""A node dials another, and says what is left to say, for so many times `node_down_after_s`; only then all is quiet."""


@dataclass
class Record:
    """What a soak has found."""

    seed: int
    limits: dict[str, Any]
    faults: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, list[tuple[float, int, int, int]]] = field(default_factory=dict)
    """By node: seconds, KB, threads, file descriptors."""
    held: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """By node and time of rest."""
    blocks: dict[str, dict[str, int]] = field(default_factory=dict)
    grown: dict[str, dict[str, int]] = field(default_factory=dict)
    """By node: kinds of objects there are more of, at the end than after the warm-up."""
    ended: list[dict[str, Any]] = field(default_factory=list)
    """One for each node process, in the order of their origins."""
    warm_s: float = 0.0
    ended_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Soak:
    """One soak: so many seconds, over which these faults are spread."""

    def __init__(self, length_s: float, kinds: Sequence[str], seed: int, directory: Path, down_after_s: float) -> None:
        self.down_after_s = down_after_s
        limits = {**LIMITS, "node_down_after_s": down_after_s}
        self.record = Record(seed, limits)
        self._length_s = length_s
        self._plan = kinds
        self._random = Random(f"soak/{seed}")
        self.nodes = Nodes(NAMES, directory, limits)
        self._started = time.monotonic()
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="sampler", daemon=True)
        self._kinds: dict[str, Counter[str]] = {}

    def play(self) -> None:
        self._sampler.start()
        try:
            meet(self.nodes)
            self._traffic()
            self._finish()
        except (Unseen, TimeoutError, RuntimeError) as error:
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._over.set()
            self._sampler.join()
            self.nodes.close()
            for ended, ledger in zip(self.record.ended, self.nodes.ledgers):
                ended["handled"], ended["out of order"] = read(ledger)

    def now(self) -> float:
        return time.monotonic() - self._started

    def start(self, name: str) -> None:
        """Start a node again, and its traffic."""
        self.nodes.start(name).tell("go")

    def ended(self, node: Running, last: dict[str, Any] | None) -> None:
        """A node has ended: in order, if it left something behind."""
        self.nodes.remove(node)
        self._leave(node, last)

    def _leave(self, node: Running, last: dict[str, Any] | None) -> None:
        last = last or {"stats": None, "wrong": []}
        for what in last["wrong"]:
            self._fail(f"{node.name}: {what}")
        self.record.ended.append({"node": node.id, "origin": node.origin, "stats": last["stats"]})

    def _fail(self, what: str) -> None:
        self.record.wrong.append(f"{self.now():.0f} s: {what}")
        print(self.record.wrong[-1], flush=True)

    # What happens.

    def _traffic(self) -> None:
        """Traffic with faults."""
        self._go()
        time.sleep(FIRST_GO_S)
        self._rest("start")
        self._go()
        first = self.now()
        for number, kind in enumerate(self._plan):
            if number == max(len(FAULTS), int(WARM_UP_SHARE * len(self._plan))):
                self._warm_up()
            self._fault(kind)
            time.sleep(max(0.0, first + (number + 1) * self._length_s / len(self._plan) - self.now()))

    def _warm_up(self) -> None:
        self._rest("warm")
        self.record.warm_s = self.now()
        self._go()

    def _fault(self, kind: str) -> None:
        names = MORTALS if kind in MORTAL else NAMES
        node = self.nodes.running[self._random.choice(names)]
        at_s = self.now()
        told = {"at_s": round(at_s, 1), "kind": kind, "node": node.id}
        try:
            told["effect"] = FAULTS[kind](self, node)
            told["met_after_s"] = round(meet(self.nodes), 1)
        except Unseen as error:
            self._fail(f"{kind} of {node.id}: {error}")
        self.record.faults.append(told)
        print(told, flush=True)

    def _go(self) -> None:
        for node in self.nodes:
            node.tell("go")

    def _rest(self, name: str) -> None:
        """Have all rest, and see what they hold then."""
        meet(self.nodes)
        self._tell_to_rest()
        if until(self._comes_to_rest, QUIET_S, every_s=0.5) is None:
            self._fail(f"never quiet: {[node.tell('look') for node in self.nodes]}")
        until(lambda: self._is_as_before(name), (PATIENCE + 3) * self.down_after_s, every_s=0.5)
        for node in self.nodes:
            self._weigh(node, name)

    def _is_as_before(self, name: str) -> bool:
        """Note what all hold. True if that is what they held at the start, and nothing that they will let go of: what
        they tell each other now and then may be under way.
        """
        is_good = self._is_quiet()
        for node in self.nodes:
            held = self.record.held.setdefault(node.name, {})
            held[name] = node.tell("hold")
            is_good &= held[name] == held["start"] and not any(held[name][what] for what in PASSING)
        if not is_good:
            self._tell_to_rest()
        return is_good

    def _comes_to_rest(self) -> bool:
        """Have all rest until nothing happens: nodes that lose each other meanwhile have members to take in anew."""
        if not (is_quiet := self._is_quiet()):
            self._tell_to_rest()
        return is_quiet

    def _tell_to_rest(self) -> None:
        for node in self.nodes:
            node.tell("rest")

    def _weigh(self, node: Running, name: str) -> None:
        counts = node.tell("count")
        self.record.blocks.setdefault(node.name, {})[name] = counts["blocks"]
        kinds = Counter(counts["kinds"])
        if name == "end" and node.name in self._kinds:
            self.record.grown[node.name] = dict((kinds - self._kinds[node.name]).most_common(10))
        self._kinds[node.name] = kinds

    def _is_quiet(self) -> bool:
        looks = [node.tell("look") for node in self.nodes]
        return all(look["idle"] and not look["stats"]["in_flight"] for look in looks)

    def _finish(self) -> None:
        """Rest, and compare; at last what each has counted, when nothing happens any more."""
        self._rest("end")
        self.record.ended_s = self.now()
        for node in self.nodes:
            look, counts = node.tell("look"), node.tell("count")
            self._leave(node, look)
            self.record.ended[-1] |= {"sent": counts["sent"], "outcomes": counts["outcomes"]}
        self.record.ended.sort(key=lambda ended: ended["origin"])

    def _sample(self) -> None:
        """Once a second: before, in between and after."""
        while not self._over.wait(1.0):
            for node in self.nodes:
                try:
                    self.record.samples.setdefault(node.name, []).append((self.now(), *resources(node.process.pid)))
                except OSError:
                    continue  # it has just ended


def soak(length_s: float, kinds: Sequence[str], seed: int, directory: Path, down_after_s: float) -> Record:
    """Run one, and give what it has found."""
    run = Soak(length_s, kinds, seed, directory, down_after_s)
    run.play()
    return run.record
