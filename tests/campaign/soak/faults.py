"""The faults of a soak. Each happens, is seen to have happened, and is over when its function returns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.campaign.soak.nodes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaign.soak.nodes import Nodes, Running
    from tests.campaign.soak.run import Soak

__all__ = ["FAULTS", "MORTAL", "Unseen", "meet"]

MEET_S = 60.0
"""How long nodes may take to see each other again, on a machine that has other things to do."""


class Unseen(Exception):
    """What was done had no effect, or its effect did not end."""


def cut(soak: Soak, node: Running) -> str:
    """Break all connections to a node, in the middle of what is on its way."""
    proxy = soak.nodes.places[node.name].proxy
    before = proxy.broken
    proxy.break_all()
    _see(lambda: proxy.broken > before, "no connection broke")
    return f"{proxy.broken - before} connections broke"


def pause(soak: Soak, node: Running) -> str:
    """Stop a process for less than what makes it count as down."""
    node.pause()
    time.sleep(0.4 * soak.down_after_s)
    node.resume()
    return f"stood still for {0.4 * soak.down_after_s:.1f} s"


def long_pause(soak: Soak, node: Running) -> str:
    """Stop a process until the others count it as down."""
    others = [other for other in soak.nodes if other is not node]
    node.pause()
    try:
        _see(lambda: all(node.id not in other.tell("look")["nodes"] for other in others), "it never was down")
    finally:
        node.resume()
    return "was down for the others"


def kill(soak: Soak, node: Running) -> str:
    """End a process at once, and start another of its name at its place."""
    node.kill()
    soak.ended(node, None)
    soak.start(node.name)
    return "another has taken its place"


def restart(soak: Soak, node: Running) -> str:
    """Stop a node in order, in the middle of its traffic, and start another of its name."""
    last = node.tell("stop")
    soak.ended(node, last)
    soak.start(node.name)
    return f"stopped with {last['stats']['sent']:,} sent; another has taken its place"


def resize(soak: Soak, node: Running) -> str:
    """Go through several numbers of workers, and back."""
    for workers in (4, 1, 3, 2):
        node.tell("resize", workers)
        time.sleep(0.05 * soak.down_after_s)
    return "2, 4, 1, 3, 2 workers"


def slow(soak: Soak, node: Running) -> str:
    """Have some actors take nothing for a while: one blocks its worker, others let their mailboxes fill."""
    before = sum(other.tell("look")["stats"]["shed"] for other in soak.nodes)
    node.tell("block", 0.5 * soak.down_after_s)
    time.sleep(0.5 * soak.down_after_s)
    _see(lambda: sum(other.tell("look")["stats"]["shed"] for other in soak.nodes) > before, "no mailbox was full")
    return "actors took nothing, and mailboxes were full"


def fill(soak: Soak, node: Running) -> str:
    """Send to a node that stands still until the outbox to it is full; again if it was thought dead before that."""
    sender = next(other for other in soak.nodes if other is not node)
    taken: list[int | None] = []

    def is_full() -> bool:
        meet(soak.nodes)
        node.pause()
        try:
            taken.append(sender.tell("fill", node.id))
        finally:
            node.resume()
        return taken[-1] is not None

    _see(is_full, "its outbox was never full")
    return f"the outbox to it was full after {taken[-1]} messages of 64 KiB"


def _see(holds: Callable[[], bool], otherwise: str) -> None:
    if until(holds, MEET_S) is None:
        raise Unseen(otherwise)


def meet(nodes: Nodes) -> float:
    """Wait until all nodes see each other; give how many seconds that took."""
    took = until(nodes.have_met, MEET_S)
    if took is None:
        raise Unseen("the nodes do not see each other: " + str({node.id: node.tell("look")["nodes"] for node in nodes}))
    return took


FAULTS: dict[str, Callable[[Soak, Running], str]] = {
    "connections cut": cut,
    "short pause": pause,
    "long pause": long_pause,
    "kill": kill,
    "restart": restart,
    "resize": resize,
    "slow receiver": slow,
    "outbox filled": fill,
}
MORTAL = ("kill", "restart")
"""What a node does not live through."""
