"""How a worker process comes to be: a fresh interpreter that is given one end of a socket pair, and nothing else.

A fresh one, and no fork: so it is safe however many threads the main process has, and starts in the same way
everywhere. The first frame it gets tells it where modules are found, and the rest.
"""

from __future__ import annotations

import pickle
import select
import socket
import subprocess
import sys
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

from manifold.errors import ManifoldError
from manifold.processes.talk import Setup, Word

if TYPE_CHECKING:
    from manifold.transport.pipe import Pipe

__all__ = ["check_allowed", "forbid", "introduce", "launch", "main_module"]

_BOOT = """\
import pickle, socket, struct, sys
sock = socket.socket(fileno=int(sys.argv[1]))
def take(size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data
size, _, _ = struct.unpack("<IHI", take(10))
sys.path[:], argv, setup = pickle.loads(take(size))
sys.argv[:] = argv
from manifold.worker.main import main
main(sock, setup, size)
"""


_forbidden: list[str] = []


def forbid(why: str) -> None:
    """Start no processes from here on: in a worker process, which would else go on starting others without end."""
    _forbidden.append(why)


def check_allowed() -> None:
    """Raise ManifoldError in a process that may start no workers; ValueError on a system without what they need."""
    if _forbidden:
        raise ManifoldError(_forbidden[0])
    if not hasattr(select, "poll") or not hasattr(socket, "AF_UNIX"):
        msg = "worker_kind='process' needs a POSIX system"
        raise ValueError(msg)


def launch(title: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process; give it, and this side's end of the pair. OSError if it cannot be started."""
    ours, theirs = socket.socketpair()
    with theirs:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        command = [spawn.get_executable() or sys.executable, *flags, "-c", _BOOT, str(theirs.fileno()), title]
        try:
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)  # noqa: S603
        except BaseException:
            ours.close()
            raise
    return process, ours


def introduce(pipe: Pipe, setup: Setup) -> None:
    """Tell a process that was just started all it has to know."""
    pipe.send(0, Word.SETUP, [pickle.dumps((sys.path, sys.argv, pickle.dumps(setup)))])


def main_module() -> dict[str, Any]:
    """Give what `multiprocessing` wants to know to import the program's main module in another process."""
    data = spawn.get_preparation_data("manifold-worker")
    return {name: data[name] for name in ("init_main_from_name", "init_main_from_path") if name in data}
