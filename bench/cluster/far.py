"""The receiving nodes: each in a process of its own, where a foreman does what the driver asks it to.

The child is `python -m bench.cluster.far NAME JOIN LIMITS-JSON`, with a server of NATS to join, too.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import manifold
from bench.cluster.child import Child, until_driver_ends
from bench.contenders import MESSAGE, WAIT_S, ManifoldSession, Miscounted, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from manifold import PID

__all__ = ["Crew", "FarNode", "all_settled", "far_nodes"]

_LISTEN = "tcp://127.0.0.1:0"


class Slow(ManifoldSession):
    """Counts, and keeps the processor busy for as long as the foreman was told."""

    burn_s = 0.0

    def on_receive(self, message: Any) -> None:
        """Count, and burn."""
        until = time.perf_counter() + self.burn_s
        super().on_receive(message)
        while time.perf_counter() < until:
            pass


class Echo(manifold.Actor):
    """Answers with the question."""

    def on_receive(self, message: Any) -> Any:
        """Give it back."""
        return message


class Pong(manifold.Actor):
    """Sends each message back to the actor whose PID stands first in it."""

    def on_receive(self, message: Any) -> None:
        """Send it back."""
        manifold.send(message[0], message)


_KINDS: dict[str, type[manifold.Actor]] = {"session": ManifoldSession, "slow": Slow, "echo": Echo, "pong": Pong}


class Foreman(manifold.Actor):
    """Does what the driver asks: starts crews of actors that count, runs the floor over them, tells what they got."""

    def __init__(self) -> None:
        super().__init__()
        self.crews: dict[int, list[Any]] = {}
        self.orders: dict[str, Callable[..., Any]] = {
            "spawn": self.spawn,
            "hire": self.hire,
            "dismiss": self.dismiss,
            "floor": self.floor,
            "counts": self.counts,
            "received": self.received,
            "burn": self.burn,
            "collect": gc.collect,
            "cpu_s": time.process_time,
        }

    def on_receive(self, message: Any) -> Any:
        """Do it, and answer."""
        order, *arguments = message
        return self.orders[order](*arguments)

    def spawn(self, kind: str) -> PID:
        """Start one actor."""
        return _KINDS[kind].start().pid

    def hire(self, number: int, kind: str, size: int) -> list[PID]:
        """Start a crew under this number; the collector leaves it alone from now on."""
        crew = self.crews[number] = []
        pids = [_KINDS[kind].start(crew).pid for _ in range(size)]
        gc.collect()
        gc.freeze()
        return pids

    def dismiss(self, number: int) -> None:
        """Stop a crew."""
        gc.unfreeze()
        for actor in self.crews.pop(number):
            actor.actor_ref.stop(block=False)

    def floor(self, number: int, sends: int) -> list[float]:
        """Call the handler of each in a bare loop, so often, and give the seconds of each time."""
        crew = self.crews[number]
        return timed(sends, lambda: _call_all(crew))

    def received(self, number: int) -> list[int]:
        """Give how many messages each has received, in the order of their PIDs."""
        return [actor.received for actor in self.crews[number]]

    def counts(self, number: int) -> tuple[int, int, int]:
        """Give how many there are, and the least and the most that one received."""
        received = self.received(number)
        return len(received), min(received), max(received)

    def burn(self, seconds: float) -> None:
        """Set how long the slow ones take for a message."""
        Slow.burn_s = seconds


def _call_all(crew: list[Any]) -> None:
    message = MESSAGE
    for actor in crew:
        actor.on_receive(message)


class FarNode:
    """A node in a process of its own, joined to the current node of this one; by way of a server, if one is given."""

    def __init__(self, name: str, limits: dict[str, int], transport: str | None = None) -> None:
        node = manifold.current_node()
        assert isinstance(node, manifold.Node)
        self._child = Child("bench.cluster.far", name, transport or node.address, json.dumps(limits))
        self._foreman = manifold.PID.parse(self._child.line)
        self.id = self._foreman.node
        self.process = self._child.process.pid
        deadline = time.monotonic() + WAIT_S
        while self.id not in node.nodes():
            if time.monotonic() > deadline:
                self.close()
                msg = f"{self.id} did not join within {WAIT_S:g} s"
                raise TimeoutError(msg)
            time.sleep(0.001)

    def order(self, *order: Any) -> Any:
        """Have the foreman do something, and give the answer."""
        return manifold.ask(self._foreman, list(order), timeout=WAIT_S).get()

    def close(self) -> None:
        """End the process."""
        self._child.close()


@contextmanager
def far_nodes(number: int = 1, limits: dict[str, int] | None = None) -> Iterator[list[FarNode]]:
    """Start the default node and so many others, all with these limits; they end with the block."""
    limits = limits or {}
    manifold.start("near", listen=_LISTEN, limits=manifold.Limits(**limits))
    with ExitStack() as stack:
        stack.callback(manifold.stop)
        nodes = []
        for index in range(number):
            nodes.append(FarNode(f"far-{index + 1}", limits))
            stack.callback(nodes[-1].close)
        yield nodes


class Crew:
    """Actors of a far node that count; `sent` is what each of them must have received by now."""

    _numbers = itertools.count(1)

    def __init__(self, far: FarNode, recipients: int, kind: str = "session") -> None:
        self.far = far
        self.recipients = recipients
        self.sent = 0
        self._number = next(self._numbers)
        self.pids: Sequence[PID] = self.order("hire", kind, recipients)

    def order(self, order: str, *arguments: Any) -> Any:
        """Have the foreman do something with them."""
        return self.far.order(order, self._number, *arguments)

    def received(self, sends: int, name: str) -> None:
        """So many more were sent to each: raise Miscounted unless each received exactly those."""
        self.sent += sends
        number, least, most = self.order("counts")
        if (number, least, most) != (self.recipients, self.sent, self.sent):
            msg = (
                f"{name}: {self.recipients} recipients should have received {self.sent} messages each; "
                f"{number} received from {least} to {most}"
            )
            raise Miscounted(msg)

    def close(self) -> None:
        """Stop them."""
        self.order("dismiss")


def all_settled() -> None:
    """Wait until every recipient of every send is accounted for. No receipt: its answer would have to travel, too."""
    node = manifold.current_node()
    deadline = time.monotonic() + WAIT_S
    while in_flight := node.stats().in_flight:
        if time.monotonic() > deadline:
            msg = f"{in_flight} messages were not accounted for within {WAIT_S:g} s"
            raise Miscounted(msg)
        time.sleep(0.0002)


def _main(name: str, join: str, limits: str) -> None:
    over: dict[str, Any] = {"transport": join} if join.startswith("nats:") else {"listen": _LISTEN, "join": [join]}
    node = manifold.start(name, **over, limits=manifold.Limits(**json.loads(limits)))
    until_driver_ends(str(node.spawn(Foreman)))
    manifold.stop()


if __name__ == "__main__":
    _main(*sys.argv[1:])
