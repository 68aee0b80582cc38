"""Where a worker process begins."""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from manifold import default
from manifold.core.link_terms import LinkError
from manifold.processes import logs
from manifold.processes.launch import forbid
from manifold.processes.talk import OWN, Setup, Word
from manifold.worker import starts
from manifold.worker.node import WorkerNode

if TYPE_CHECKING:
    import socket

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1

logger = logging.getLogger("manifold")


def main(sock: socket.socket, data: bytes, body_bytes: int) -> None:
    """Be a worker until the main process says that it is over; `body_bytes` had the frame read to get here."""
    setup: Setup = pickle.loads(data)  # noqa: S301  # from the process that started this one
    _end_with(setup.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides what it means
    starts.know_main(setup.main)
    forbid(f"this is a worker process of node {setup.node}, and starts no worker processes of its own")
    node = WorkerNode(setup, sock, body_bytes)
    default.adopt(node)
    _log_to(node, setup)
    sys.exit(node.run())


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, even while no thread of it can run. Linux only."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _log_to(node: WorkerNode, setup: Setup) -> None:
    def put(record: bytes) -> None:
        with suppress(LinkError):  # full, or over: the record is lost
            node.pipe.send(OWN, Word.LOG, [record])

    logs.set_levels(setup.levels)
    logging.root.addHandler(logs.Upward(put))
    threading.excepthook = _thread_raised
    sys.excepthook = _raised


def _raised(kind: Any, error: Any, traceback: Any) -> None:
    logger.critical("Unhandled exception in a worker process:", exc_info=(kind, error, traceback))


def _thread_raised(args: Any) -> None:
    if args.exc_type is not SystemExit:
        logger.critical(
            "Unhandled exception in a thread of a worker process:",
            exc_info=(args.exc_type, args.exc_value, args.exc_traceback),
        )
