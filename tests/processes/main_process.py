"""A main process for the tests that kill it: `main_process.py [busy]` prints its pid and those of its workers."""

from __future__ import annotations

import os
import sys
import threading

import manifold
from tests.processes.actors import Doer

if __name__ == "__main__":
    node = manifold.Node("doomed", worker_kind="process", workers=2)
    if sys.argv[1:] == ["busy"]:
        for _ in range(8):
            node.send(node.spawn(Doer), ["block", 60])
    print(os.getpid(), *node._crew.pids(), flush=True)
    threading.Event().wait(60)
