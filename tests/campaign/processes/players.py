"""One node each, as the driver sees it: in the driver's own process, or in a child that can be killed and stopped."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from tests.campaign.processes.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaign.processes.role import Role

__all__ = ["Child", "Own", "Player"]

ROOT = Path(__file__).parents[3]
ANSWER_S = 30.0
END_S = 30.0


class Player(Protocol):
    """One node. `heard` is called with what it says by itself."""

    id: str
    port: int

    def tell(self, do: str, **what: Any) -> None:
        """Have it do something."""

    def ask(self, do: str) -> dict[str, Any]:
        """Have it do something, and give its answer."""

    def close(self) -> str:
        """Have it stop in order; gives what was wrong with that."""


class Own:
    """The one in the driver's process."""

    def __init__(self, role: Role, heard: Callable[[dict[str, Any]], None]) -> None:
        self.stage = Stage(role, heard)
        self.id = self.stage.node.id
        self.port = self.stage.node.around.port  # type: ignore[attr-defined]

    def tell(self, do: str, **what: Any) -> None:
        self.stage.obey({"do": do, **what})

    def ask(self, do: str) -> dict[str, Any]:
        answer = self.stage.obey({"do": do})
        assert answer is not None
        return answer

    def close(self) -> str:
        self.stage.close()
        return ""


class Child:
    """One in a process of its own, whose log goes to `errors`. It is no player yet when it is made."""

    def __init__(self, role: Role, heard: Callable[[dict[str, Any]], None], errors: str) -> None:
        self._heard = heard
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = Log(errors, Path(f"{role.file}.log"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.processes.child", role.as_text()],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.end,
        )
        self._log.begun()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def has_begun(self) -> bool:
        """Whether its node runs."""
        try:
            begun = self._answers.get_nowait()
        except queue.Empty:
            return False
        self.id, self.port = begun["id"], begun["port"]
        return True

    def has_ended(self) -> bool:
        """Whether it has ended by itself: its node could not be started."""
        return self.process.poll() is not None

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "answer" in said:
                self._answers.put(said["answer"])
            elif "id" in said:
                self._answers.put(said)
            else:
                self._heard(said)

    def tell(self, do: str, **what: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{json.dumps({'do': do, **what})}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it was killed

    def ask(self, do: str) -> dict[str, Any]:
        self.tell(do)
        return self._answers.get(timeout=ANSWER_S)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def close(self) -> str:
        assert self.process.stdin is not None
        self._log.take()
        self.process.stdin.close()
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        self._end()
        return "" if code == 0 else f"{self.id} ended with {code}: {self._log.tail()}"

    def _end(self) -> None:
        self.process.wait(END_S)
        self._reader.join(END_S)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass  # something was left to be said to it
        self._log.close()


class Log:
    """Where a process logs to: a file, a full disk, a pipe that nobody reads, or that nobody will ever read again."""

    def __init__(self, kind: str, path: Path) -> None:
        self._path = path
        self._far: int | None = None
        self._kind = kind
        self.end: int | IO[bytes]
        match kind:
            case "file":
                self.end = path.open("wb")
            case "full disk":
                self.end = Path("/dev/full").open("wb")  # noqa: SIM115
            case _:
                self._far, self.end = os.pipe()
                if kind == "full pipe":
                    _fill(self.end)

    def begun(self) -> None:
        """The process has its own end."""
        if isinstance(self.end, int):
            os.close(self.end)
        else:
            self.end.close()
        if self._kind == "broken pipe":
            self.close()

    def take(self) -> None:
        """Somebody reads again: Python itself does not end while a handler of logs blocks."""
        if self._far is not None:
            os.set_blocking(self._far, True)
            threading.Thread(target=self._read, args=(os.dup(self._far),), daemon=True).start()

    def _read(self, far: int) -> None:
        with open(far, "rb") as stream:
            while stream.read1():
                pass

    def close(self) -> None:
        if self._far is not None:
            os.close(self._far)
            self._far = None

    def tail(self) -> str:
        return self._path.read_text()[-2000:] if self._kind == "file" else ""


def _fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    try:
        while os.write(pipe, bytes(1 << 16)):
            pass
    except BlockingIOError:
        os.set_blocking(pipe, True)
