"""What the ordering suite is played with: recipients of each kind, senders of each kind, and gates that hold them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import manifold
from manifold.testing import Checker

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 10.0
"""How long anything may take before it counts as stuck."""


class Crashed(Exception):
    """What a handler raises on command."""


CRASHES: dict[str, type[BaseException]] = {
    "Crashed": Crashed,
    "MemoryError": MemoryError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
}


class Message(NamedTuple):
    """What is sent; as a plain tuple, so that it can also be encoded."""

    sender: str
    sequence: int
    what: str = ""
    victim: manifold.PID | None = None


class Gate:
    """While closed it holds handlers that come to it: plain ones block, `async def` ones await."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._future: manifold.Future[None] = manifold.Future()

    def open(self) -> None:
        if not self._opened.is_set():
            self._opened.set()
            self._future.set(None)

    def block(self) -> None:
        assert self._opened.wait(PATIENCE_S), "a gate was never opened"

    async def wait(self) -> None:
        await self._future


class World:
    """What recipients and senders share."""

    def __init__(self) -> None:
        self.checker = Checker()
        self.gate = Gate()
        self.gate.open()
        self.errors: list[str] = []
        self.names: dict[manifold.PID, str] = {}
        self.refs: dict[str, manifold.ActorRef[Any]] = {}
        self.fired: dict[tuple[str, int], threading.Event] = {}
        self._lock = threading.Lock()
        self._handled = 0

    def close_gate(self) -> None:
        self.gate.open()
        self.gate = Gate()

    def handled(self) -> None:
        """Count a message whose handler was called, as the node's `delivered` does."""
        with self._lock:
            self._handled += 1

    @property
    def delivered(self) -> int:
        with self._lock:
            return self._handled

    def fail(self) -> None:
        """Note the exception that is being handled."""
        self.errors.append(traceback.format_exc())


class Recipient(manifold.Actor):
    """Notes what arrives, and that it is handled one at a time; does what the message says."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.busy = False
        self.ready = True
        world.names[self.pid] = name
        world.refs[name] = self.actor_ref

    def on_receive(self, message: Any) -> Any:
        message = self.enter(message)
        try:
            if message.what == "gate":
                self.world.gate.block()
            return self.done(message)
        finally:
            self.busy = False

    def enter(self, message: Any) -> Message:
        self.world.handled()
        message = Message(*message)
        self.world.checker.arrived(self.name, message.sender, message.sequence)
        self.fine(not self.busy, "two messages at a time")
        self.fine(self.ready, "a message before on_start was through")
        self.busy = True
        return message

    def fine(self, condition: bool, what: str) -> None:
        if not condition:
            self.world.errors.append(f"{self.name}: {what}")

    def done(self, message: Message) -> int:
        if message.victim == self.pid:
            if message.what not in ("ask Crashed", "ask MemoryError"):
                self.world.checker.ended(self.name)
            raise CRASHES[message.what.split()[-1]](message.sequence)
        return message.sequence

    def note(self, sender: str, sequence: int) -> int:
        """For proxies."""
        self.enter((sender, sequence))
        self.busy = False
        return sequence

    def on_stop(self) -> Any:
        self.fine(not self.busy, "stopped while it handles a message")
        self.world.checker.ended(self.name)


class Plain(Recipient):
    """An actor with nothing special."""


class Starting(Recipient):
    """One with an `on_start`."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.ready = False

    def on_start(self) -> None:
        self.ready = True


class Slow(Starting):
    """One whose constructor gives its PID away and takes its time."""

    def __init__(self, world: World, name: str, known: threading.Event, go_on: threading.Event) -> None:
        super().__init__(world, name)
        known.set()
        assert go_on.wait(PATIENCE_S)


class Async(Recipient):
    """One with an `async def` handler that awaits."""

    async def on_receive(self, message: Any) -> Any:
        message = self.enter(message)
        try:
            if message.what == "gate":
                await self.world.gate.wait()
            elif message.what == "yield":
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            return self.done(message)
        finally:
            self.busy = False


class AsyncHooks(Async):
    """One whose hooks await too."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.ready = False

    async def on_start(self) -> None:
        await asyncio.sleep(0)
        self.ready = True

    async def on_stop(self) -> None:
        await asyncio.sleep(0)
        super().on_stop()


KINDS: dict[str, type[Recipient]] = {"plain": Plain, "starting": Starting, "async": Async, "async hooks": AsyncHooks}


class Sender:
    """Does what it is told, one thing after the other. It is given itself, for it keeps the state."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.sequence = 0
        self.audiences: dict[int, tuple[manifold.Audience, dict[manifold.PID, None]]] = {}

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def tell(self, act: Callable[[Sender], None]) -> None:
        raise NotImplementedError

    def do(self, act: Callable[[Sender], None]) -> None:
        try:
            act(self)
        except BaseException:
            self.world.fail()

    def caught_up(self) -> threading.Event:
        """Give an event that is set when all it was told is done."""
        event = threading.Event()
        self.tell(lambda _: event.set())
        return event

    def close(self) -> None:
        pass


class ThreadSender(Sender):
    """A thread."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._acts: queue.SimpleQueue[Callable[[Sender], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (act := self._acts.get()) is not None:
            self.do(act)

    def tell(self, act: Callable[[Sender], None]) -> None:
        self._acts.put(act)

    def close(self) -> None:
        self._acts.put(None)
        self._thread.join(PATIENCE_S)


class TaskLoop:
    """An event loop in a thread, with tasks that are senders."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


class TaskSender(Sender):
    """An asyncio task outside of any actor."""

    def __init__(self, world: World, name: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(world, name)
        self._loop = loop
        self._acts: asyncio.Queue[Callable[[Sender], None] | None] = asyncio.Queue()
        self._task = asyncio.run_coroutine_threadsafe(self._run(), loop)

    async def _run(self) -> None:
        while (act := await self._acts.get()) is not None:
            self.do(act)
            await asyncio.sleep(0)

    def tell(self, act: Callable[[Sender], None]) -> None:
        self._loop.call_soon_threadsafe(self._acts.put_nowait, act)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._acts.put_nowait, None)
        self._task.result(PATIENCE_S)


class _Sending(manifold.Actor):
    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    def on_receive(self, act: Callable[[Sender], None]) -> None:
        self.sender.world.handled()
        self.sender.do(act)


class _SendingAsync(manifold.Actor):
    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    async def on_receive(self, act: Callable[[Sender], None]) -> None:
        self.sender.world.handled()
        await asyncio.sleep(0)
        self.sender.do(act)
        await asyncio.sleep(0)


class ActorSender(Sender):
    """An actor that sends in its handler."""

    kind: type[manifold.Actor] = _Sending

    def __init__(self, world: World, name: str, node: manifold.Node) -> None:
        super().__init__(world, name)
        self._node = node
        self._pid = node.spawn(self.kind, self)

    def tell(self, act: Callable[[Sender], None]) -> None:
        self._node.send(self._pid, act)


class AsyncActorSender(ActorSender):
    """An actor that sends in an `async def` handler, between awaits."""

    kind = _SendingAsync


class Witness(manifold.Actor):
    """Answers. When the witnesses of all workers have answered, what was queued before has been handled."""

    def __init__(self, world: World) -> None:
        self.world = world

    def on_receive(self, message: Any) -> Any:
        self.world.handled()
        if type(message) is tuple:
            self.world.fired[message[:2]].set()
        return message


def answer(future: manifold.Future[Any]) -> Any:
    """Wait for an answer; give the exception, if it is one."""
    with contextlib.suppress(manifold.AskTimeout):
        try:
            return future.get(timeout=PATIENCE_S)
        except manifold.AskTimeout:
            raise
        except BaseException as error:
            return error
    return manifold.AskTimeout("no answer")
