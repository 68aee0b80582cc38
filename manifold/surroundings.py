"""What a node takes from the process it runs in: time, threads, chance. `manifold.testing` simulates another one."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

from manifold.delivery.loops import LoopThread
from manifold.delivery.offload import Offload
from manifold.wires import make_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifold.ports import Surroundings

__all__ = ["PROCESS", "Process"]


class Process:
    """This process, as it is. See `ports.Surroundings`."""

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)
    perf_counter = staticmethod(time.perf_counter)
    get_ident = staticmethod(threading.get_ident)
    loop = staticmethod(LoopThread)
    offload = staticmethod(Offload)
    transport = staticmethod(make_transport)

    def token(self) -> str:
        return secrets.token_hex(4)

    def thread(self, name: str, run: Callable[[], object]) -> threading.Thread:
        return threading.Thread(target=run, name=name)

    def turns(self, name: str, turns: Callable[[], Iterator[None]]) -> threading.Thread:
        def run() -> None:
            for _ in turns():
                pass

        return threading.Thread(target=run, name=name, daemon=True)


PROCESS: Surroundings = Process()
