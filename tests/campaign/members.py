"""Who is sent to in a schedule: actors of several kinds, that note what arrives and do what they are told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import manifold
from manifold.actors import ActorDeadError, AskTimeout
from manifold.errors import ManifoldError
from tests.campaign.senders import CRASHES, Crashed, Source

if TYPE_CHECKING:
    from tests.campaign.world import World

__all__ = ["KINDS", "TIGHT", "AsyncMember", "Member", "Unmade", "spawned"]


class Member(manifold.Actor):
    """Notes what arrives, and does what it is told to."""

    def __init__(self, world: World, node: manifold.Node) -> None:
        self.world = world
        self.book = world.book
        self.name = str(self.pid)
        self.source = Source(world, node, self.name)
        self.is_busy = False
        self.is_ready = True
        self.refs: list[manifold.MonitorRef] = []

    def on_receive(self, message: Any) -> Any:
        if self.enter(message):
            try:
                self.obey(message)
            finally:
                self.is_busy = False
        if type(message) is not tuple:
            return None
        return object() if message[2] == "asked oddly" else message[1]

    def enter(self, message: Any) -> bool:
        """Note what has arrived; False for a Down, with which nothing is to be done."""
        if not self.is_ready:
            self.book.fail(f"{self.name} handles a message before it has begun")
        if self.is_busy:
            self.book.fail(f"{self.name} handles two messages at a time")
        if isinstance(message, manifold.Down):
            self.book.down(self.name, message)
            return False
        if type(message) is not tuple or len(message) != 4:
            self.book.fail(f"{self.name} got {message!r}")
            return False
        self.is_busy = True
        self.book.arrived(self.name, message[0], message[1])
        return True

    def obey(self, message: Any) -> None:
        _, number, what, arg = message
        match what:
            case "act":
                self.act(arg)
            case "crash":
                self.say_last_words()
                raise CRASHES[arg](number)
            case "work":
                self.world.work(arg)
            case "crash the loop":
                asyncio.get_running_loop().call_soon(_raise, CRASHES[arg])
            case "stop yourself":
                self.stop()
            case "stop the node":
                self.stop_node()
            case "monitor":
                self.watch(arg)
            case "demonitor":
                self.unwatch()
            case "watched":
                self.world.watchers[self.name].append(arg)

    def stop_node(self) -> None:
        self.source.node.stop()

    def act(self, number: int) -> None:
        if self.source.random.random() < 0.2:
            self.watch(self.world.any_pid(self.source.random))
        self.source.some(number)

    def say_last_words(self) -> None:
        """Send to those who are about to be told that this one has ended."""
        for watcher in self.world.watchers[self.name]:
            if self.source.random.random() < 0.8:
                modes = self.source.modes() or {"send_mode": "offload"}
                self.source.command(watcher, "", modes=modes)

    def watch(self, pid: manifold.PID) -> None:
        ref = self.monitor(pid)
        self.book.monitored(ref, self.name, pid)
        self.refs.append(ref)
        self.world.watched(self.source, pid)

    def unwatch(self) -> None:
        if self.refs:
            ref = self.refs.pop(self.source.random.randrange(len(self.refs)))
            self.demonitor(ref)
            self.book.demonitored(ref)

    def on_stop(self) -> None:
        self.book.end(self.name)

    def on_failure(self, *_: Any) -> None:
        self.book.end(self.name)


class AsyncMember(Member):
    """One whose handler awaits, in the middle of what it does."""

    async def on_receive(self, message: Any) -> Any:  # type: ignore[override]
        if not self.enter(message):
            return None
        try:
            await self.rest()
            if message[2] == "act":
                for _ in range(message[3]):
                    self.act(1)
                    await self.rest()
                await self.inquire()
            else:
                self.obey(message)
        finally:
            self.is_busy = False
        return message[1]

    def stop_node(self) -> None:
        node = self.source.node
        if node.worker_kind == "loop":
            self.world.task(node, node.aclose())
        else:
            node.stop()

    async def rest(self) -> None:
        match self.source.random.randrange(4):
            case 0:
                await asyncio.sleep(0)
            case 1:
                await asyncio.sleep(self.source.random.uniform(0.0, 0.05))

    async def inquire(self) -> None:
        """Ask somebody, and wait for the answer: a while, for it may be one who waits for this one."""
        source, pid = self.source, self.world.any_pid(self.source.random)
        message = source.message("asked")
        self.book.sending(source.node.id, self.name, message[1], [pid])
        try:
            answer = await source.node.ask(pid, message, timeout=source.random.uniform(0.1, 2.0))
        except (AskTimeout, ManifoldError, ActorDeadError):
            return
        if answer != message[1]:
            self.book.fail(f"{self.name} asked {pid} {message[1]} and got {answer!r}")


class Starting(Member):
    """One that is sent to before it has begun, by itself."""

    def __init__(self, world: World, node: manifold.Node) -> None:
        super().__init__(world, node)
        self.is_ready = False
        source = Source(world, node, f"{node.id}/init-{world.number()}")
        for _ in range(2):
            source.command(self.pid, "")

    def on_start(self) -> None:
        self.is_ready = True


class Unmade(Starting):
    """One whose constructor fails, when it has been sent to already."""

    def __init__(self, world: World, node: manifold.Node) -> None:
        super().__init__(world, node)
        self.book.end(self.name)
        raise Crashed


class Unstarted(Starting):
    """One that fails when it begins."""

    def on_start(self) -> None:
        self.book.end(self.name)
        raise Crashed


class AsyncStarting(AsyncMember):
    """One that takes its time to begin."""

    def __init__(self, world: World, node: manifold.Node) -> None:
        super().__init__(world, node)
        self.is_ready = False

    async def on_start(self) -> None:
        await asyncio.sleep(0.05)
        self.is_ready = True


class DropsNewest(AsyncMember):
    mailbox_max = 3


class DropsOldest(AsyncMember):
    mailbox_max = 3
    mailbox_full = "drop_oldest"


class Stops(AsyncMember):
    mailbox_max = 5
    mailbox_full = "stop"


KINDS: tuple[type[Member], ...] = (*(Member, AsyncMember, Starting, AsyncStarting) * 3, Unstarted)
TIGHT: tuple[type[Member], ...] = (DropsNewest, DropsOldest, Stops)


def spawned(world: World, node: manifold.Node, cls: type[Member]) -> Member:
    """Start a member; gives the actor itself."""
    made: list[Member] = []

    class Known(cls):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    pid = node.spawn(Known, world, node)
    world.book.born(str(pid), awaits=issubclass(cls, AsyncMember))
    return made[0]


def _raise(kind: type[BaseException]) -> None:
    raise kind
