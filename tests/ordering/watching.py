"""Monitors in a play: actors that send a lot and end, and those on every node who monitor them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import manifold
from tests.cluster.support import until
from tests.support import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.ordering.play import Cast, Play

HOW = ["stop", "fail", "exit", "stay"]
"""Those on each node; each ends in its own way, or stays."""
SENDS = 20


class Parting(manifold.Actor):
    """Sends a bit to all who monitor it each time it is told to, and ends when it is told how."""

    def __init__(self, watching: Watching, name: str) -> None:
        self.watching = watching
        self.name = name
        self.number = 0

    def on_receive(self, how: str) -> None:
        for _ in range(SENDS):
            self.number += 1
            watchers = dict(self.watching.watchers)
            self.watching.play.checker.sending(self.name, watchers.values(), self.number)
            modes: Any = {"send_mode": "offload"} if self.number % 7 == 0 else {}
            manifold.send(watchers, (self.name, self.number), **modes)
        if how == "stop":
            self.stop()
        elif how == "fail":
            raise ValueError(self.name)
        elif how == "exit":
            raise SystemExit(self.name)


class Watcher(manifold.Actor):
    """Monitors who it is told to, most of them more than once, and sees that nothing comes after a `Down`."""

    mailbox_max = 1_000_000

    def __init__(self, watching: Watching, name: str) -> None:
        self.watching = watching
        self.name = name
        self.refs: dict[manifold.MonitorRef, manifold.PID] = {}
        self.told: dict[manifold.MonitorRef, str] = {}
        self.over: set[str] = set()

    def on_receive(self, message: Any) -> None:
        match message:
            case manifold.Down(ref, pid, reason):
                self.fine(self.refs.get(ref) == pid, f"{message} was not asked for")
                self.fine(ref not in self.told, f"{message} came twice")
                self.told[ref] = reason
                self.over.add(self.watching.parting[pid])
            case ("monitor", pids):
                for at, pid in enumerate(pids):
                    for _ in range(1 + at % 2):
                        self.refs[self.monitor(pid)] = pid
                    self.demonitor(self.monitor(pid))
            case (sender, number):
                self.watching.play.checker.arrived(self.name, sender, number)
                self.fine(sender not in self.over, f"{number} of {sender} came after its Down")

    def on_stop(self) -> None:
        self.watching.play.checker.ended(self.name)

    def fine(self, condition: bool, what: str) -> None:
        if not condition:
            self.watching.play.world.errors.append(f"{self.name}: {what}")


class Watching:
    """All of them. Those who part are senders to the checker, and those who watch recipients."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.watchers: dict[manifold.PID, str] = {}
        self.parting: dict[manifold.PID, str] = {}
        self._made: list[tuple[Cast, Watcher]] = []
        self._on: dict[Cast, dict[manifold.PID, str]] = {}
        self._parted: set[manifold.PID] = set()
        self._lock = threading.Lock()

    def enter(self, cast: Cast) -> None:
        """Put some of both on a node, and have everybody monitor the new ones, and the new one everybody."""
        old = [pid for other in self.play.present() for pid in self._on[other]]
        self._on[cast] = fresh = {self._spawn_parting(cast, how): how for how in HOW}
        watching = self
        name = f"{cast.label}/watcher"

        class Known(Watcher):
            def __init__(self) -> None:
                super().__init__(watching, name)
                watching._made.append((cast, self))

        self.watchers[cast.node.spawn(Known)] = name
        self._ask(cast, self._made[-1][1].pid, ("monitor", old))
        self.monitor(fresh)

    def monitor(self, pids: Iterable[manifold.PID]) -> None:
        """Have everybody monitor these."""
        for cast, watcher in self._made:
            if cast.node.id not in self.play.lost:
                self._ask(cast, watcher.pid, ("monitor", list(pids)))

    def meet(self, pid: manifold.PID, name: str) -> None:
        """Have everybody monitor one on a node of another process, who sends to the watchers in its own name."""
        self.parting[pid] = name
        self.monitor([pid])

    def _spawn_parting(self, cast: Cast, how: str) -> manifold.PID:
        pid = cast.node.spawn(Parting, self, f"{cast.label}/{how}")
        self.parting[pid] = f"{cast.label}/{how}"
        return pid

    def _ask(self, cast: Cast, pid: manifold.PID, message: Any) -> None:
        self.play.told[cast.node.id] += 1
        cast.node.ask(pid, message, timeout=PATIENCE_S).get()

    # What may happen.

    def say(self, cast: Cast) -> None:
        """Have all on a node send a bit."""
        self._tell(cast, dict.fromkeys(self._on[cast], "say"))

    def part(self, cast: Cast) -> None:
        """Have one on a node send a bit and end, if there still is one to."""
        with self._lock:
            left = {pid: how for pid, how in self._on[cast].items() if how != "stay" and pid not in self._parted}
            chosen = dict(list(left.items())[:1])
            self._parted.update(chosen)
        self._tell(cast, chosen)

    def _tell(self, cast: Cast, acts: dict[manifold.PID, str]) -> None:
        for pid, how in acts.items():
            self.play.told[cast.node.id] += 1
            try:
                cast.node.send(pid, how)
            except manifold.NodeStopped:
                assert cast.node.id in self.play.lost

    # What must hold.

    def senders_on(self, cast: Cast) -> list[str]:
        return [self.parting[pid] for pid in self._on[cast]]

    def recipients_on(self, cast: Cast) -> list[str]:
        return [watcher.name for other, watcher in self._made if other is cast]

    def verify(self) -> None:
        """Each monitor of one who has ended, or whose node is gone, has told so; no other has."""
        ended = {pid for pid in self.parting if pid.node in self.play.lost or pid in self._parted}
        for cast, watcher in self._made:
            if cast.node.id in self.play.lost:
                continue
            due = {ref for ref, pid in watcher.refs.items() if pid in ended}
            assert until(lambda due=due, watcher=watcher: due <= set(watcher.told)), self._missing(watcher, due)
            for ref in set(watcher.told) - due:
                assert watcher.told[ref] == "node down", (watcher.name, ref, watcher.told[ref], self.play.note())
                assert self.play.gives_receipts, (watcher.name, ref, self.play.note())

    def _missing(self, watcher: Watcher, due: set[manifold.MonitorRef]) -> str:
        names = sorted(self.parting[ref.pid] for ref in due - set(watcher.told))
        return f"{watcher.name} heard nothing of the end of {names}: {self.play.note()}"
