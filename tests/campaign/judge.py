"""What came of a schedule against what was promised."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import manifold
from manifold.delivery.worker import Worker
from tests.campaign.book import Book, node_of
from tests.campaign.members import AsyncMember
from tests.campaign.senders import CRASHES

if TYPE_CHECKING:
    from manifold.testing import Fault
    from tests.campaign.world import World

__all__ = ["judge"]

ANSWERS: dict[str, tuple[type[BaseException], ...]] = {
    name: (kind, manifold.RemoteError, manifold.NodeDown) for name, kind in CRASHES.items()
}
"""What an asker may be told of a crash; NodeDown where the answer was lost."""


def judge(world: World) -> Counter[str]:
    """Note in the book all that is wrong; give how many messages were lost, doubled and reordered."""
    book = world.book
    world.reconcile()
    found = messages(world)
    for node in world.nodes:
        sums(world, node)
        leftovers(world, node)
        events(world, node)
    receipts(world)
    answers(world)
    monitors(world)
    audiences(world)
    for member in world.members:
        if member.is_busy and str(member.pid) not in book.ended:
            book.fail(f"{member.name} is still busy")
    return found


# Messages.


def messages(world: World) -> Counter[str]:
    """Nothing is doubled, reordered or made up, and lost only what is allowed to be."""
    found: Counter[str] = Counter()
    for fault in world.book.checker.faults():
        kind = {"duplicated": "doubled"}.get(fault.kind, fault.kind)
        if kind == "after end" and node_of(str(fault.recipient)) in world.book.stopped:
            continue  # its worker stood still until the stop gave up on it; what it had begun by then, it may end
        if kind != "lost" or not may_be_lost(world, fault):
            found[kind] += 1
            world.book.fail(str(fault))
    return found


def may_be_lost(world: World, fault: Fault) -> bool:
    """Tell whether the contract allows a loss: the two nodes lost each other, or a queue was full."""
    book, sender, recipient = world.book, node_of(str(fault.sender)), node_of(str(fault.recipient))
    at = book.sent_at[str(fault.sender), fault.sequence]
    if world.plan.is_tight or (sender != recipient and not book.stayed_up(sender, recipient, at)):
        return True
    if sender in book.killed | book.stopped:
        # What it had under way went with it; it was the last of what it sent.
        pair = book.checker._pairs[fault.sender, fault.recipient]
        return all(number < fault.sequence for number in pair.arrived)
    return False


def sums(world: World, node: manifold.Node) -> None:
    """All that a node sent is accounted for, and what it counts as delivered was handled."""
    book, stats = world.book, node.stats()
    if stats.in_flight:
        book.fail(f"{node.id}: {stats.in_flight} in flight for ever: {stats}")
    if stats.sent != book.sent[node.id]:
        book.fail(f"{node.id} counts {stats.sent} as sent, which were {book.sent[node.id]}")
    handled = book.handled[node.id]
    lossless = not book.saw_any_down(node.id)
    if stats.delivered > handled + cut_short(world) or (lossless and stats.delivered != handled):
        book.fail(f"{node.id} counts {stats.delivered} as delivered, which were {handled}: {stats}")
    if not world.plan.is_tight and stats.shed:
        book.fail(f"{node.id} shed {stats.shed}, with room for all")


def cut_short(world: World) -> int:
    """Give how many `async def` handlers may have been called, which counts as delivered, on a node that was killed
    before they began.
    """
    return sum(isinstance(m, AsyncMember) and m.pid.node in world.book.killed for m in world.members)


def receipts(world: World) -> None:
    """Every receipt is complete, and tells what happened."""
    book = world.book
    for received in book.receipts:
        if received.node not in world.nodes:
            continue
        name = f"the receipt of {received.sender} for {received.sequence}"
        if not received.receipt.done():
            book.fail(f"{name} is never complete: {received.receipt!r}")
            continue
        outcomes = received.receipt.get(timeout=0).values()
        if sum(sum(outcome.values()) for outcome in outcomes) != received.recipients:
            book.fail(f"{name} speaks of others than {received.recipients}: {received.receipt!r}")
        delivered = sum(outcome.delivered for outcome in outcomes)
        copies = book.copies[received.sender, received.sequence]
        if delivered > copies + cut_short(world) or (delivered < copies and not book.saw_any_down(received.node.id)):
            book.fail(f"{name} counts {delivered} delivered, which were {copies}: {received.receipt!r}")


def answers(world: World) -> None:
    """Every question has ended, with the answer or a reason."""
    book = world.book
    for asked in book.asked:
        if asked.node not in world.nodes:
            continue
        if not asked.future.is_set():
            book.fail(f"{asked.node.id} asked {asked.pid} {asked.message} at {asked.at:.4f} and never heard")
            continue
        value, error = asked.future._result
        _, number, what, arg = asked.message
        crashed = what == "crash" and book.copies[asked.message[:2]]
        odd = what == "asked oddly" and type(value) is object and asked.pid.node == asked.node.id
        if error is None and (crashed or (value != number and not odd)):
            book.fail(f"{asked.node.id} asked {asked.pid} {asked.message} and got {value!r}")
        if error is not None and crashed and not isinstance(error[1], ANSWERS[arg]):
            book.fail(f"{asked.node.id} asked {asked.pid} {asked.message} and was told {error[1]!r}")


def monitors(world: World) -> None:
    """Every monitor has fired once, if there was a reason, and never without."""
    book = world.book
    for monitored in book.monitors.values():
        target = str(monitored.pid)
        times = len(monitored.reasons)
        name = f"the monitor of {monitored.watcher} for {target}, made at {monitored.at:.4f},"
        if times > 1:
            book.fail(f"{name} fired {times} times: {monitored.reasons}")
        if times == 1 and monitored.reasons[0] != "node down" and target not in book.ended:
            book.fail(f"{name} fired for nothing: {monitored.reasons}")
        if times or monitored.demonitored or monitored.watcher in book.ended:
            continue
        watcher = node_of(monitored.watcher)
        if target in book.ended or book.saw_down(watcher, monitored.pid.node, monitored.at):
            book.fail(f"{name} never fired")


def audiences(world: World) -> None:
    """In every audience is who should be, and nobody else."""
    members = {member.name: member for member in world.members}
    sources = [*world.sources, *(m.source for m in members.values() if m.name not in world.book.ended)]
    for source in sources:
        for listed in source.lists:
            there = set(listed.now())
            due = {pid for pid in listed.members if str(pid) not in world.book.ended}
            if there != due:
                more, less = sorted(there - due), sorted(due - there)
                world.book.fail(f"an audience of {source.name} has {more[:3]} too many and lacks {less[:3]}")


def events(world: World, node: manifold.Node) -> None:
    """A node told of every change, in order."""
    seen = [(change.other, change.reason) for change in world.simulation.history if change.node == node.id]
    told = world.book.events[node.id]
    if told != seen:
        world.book.fail(f"{node.id} told {told} of {seen}")


# Nothing is kept for nobody.


def leftovers(world: World, node: manifold.Node) -> None:
    """A node that has nothing to do holds nothing; what it says to others now and then may be under way."""
    for _ in range(20):
        held = {what: number for what, number in holdings(world, node).items() if number}
        if not held:
            return
        world.simulation.run(0.05)
    for what, number in held.items():
        world.book.fail(f"{node.id} is left with {what}: {number}")


def holdings(world: World, node: manifold.Node) -> dict[str, int]:
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
        "peers beside those up": len(node.cluster.peers) - len(hub._by_node),
    }
    for peer in hub._by_node.values():
        held[f"questions to {peer.node}"] = len(peer._asks)
        held[f"receipts from {peer.node}"] = len(peer._receipts)
        held[f"frames to {peer.node}"] = peer.link.unacked + len(peer.stuck)
        held[f"waiting bytes of {peer.node}"] = peer.tally.waiting_bytes
        held[f"monitors of {peer.node}"] = len(peer._monitors) - may_fire(world.book, node.id, peer.node)
        held[f"replicas for {peer.node}"] = surplus_replicas(world, node, peer)
        held[f"watchers of {peer.node}"] = len(peer.arrivals._watchers) - may_fire(world.book, peer.node, node.id)
    return held


def may_fire(book: Book, watching: str, watched: str) -> int:
    """Give how many monitors of one node for another may still fire."""
    return sum(
        not m.reasons and not m.demonitored and m.watcher not in book.ended
        for m in book.monitors.values()
        if m.pid.node == watched and node_of(m.watcher) == watching
    )


def surplus_replicas(world: World, node: manifold.Node, peer: object) -> int:
    """Give how many replicas of another node's audiences are kept that have no owner."""
    owner = next((other for other in world.nodes if other.id == peer.node), None)
    return 0 if owner is None else len(set(peer.arrivals._replicas) - set(owner.cluster.audiences))
