"""What a node is left with: when nothing happens any more, it holds nothing that nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.core.link_terms import State
from manifold.delivery.worker import Worker
from tests.campaign.book import Book, node_of

if TYPE_CHECKING:
    import manifold
    from tests.campaign.world import World

__all__ = ["check", "holdings"]


def check(world: World, node: manifold.Node) -> None:
    """A node that has nothing to do holds nothing; what it says to others now and then may be under way."""
    for _ in range(20):
        held = {what: number for what, number in (holdings(node) | shares(world, node)).items() if number}
        if not held:
            return
        world.simulation.run(0.05)
    for what, number in held.items():
        world.book.fail(f"{node.id} is left with {what}: {number}")


def holdings(node: manifold.Node) -> dict[str, int]:
    """Give what a node holds."""
    local, hub = node.local, node._hub
    held = {
        "workers' queues": sum(entry[0] is not Worker.drop for worker in local.workers for entry in worker.queue),
        "queued bytes": local.queued_bytes(),
        "former workers": len(local.former),
        "visits": sum(len(w.visits) + len(w.unborn) + len(w.leaving) for w in local.workers),
        "unsettled": sum(worker.unsettled for worker in local.workers),
        "tasks": sum(len(worker.tasks) for worker in local.workers),
        "offloaded": len(local.offload._queue) + len(local.offload._pending) + local.offload.queued_bytes,
        "relief": len(local._relief),
        "links that are over": sum(
            node.around.monotonic() > peer.link.heard_at + hub._patience_s + 1.0 for peer in hub._leaving.values()
        ),
        "frames to those that are over": sum(
            peer.link.unacked + len(peer.stuck)
            for session, peer in list(hub._by_session.items())
            if peer.link.state is State.DOWN and session not in hub._leaving
        ),
        "peers beside those up": len(node.cluster.peers) - len(hub._by_node),
    }
    for peer in list(hub._by_node.values()):
        held[f"questions to {peer.node}"] = len(peer._asks)
        held[f"receipts from {peer.node}"] = len(peer._receipts)
        held[f"frames to {peer.node}"] = peer.link.unacked + len(peer.stuck)
        held[f"waiting bytes of {peer.node}"] = peer.tally.waiting_bytes
    return held


def shares(world: World, node: manifold.Node) -> dict[str, int]:
    """Give what it holds for others, and they for it, beyond what is needed."""
    held, book = {}, world.book
    for peer in node._hub._by_node.values():
        held[f"monitors of {peer.node}"] = len(peer._monitors) - may_fire(book, node.id, peer.node)
        held[f"replicas for {peer.node}"] = surplus_replicas(world, peer)
        held[f"watchers of {peer.node}"] = len(peer.arrivals._watchers) - may_fire(book, peer.node, node.id)
    return held


def may_fire(book: Book, watching: str, watched: str) -> int:
    """Give how many monitors of one node for another may still fire."""
    return sum(
        not m.reasons and not m.demonitored and m.watcher not in book.ended
        for m in book.monitors.values()
        if m.pid.node == watched and node_of(m.watcher) == watching
    )


def surplus_replicas(world: World, peer: object) -> int:
    """Give how many replicas of another node's audiences are kept that have no owner."""
    owner = next((other for other in world.nodes if other.id == peer.node), None)
    return 0 if owner is None else len(set(peer.arrivals._replicas) - set(owner.cluster.audiences))
