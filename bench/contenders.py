"""The ways to hand one message to many recipients, under one protocol and with one handler.

Every contender counts what each recipient received: after each burst a single message lost or doubled is an
error, so that a way that loses messages cannot look fast.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pykka

import manifold
from bench.turns import Burst

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "MESSAGE",
    "WAIT_S",
    "Audiences",
    "Contender",
    "Floor",
    "Lists",
    "ManifoldSession",
    "Miscounted",
    "Queues",
    "ReceivedLists",
    "Session",
    "ThreadSession",
    "Threads",
    "check",
    "sends_to",
    "settle",
    "timed",
]

WAIT_S = 120.0

# About 300 bytes, in the shape of Discord's PRESENCE_UPDATE.
MESSAGE: dict[str, Any] = {
    "op": 0,
    "t": "PRESENCE_UPDATE",
    "s": 48_211,
    "d": {
        "user": {"id": "175928847299117063"},
        "guild_id": "41771983423143937",
        "status": "online",
        "client_status": {"desktop": "online", "mobile": "idle"},
        "activities": [
            {"name": "Rocket League", "type": 0, "state": "In a match", "timestamps": {"start": 1507665886}}
        ],
    },
}


class Miscounted(Exception):
    """A contender said that it was done, and some recipient had not received every message exactly once."""


class Contender(ABC):
    """One way to send, with its own recipients; `burst` may be called as often as one likes, then `close`."""

    name: str

    def __init__(self, recipients: int) -> None:
        self.recipients = recipients
        self.crew: list[Any] = []
        self.sent = 0
        self.open()

    @abstractmethod
    def open(self) -> None:
        """Start the recipients; each puts itself into `self.crew`."""

    @abstractmethod
    def run(self, sends: int) -> list[float]:
        """Send so often to all, wait until all was handled, and give the seconds of each call."""

    @abstractmethod
    def close(self) -> None:
        """Stop the recipients."""

    def burst(self, sends: int) -> Burst:
        """Measure `sends` sends in a row; Miscounted if one of them was not handled by every recipient."""
        began = time.perf_counter()
        calls = self.run(sends)
        seconds = time.perf_counter() - began
        self.sent += sends
        check(self.name, self.crew, self.recipients, self.sent)
        return Burst(sends * self.recipients / seconds, calls)


def check(name: str, crew: Sequence[Any], recipients: int, sent: int) -> None:
    """Raise Miscounted unless there are `recipients` and each counted exactly `sent` messages."""
    wrong = [session.received for session in crew if session.received != sent]
    if wrong or len(crew) != recipients:
        few = f", from {min(wrong)} to {max(wrong)}" if wrong else ""
        msg = f"{name}: {len(wrong)} of {len(crew)} (of {recipients}) did not receive {sent} messages each{few}"
        raise Miscounted(msg)


def timed(sends: int, send: Callable[[], object]) -> list[float]:
    """Call `send` so often, back to back, and give the seconds of each call."""
    clock = time.perf_counter
    calls = []
    for _ in range(sends):
        began = clock()
        send()
        calls.append(clock() - began)
    return calls


class Session:
    """The recipient as plain Python; the others do the same in `on_receive`."""

    def __init__(self, crew: list[Any]) -> None:
        self.received = 0
        crew.append(self)

    def on_receive(self, message: Any) -> None:  # noqa: ARG002
        """Count."""
        self.received += 1


class ThreadSession(pykka.ThreadingActor):
    """The recipient as Pykka's own thread actor."""

    def __init__(self, crew: list[Any]) -> None:
        super().__init__()
        self.received = 0
        crew.append(self)

    def on_receive(self, message: Any) -> None:  # noqa: ARG002
        """Count."""
        self.received += 1


class ManifoldSession(manifold.Actor):
    """The recipient as an actor of this library."""

    def __init__(self, crew: list[Any]) -> None:
        super().__init__()
        self.received = 0
        crew.append(self)

    def on_receive(self, message: Any) -> None:  # noqa: ARG002
        """Count."""
        self.received += 1


class Floor(Contender):
    """What no library can be faster than in Python: a loop that calls each handler."""

    name = "bare loop (floor)"

    def open(self) -> None:
        """Make the objects."""
        for _ in range(self.recipients):
            Session(self.crew)

    def run(self, sends: int) -> list[float]:
        """Call every handler; nothing is left to wait for."""
        return timed(sends, self._call_all)

    def _call_all(self) -> None:
        message = MESSAGE
        for actor in self.crew:
            actor.on_receive(message)

    def close(self) -> None:
        """Drop the objects."""
        self.crew.clear()


class Threads(Contender):
    """A thread per recipient: Pykka's ThreadingActor and a loop of `tell`."""

    name = "Pykka threads, tell loop"

    def open(self) -> None:
        """Start the threads."""
        self.refs = [ThreadSession.start(self.crew) for _ in range(self.recipients)]

    def run(self, sends: int) -> list[float]:
        """Tell every actor, then wait for each of them in turn."""
        calls = timed(sends, self._tell_all)
        for actor in self.crew:
            while actor.received < self.sent + sends:
                time.sleep(0.0005)
        return calls

    def _tell_all(self) -> None:
        message = MESSAGE
        for ref in self.refs:
            ref.tell(message)

    def close(self) -> None:
        """Stop the threads."""
        for future in [ref.stop(block=False) for ref in self.refs]:
            future.get(timeout=WAIT_S)


class Queues(Contender):
    """A task and a queue per recipient on one asyncio loop, the sender on that loop too."""

    name = "asyncio, queue and task each"

    def open(self) -> None:
        """Start the tasks on a loop of their own; it runs during bursts only."""
        self.loop = asyncio.new_event_loop()
        self.queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(self.recipients)]
        self.tasks = [self.loop.create_task(_consume(queue, Session(self.crew))) for queue in self.queues]
        self.loop.run_until_complete(asyncio.sleep(0))

    def run(self, sends: int) -> list[float]:
        """Put into every queue, then let the tasks run until the last of them has handled all."""
        return self.loop.run_until_complete(self._run(sends))

    async def _run(self, sends: int) -> list[float]:
        calls = timed(sends, self._put_all)
        # Polled: an event would cost every task something.
        while self.crew[-1].received < self.sent + sends:  # noqa: ASYNC110
            await asyncio.sleep(0)
        return calls

    def _put_all(self) -> None:
        message = MESSAGE
        for queue in self.queues:
            queue.put_nowait(message)

    def close(self) -> None:
        """Cancel the tasks and close the loop."""
        for task in self.tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        self.loop.close()


async def _consume(queue: asyncio.Queue[Any], session: Session) -> None:
    while True:
        session.on_receive(await queue.get())


class _Manifold(Contender):
    """What the forms of manifold share: the actors, and the last send's receipt as the end of a burst."""

    to: Any

    def open(self) -> None:
        """Start the actors on the default node, which must run."""
        self.refs = [ManifoldSession.start(self.crew) for _ in range(self.recipients)]
        self.to = [ref.pid for ref in self.refs]

    def run(self, sends: int) -> list[float]:
        """Send to all until they have handled it."""
        return sends_to(self.to, sends)

    def close(self) -> None:
        """Stop the actors."""
        for future in [ref.stop(block=False) for ref in self.refs]:
            future.get(timeout=WAIT_S)


class Lists(_Manifold):
    """`manifold.send(pids, message)`."""

    name = "manifold, list"


class ReceivedLists(_Manifold):
    """The same with PIDs that came in messages: equal to those of the actors, not the same objects."""

    name = "manifold, list of received PIDs"

    def open(self) -> None:
        """Start the actors and make new PIDs of their text."""
        super().open()
        self.to = [manifold.PID.parse(str(pid)) for pid in self.to]


class Audiences(_Manifold):
    """`manifold.send(audience, message)`."""

    name = "manifold, audience"

    def open(self) -> None:
        """Start the actors and gather them in an audience."""
        super().open()
        self.to = manifold.Audience(self.to)

    def close(self) -> None:
        """Close the audience, then stop the actors."""
        self.to.close()
        super().close()


def sends_to(to: Any, sends: int) -> list[float]:
    """Send, the last time with a receipt, which is there when the last handler returned; the seconds of each call."""
    calls = timed(sends - 1, lambda: manifold.send(to, MESSAGE))
    began = time.perf_counter()
    receipt = manifold.send(to, MESSAGE, receipt=True)
    calls.append(time.perf_counter() - began)
    settle(receipt)
    return calls


def settle(receipt: Any) -> Any:
    """Wait until every recipient of that send has handled it, and give the outcome."""
    return receipt.get(timeout=WAIT_S)
