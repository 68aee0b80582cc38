"""The node processes of a soak, as seen from the one that runs it; each is behind a proxy, which stays."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.ordering.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Nodes", "Place", "Running", "resources", "until"]

ROOT = Path(__file__).parents[3]
ANSWER_S = 60.0


class Running:
    """One node process."""

    def __init__(self, name: str, origin: int, options: dict[str, Any]) -> None:
        self.name = name
        self.origin = origin
        self.ledger: str = options["ledger"]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.campaign.soak.child",
                json.dumps({"name": name, "origin": origin, **options}),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            who = self._next("start")
        except BaseException:
            self.kill()
            raise
        self.id: str = who["node"]
        self.port: int = who["port"]
        self.pids: list[str] = who["pids"]

    def tell(self, what: str, *arguments: Any) -> Any:
        """Have it do something, and give what it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, arguments]) + "\n")
        self.process.stdin.flush()
        return self._next(what)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(ANSWER_S)

    def close(self) -> None:
        """End it, in order if it can."""
        self.resume()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            self.process.wait(ANSWER_S)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _next(self, what: str) -> Any:
        try:
            line = self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            raise TimeoutError(f"node {self.name} does not answer to {what!r}") from None
        if not line:
            raise RuntimeError(f"node {self.name} has ended, when it was told to {what!r}")
        return json.loads(line)


@dataclass
class Place:
    """Where a node is, whoever it is at the time."""

    name: str
    proxy: Proxy


class Nodes:
    """All of them; and those that have been."""

    def __init__(self, names: str, directory: Path, limits: dict[str, Any]) -> None:
        self._directory = directory
        self._limits = limits
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self.places = {name: Place(name, Proxy(0, self._loop)) for name in names}
        self.running: dict[str, Running] = {}
        self.ledgers: list[str] = []  # by origin
        try:
            for name in names:
                self.start(name)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Running]:
        return iter(list(self.running.values()))

    def start(self, name: str) -> Running:
        """Start a node in its place, and have all know each other."""
        place, origin = self.places[name], len(self.ledgers)
        ledger = str(self._directory / f"{name}-{origin}")
        options = {
            "address": place.proxy.address,
            "join": [other.proxy.address for other in self.places.values() if other is not place],
            "ledger": ledger,
            "limits": self._limits,
        }
        self.ledgers.append(ledger)
        place.proxy.port = 0  # where the last one listened somebody else may, by now
        fresh = Running(name, origin, options)
        place.proxy.port = fresh.port
        for other in self:
            other.tell("meet", fresh.id, fresh.origin, fresh.pids)
            fresh.tell("meet", other.id, other.origin, other.pids)
        self.running[name] = fresh
        return fresh

    def remove(self, gone: Running) -> None:
        """Have all forget one that has ended."""
        gone.close()
        del self.running[gone.name]
        for other in self:
            other.tell("part", gone.id)

    def have_met(self) -> bool:
        return all(len(node.tell("look")["nodes"]) == len(self.running) for node in self)

    def close(self) -> None:
        for node in self:
            node.close()
        for place in self.places.values():
            place.proxy.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()


def until(holds: Callable[[], bool], within_s: float, every_s: float = 0.1) -> float | None:
    """Wait until something holds; give how many seconds that took, None if it took too long."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() > started + within_s:
            return None
        time.sleep(every_s)
    return time.monotonic() - started


def resources(process: int) -> tuple[int, int, int]:
    """Give the resident KB, threads and file descriptors of a process."""
    statm = Path(f"/proc/{process}/statm").read_text().split()
    resident = int(statm[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return resident, len(os.listdir(f"/proc/{process}/task")), len(os.listdir(f"/proc/{process}/fd"))
