"""One schedule, played on real processes: nodes behind proxies, and one thing after another that happens to them."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from manifold.testing.nats_server import NatsServer
from tests.campaign.processes.players import Child, Own, Player
from tests.campaign.processes.role import Role
from tests.campaign.scribe import Scribe
from tests.ordering.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaign.processes.plan import Plan

__all__ = ["FAULTS", "Theatre"]

OWN = "a"
START_S = 30.0
START_AGAIN_S = 0.2
MEET_S = 0.7
QUIET_S = 60.0
CALM_S = 0.3
LOOK_S = 0.02
SERVER_START_S = 10.0


class Theatre:
    """What happens in one schedule; a context manager, which ends all processes."""

    def __init__(self, plan: Plan, place: Path) -> None:
        self.plan = plan
        self.files: list[Path] = []
        self._place = place
        self._random = Random(f"theatre/{plan.seed}")
        self._book = Scribe(self._file("theatre"))
        self._down_s: float = plan.limits["node_down_after_s"]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._proxies: dict[str, Proxy] = {}
        self._server = NatsServer() if plan.transport == "nats" else None
        self._players: dict[str, Player] = {}
        self._starting: dict[str, Child] = {}
        self._said: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._lasts_until = 0.0
        self._is_going = False
        self._tick = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for player in (*self._players.values(), *self._starting.values()):
            if isinstance(player, Child):
                player.kill()
            else:
                player.close()
        for proxy in self._proxies.values():
            proxy.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._server is not None:
            self._server.close()
        self._book.close()

    # Who is there.

    def _file(self, name: str) -> Path:
        self.files.append(self._place / f"{len(self.files)}-{name}")
        return self.files[-1]

    def _start(self, name: str) -> None:
        role = self._role(name)
        if name == OWN:
            self._enter(name, Own(role, lambda said: self._hear(name, said)))
        else:
            self._starting[name] = Child(role, lambda said: self._hear(name, said), self.plan.errors)

    def _look_after_those_who_start(self) -> None:
        """Let who has begun take part, and start those again who could not, as when the server was away."""
        for name, child in list(self._starting.items()):
            if child.has_begun():
                self._enter(name, child)
            elif child.has_ended():
                child.kill()
                self._book.fault("start refused")
                self._later(START_AGAIN_S, partial(self._start, name))
            else:
                continue
            del self._starting[name]

    def _enter(self, name: str, player: Player) -> None:
        if self._server is None:
            self._proxies[name].port = player.port
        with self._lock:
            self._players[name] = player
            for said in self._said:
                player.tell(**said)
        if self._is_going:
            player.tell("go")

    def _role(self, name: str) -> Role:
        if name not in self._proxies:
            self._proxies[name] = Proxy(0 if self._server is None else self._server.port, self._loop)
        address = self._proxies[name].address
        place: dict[str, Any] = {
            "proxy": address,
            "join": [self._proxies[n].address for n in self._players if n != name],
        }
        if self._server is not None:
            place = {"server": f"{address.replace('tcp:', 'nats:')}?cluster=campaign"}
        plan = self.plan
        return Role(
            plan.seed, name, str(self._file(name)), plan.limits, plan.workers, plan.is_tight, list(plan.troubles),
            cookie=plan.cookie, **place,
        )  # fmt: skip

    def _hear(self, name: str, said: dict[str, Any]) -> None:
        """Have all others know of somebody who has come, or gone."""
        with self._lock:
            self._said.append(said)
            for other, player in self._players.items():
                if other != name:
                    player.tell(**said)

    def _all(self, do: str) -> dict[str, dict[str, Any]]:
        return {player.id: player.ask(do) for player in self._players.values()}

    # The schedule.

    def play(self) -> None:
        """Let it all happen."""
        for name in [OWN, *"bcd"[: self.plan.children]]:
            self._start(name)
        self._await(self._is_complete, START_S)
        self._await(self._have_met, START_S)
        self._is_going = True
        for player in self._players.values():
            player.tell("go")
        for kind in self.plan.steps:
            self._pass(self._random.uniform(0.05, 0.5))
            FAULTS[kind](self, kind)
        self._settle_down()

    def _is_complete(self) -> bool:
        return not self._due and not self._starting

    def _has_child(self) -> bool:
        return any(isinstance(player, Child) for player in self._players.values())

    def _have_met(self) -> bool:
        states = self._all("state")
        return all(set(state["nodes"]) == set(states) for state in states.values())

    def _settle_down(self) -> None:
        """End all faults, and wait until nothing is under way any more."""
        self._await(self._is_complete, START_S)
        self._pass(0.5)
        self._is_going = False
        for player in self._players.values():
            player.tell("rest")
        self._await(self._is_quiet, QUIET_S)
        self._await(self._is_still, QUIET_S)

    def _is_quiet(self) -> bool:
        return self._have_met() and all(state["quiet"] for state in self._all("state").values())

    def _is_still(self) -> bool:
        """Whether nothing has happened from one look to the next: in one, a node that is through with everything may
        be looked at before one that has just had something for it.
        """
        before = self._all("state")
        self._pass(CALM_S)
        return self._is_quiet() and self._all("state") == before

    @property
    def broken(self) -> int:
        """How many connections the proxies have cut."""
        return sum(proxy.broken for proxy in self._proxies.values())

    def end(self) -> dict[str, dict[str, int]]:
        """Have all write down what came of it, and stop; gives what they have counted, by node id."""
        reports = self._all("report")
        for name in list(self._players):
            with self._lock:
                player = self._players.pop(name)
            if wrong := player.close():
                self._book.fail(wrong)
        return {node: report["stats"] for node, report in reports.items()}

    # Time.

    def _pass(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            self._due.sort(key=lambda due: due[0])
            while self._due and self._due[0][0] <= now:
                self._due.pop(0)[1]()
            self._look_after_those_who_start()
            self._tick.wait(min(LOOK_S, until - now))

    def _await(self, condition: Callable[[], bool], within_s: float) -> None:
        until = time.monotonic() + within_s
        while not condition():
            self._pass(LOOK_S)
            if time.monotonic() > until:
                self._book.fail(f"not {condition.__name__} in time: {self._all('state')}")
                return

    def _lasting(self, kind: str, least: float, most: float) -> float:
        """Note what takes a while, by the measure of a node that is thought dead; how long. Two of the mild ones at a
        time might not be mild: then nothing happens, for 0 seconds.
        """
        now = time.monotonic()
        if now < self._lasts_until and not self.plan.is_grave:
            return 0.0
        self._book.fault(kind)
        seconds = self._random.uniform(least, most) * self._down_s
        self._lasts_until = now + seconds + 0.1 * self._down_s
        return seconds

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, call))

    # What happens.

    def cut(self, kind: str) -> None:
        """All connections through a proxy break."""
        self._book.fault(kind)
        self._random.choice(list(self._proxies.values())).break_all()

    def cut_again_and_again(self, kind: str) -> None:
        for _ in range(5):
            self.cut("cut")
            self._pass(self._random.uniform(0.0, 0.1))

    def stall(self, kind: str, least: float, most: float) -> None:
        if seconds := self._lasting(kind, least, most):
            self._random.choice(list(self._proxies.values())).stall(seconds)

    def pause(self, kind: str, least: float, most: float) -> None:
        children = [player for player in self._players.values() if isinstance(player, Child)]
        if children and (seconds := self._lasting(kind, least, most)):
            child = self._random.choice(children)
            child.pause()
            self._later(seconds, child.go_on)

    def jump(self, kind: str) -> None:
        self._book.fault(kind)
        self._random.choice(list(self._players.values())).tell("jump", by_s=self._random.uniform(-1e6, 1e6))

    def kill(self, kind: str) -> None:
        """A process is killed, and another of its name begins at its place; mostly when all had time to meet before."""
        self._await(self._has_child, START_S)
        if self._random.random() < 0.8:
            self._await(self._is_complete, START_S)
            self._pass(MEET_S)
        names = [name for name, player in self._players.items() if isinstance(player, Child)]
        seconds, name = self._lasting(kind, 0.0, 1.5), self._random.choice(names)
        with self._lock:
            child = self._players.pop(name)
        assert isinstance(child, Child)
        child.kill()
        self._book.kill(child.id)
        self._later(seconds, partial(self._start, name))

    def kill_server(self, kind: str, least: float, most: float) -> None:
        assert self._server is not None
        if self._server.process.poll() is None and (seconds := self._lasting(kind, least, most)):
            self._server.kill()
            self._lead_to(0)
            self._later(seconds, self._restart_server)

    def _restart_server(self) -> None:
        self._server = NatsServer()
        self._lead_to(self._server.port)

    def _lead_to(self, port: int) -> None:
        """Where the last server was somebody else may listen by now: only the proxies know where the next one is."""
        for proxy in self._proxies.values():
            proxy.port = port


FAULTS: dict[str, Callable[[Theatre, str], None]] = {
    "cut": Theatre.cut,
    "cut again and again": Theatre.cut_again_and_again,
    "stall": lambda theatre, kind: theatre.stall(kind, 0.02, 0.3),
    "pause": lambda theatre, kind: theatre.pause(kind, 0.02, 0.3),
    "clock jump": Theatre.jump,
    "server kill": lambda theatre, kind: theatre.kill_server(kind, 0.01, 0.1),
    "kill": Theatre.kill,
    "long pause": lambda theatre, kind: theatre.pause(kind, 0.7, 2.0),
    "long stall": lambda theatre, kind: theatre.stall(kind, 0.7, 2.0),
    "server outage": lambda theatre, kind: theatre.kill_server(kind, 0.7, 2.0),
}
