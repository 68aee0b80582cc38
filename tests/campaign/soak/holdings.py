"""What a node holds when it has nothing to do: to be compared with what it held at another such time."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

from manifold.core.link_terms import State
from manifold.delivery.worker import Worker

if TYPE_CHECKING:
    import manifold

__all__ = ["PASSING", "blocks", "holdings", "kinds"]

PASSING = (
    "queued", "queued bytes", "unsettled", "in moves", "waiting for room", "timers", "questions", "receipts",
    "sessions that are over, and still say something", "frames unacknowledged",
)  # fmt: skip
"""What there is none of when nothing happens."""


def holdings(node: manifold.Node) -> dict[str, int]:
    """Count all that somebody might forget to let go of."""
    gc.collect()
    local, hub, peers = node.local, node._hub, list(node.cluster.peers.values())
    loops = [worker.loop for worker in local.workers]
    return {
        "threads": threading.active_count(),
        "file descriptors": len(os.listdir("/proc/self/fd")),
        "asyncio tasks": sum(len(asyncio.all_tasks(loop)) for loop in loops) + sum(len(w.tasks) for w in local.workers),
        "actors": len(local.actors),
        "actors not started": len(local._unstarted),
        "workers": len(local.workers) + len(local.former),
        "queued": sum(entry[0] is not Worker.drop for worker in local.workers for entry in worker.queue),
        "queued bytes": local.queued_bytes() + local.offload.queued_bytes + sum(p.tally.waiting_bytes for p in peers),
        "unsettled": sum(worker.unsettled for worker in local.workers),
        "in moves": sum(len(w.visits) + len(w.unborn) + len(w.leaving) for w in local.workers),
        "waiting for room": len(local._relief),
        "timers": node._timers._pending,
        "watchers of actors": sum(len(actor._mf_watchers or ()) for actor in local.actors.values()),
        "audiences": len(node.cluster.audiences),
        "audience members elsewhere": sum(len(away) for away in list(node.cluster.audiences.values())),
        "peers": len(peers),
        "sessions": len(hub._live),
        "sessions that are over, and still say something": len(hub._leaving),
        "frames to those that are over": sum(
            peer.link.unacked + len(peer.stuck) for peer in hub._by_session.values() if peer.link.state is State.DOWN
        ),
        "dialled addresses": len(hub._transport._lines),
        "questions": sum(len(peer._asks) for peer in peers),
        "receipts": sum(len(peer._receipts) for peer in peers),
        "monitors": sum(len(peer._monitors) + len(peer._monitor_numbers) for peer in peers),
        "monitors of others": sum(len(peer.arrivals._watchers) for peer in peers),
        "audience replicas": sum(len(peer.arrivals._replicas) for peer in peers),
        "members of replicas": sum(len(r) for peer in peers for r in peer.arrivals._replicas.values()),
        "frames unacknowledged": sum(peer.link.unacked + len(peer.stuck) for peer in peers),
    }


def blocks() -> int:
    """Give how many blocks of memory Python's objects take, garbage excluded."""
    gc.collect()
    return sys.getallocatedblocks()


def kinds() -> Counter[str]:
    """Count the objects that the garbage collector knows, by kind: to find what grows."""
    gc.collect()
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())
