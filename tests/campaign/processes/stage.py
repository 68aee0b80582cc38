"""The world, as the members and senders of one node know it that has a process of its own.

What they do is in the scribe's file. The driver says who else there is, when to send, and asks what came of it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import manifold
from manifold import ports
from manifold.errors import NodeStopped
from tests.campaign.leftovers import holdings
from tests.campaign.members import KINDS, TIGHT, Member, Unmade, spawned
from tests.campaign.scribe import Scribe
from tests.campaign.senders import CRASHES, Crashed, Source, in_task, listen
from tests.campaign.simulated import Criticals
from tests.cluster.support import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from manifold.testing import Change
    from tests.campaign.processes.role import Role

__all__ = ["TROUBLES", "Stage"]

MEMBERS = 6
"""Started at first."""
MEMBERS_MAX = 10
ACTS, TROUBLE = 0.88, 0.96
"""The shares of what threads do: they send themselves, or have actors send; the rest is trouble."""
PAUSE_S = 0.03
"""The longest that a sender rests between its turns."""
LEFT_S = 5.0
"""How long a node may take to let go of what nobody needs."""
HEARD_S = 10.0
"""How long the task that listens to a node may take to hear of all that has happened."""


class Stage:
    """One node, its members and its senders; `say` tells the driver something."""

    def __init__(self, role: Role, say: Callable[[dict[str, Any]], None]) -> None:
        self.plan = role
        self.alive: dict[manifold.PID, None] = {}
        """Who has not ended, as far as is known: of other nodes' a moment later."""
        self.book = Scribe(role.file, self._end)
        self.history: list[Change] = self.book.history
        self.watchers: defaultdict[str, list[manifold.PID]] = defaultdict(list)
        self.members: list[Member] = []
        self.pids: list[manifold.PID] = []
        self.refs: dict[str, Any] = {}
        self.sources: list[Source] = []
        self._say = say
        self._random = Random(f"stage/{role.seed}/{role.name}/{time.monotonic_ns()}")
        self._numbers = itertools.count(1)
        self._going = threading.Event()
        self._over = threading.Event()
        self._turns: set[str] = set()
        self._criticals = Criticals()
        logging.getLogger("manifold").addHandler(self._criticals)
        self.node = role.start()
        self._loop = asyncio.new_event_loop()
        with self.node._membership.changed:  # what it tells, and what that is held against, begin with the same change
            self.node._membership.subscribe(self)
            self._listening = self._loop.create_task(listen(self, self.node))  # type: ignore[arg-type]
            self._loop.run_until_complete(asyncio.sleep(0))
        self._threads = [threading.Thread(target=self._send, args=(which,), daemon=True) for which in range(2)]
        self._threads.append(threading.Thread(target=self._run_loop, daemon=True))
        for _ in range(MEMBERS):
            self.spawn()
        for thread in self._threads:
            thread.start()

    # What members and senders need.

    @property
    def now(self) -> float:
        return time.monotonic()

    def number(self) -> int:
        return next(self._numbers)

    def work(self, seconds: float) -> None:
        """Keep a worker busy."""
        time.sleep(seconds)

    def task(self, node: manifold.Node, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def any_pid(self, random: Random) -> manifold.PID:
        """Give somebody: one who runs on a node that is up, mostly."""
        pids = list(self.alive) if random.random() < 0.9 else self.pids
        up, pid = self.node.nodes(), random.choice(pids or self.pids)
        for _ in range(4):
            if pid.node in up or random.random() < 0.05:
                break
            pid = random.choice(pids or self.pids)
        return pid if random.random() < 0.5 else manifold.PID(pid.node, pid.id)

    def any_member(self, random: Random, node: manifold.Node) -> Member | None:
        return random.choice(self.members)

    def watched(self, source: Source, pid: manifold.PID) -> None:
        """Have an actor know that another monitors it."""
        source.command(pid, "watched", manifold.PID.parse(source.name))

    def put(self, event: Any) -> None:
        """Hear of a change, in the moment in which it happens."""
        if event is not None:
            self.book.change(self.node.id, event.node, "" if isinstance(event, manifold.NodeUp) else event.reason)

    def spawn(self) -> None:
        """Start one more member, and have everybody know it."""
        cls = self._random.choice(KINDS + TIGHT if self.plan.is_tight else KINDS)
        if self._random.random() < 0.05:
            try:
                self.node.spawn(Unmade, self, self.node)
            except Crashed:
                pass
        member = spawned(self, self.node, cls)
        self.members.append(member)
        self.refs[member.name] = member.actor_ref
        self._meet(member.pid)
        self._say({"do": "meet", "pid": member.name})

    def _meet(self, pid: manifold.PID) -> None:
        self.pids.append(pid)
        self.alive[pid] = None

    def _end(self, pid: str) -> None:
        self.alive.pop(manifold.PID.parse(pid), None)
        self._say({"do": "miss", "pid": pid})

    # Who sends.

    def _send(self, which: int) -> None:
        token = ports.current.set(self.node)
        source = self._source(f"{self.node.id}/thread-{which}")
        try:
            while self._going.wait() and not self._over.is_set():
                self._turns.add(source.name)
                if self._going.is_set():
                    self._turn(source)
                self._turns.discard(source.name)
                self._over.wait(source.random.uniform(0.0, PAUSE_S))
        except Exception as error:
            self.book.fail(f"{source.name} was told {error!r}")
            raise
        finally:
            ports.current.reset(token)

    def _source(self, name: str) -> Source:
        source = Source(self, self.node, name)  # type: ignore[arg-type]
        self.sources.append(source)
        return source

    def _turn(self, source: Source) -> None:
        draw = source.random.random()
        try:
            if draw < ACTS:
                source.some(source.random.randint(1, 4))
            elif draw < TROUBLE:
                source.command(self.any_pid(source.random), "act", source.random.randint(1, 3))
            elif self.plan.troubles:
                kind = source.random.choice(self.plan.troubles)
                self.book.fault(kind)
                TROUBLES[kind](self, source)
        except NodeStopped:
            self._going.clear()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        token = ports.current.set(self.node)
        source = self._source(f"{self.node.id}/task")
        sending = self._loop.create_task(self._send_in_task(source))
        try:
            self._loop.run_until_complete(self._listening)
            self._loop.run_until_complete(sending)
        finally:
            ports.current.reset(token)
            self._loop.close()

    async def _send_in_task(self, source: Source) -> None:
        while not self._over.is_set():
            self._turns.add(source.name)
            if self._going.is_set():
                await in_task(source, 2)
            self._turns.discard(source.name)
            await asyncio.sleep(PAUSE_S)

    # What the driver wants.

    def obey(self, command: dict[str, Any]) -> dict[str, Any] | None:
        match command["do"]:
            case "meet":
                self._meet(manifold.PID.parse(command["pid"]))
            case "miss":
                self.alive.pop(manifold.PID.parse(command["pid"]), None)
            case "go":
                self._going.set()
            case "rest":
                self._going.clear()
            case "jump":
                self.node.around.wrong_by_s += command["by_s"]  # type: ignore[attr-defined]
            case "state":
                return self.state()
            case "report":
                return self.report()
        return None

    def state(self) -> dict[str, Any]:
        """Tell who is up, and whether something is under way."""
        stats, workers = self.node.stats(), self.node.local.workers
        quiet = not (self._turns or self._going.is_set() or stats.in_flight or self.node._timers._pending)
        quiet &= not any(worker.awake or worker.tasks for worker in workers)  # what was delivered is handled, too
        quiet &= not any(peer.link.unacked or peer.stuck for peer in list(self.node._hub._by_node.values()))
        return {"nodes": self.node.nodes(), "quiet": quiet, "stats": dict(stats), "noted": self.book.noted}

    def report(self) -> dict[str, Any]:
        """Write down what came of it all; nothing is under way."""
        until(lambda: not self._left(), LEFT_S)
        for what, number in self._left().items():
            self.book.fail(f"{self.node.id} is left with {what}: {number}")
        for member in self.members:
            if member.is_busy and member.name not in self.book.ended:
                self.book.fail(f"{member.name} is still busy")
        sources = (*self.sources, *(member.source for member in self.members if member.name not in self.book.ended))
        for source in sources:
            for listed in source.lists:
                self.book.audience(source.name, listed.now(), listed.members)
        for line in self._criticals.lines:
            self.book.fail(line)
        if not until(self._sum_up, HEARD_S):
            self.book.sum_up()
        return self.state()

    def _sum_up(self) -> bool:
        """End the book, if the task that listens has heard of every change; whether it has."""
        with self.node._membership.changed:  # so that nobody comes or goes between the two
            if heard_all := self.book.heard == len(self.history):
                self.book.sum_up()
        return heard_all

    def _left(self) -> dict[str, int]:
        return {what: number for what, number in holdings(self.node).items() if number}

    def close(self) -> None:
        """Stop the node, and end all threads."""
        self._over.set()
        self._going.set()
        self.node.stop()
        for thread in self._threads:
            thread.join(10.0)
            if thread.is_alive():
                self.book.fail(f"{thread.name} of {self.node.id} does not end")
        logging.getLogger("manifold").removeHandler(self._criticals)
        self.book.close()

    # What may happen to actors and workers.

    def crash(self, source: Source) -> None:
        """Somebody who is watched, if it can be."""
        watched = [
            name for name, watchers in self.watchers.items() if watchers and manifold.PID.parse(name) in self.alive
        ]
        pid = manifold.PID.parse(source.random.choice(watched)) if watched else self.any_pid(source.random)
        source.command(pid, "crash", source.random.choice(list(CRASHES)))

    def replace(self, source: Source) -> None:
        """One more member, where there is room."""
        if sum(member.name not in self.book.ended for member in self.members) < MEMBERS_MAX:
            self.spawn()

    def monitor(self, source: Source) -> None:
        source.command(self.any_pid(source.random), "monitor", self.any_pid(source.random))
        if source.random.random() < 0.3:
            source.command(self.any_pid(source.random), "demonitor")


TROUBLES: dict[str, Callable[[Stage, Source], None]] = {
    "crash": Stage.crash,
    "loop crash": lambda stage, source: source.command(
        stage.any_pid(source.random), "crash the loop", source.random.choice(list(CRASHES))
    ),
    "stop actor": lambda stage, source: source.command(stage.any_pid(source.random), "stop yourself"),
    "spawn": Stage.replace,
    "slow receiver": lambda stage, source: source.command(
        stage.any_pid(source.random), "work", source.random.uniform(0.02, 0.3)
    ),
    "resize": lambda stage, source: stage.node.resize(source.random.randint(1, 4)),
    "monitor": Stage.monitor,
}
"""What may happen to actors and workers, all the time."""
