"""Who sends in a schedule: threads, tasks and actors, each in every form there is, and each keeps count of it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import manifold
from manifold import ports
from manifold.actors import AskTimeout
from manifold.errors import ManifoldError, NodeStopped, Overloaded
from tests.campaign.book import Asked, Monitored, Received

if TYPE_CHECKING:
    from tests.campaign.world import World

__all__ = ["CRASHES", "KINDS", "TIGHT", "Crashed", "Listed", "Member", "Source", "in_task", "listen"]


class Crashed(Exception):
    """What a handler raises when it is told to."""


CRASHES: dict[str, type[BaseException]] = {
    "Crashed": Crashed,
    "ValueError": ValueError,
    "MemoryError": MemoryError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
}


class Listed:
    """An audience, and who should be in it."""

    def __init__(self, source: Source, pids: list[manifold.PID]) -> None:
        self._source = source
        self._seen = len(source.world.simulation.history)
        self.members: dict[manifold.PID, None] = {}
        self.audience = manifold.Audience()
        self.add(pids)

    def follow(self) -> None:
        """Take out whose node was seen to go down."""
        history = self._source.world.simulation.history
        for change in history[self._seen :]:
            if change.node == self._source.node.id and change.reason:
                self.members = {pid: None for pid in self.members if pid.node != change.other}
        self._seen = len(history)

    def add(self, pids: list[manifold.PID]) -> None:
        self.follow()
        up = self._source.node.nodes()
        self.members.update((pid, None) for pid in pids if pid.node in up)
        try:
            self.audience.update(pids)
        except Overloaded:
            self.members = dict.fromkeys(self.audience)

    def discard(self, pid: manifold.PID) -> None:
        self.follow()
        try:
            self.audience.discard(pid)
            self.members.pop(pid, None)
        except Overloaded:
            pass

    def now(self) -> list[manifold.PID]:
        """Give who is in it, having checked that they are those who should be: who has ended may still be."""
        self.follow()
        there = list(self.audience)
        book = self._source.world.book
        missing = [pid for pid in self.members if pid not in self.audience and str(pid) not in book.ended]
        surplus = [pid for pid in there if pid not in self.members]
        if missing or surplus or len(there) != len(self.audience) or len(set(there)) != len(there):
            book.fail(f"an audience of {self._source.name} lacks {missing[:3]} and has {surplus[:3]} too many")
        return there


class Source:
    """One sender: everything it sends is numbered."""

    def __init__(self, world: World, node: manifold.Node, name: str) -> None:
        self.world = world
        self.node = node
        self.name = name
        self.random = Random(f"{world.plan.seed}/{name.partition('@')[0]}/{world.number()}")
        self.number = 0
        self.last_modes: dict[str, Any] = {}
        self.lists: list[Listed] = []

    def some(self, number: int) -> None:
        """Do so many things."""
        for _ in range(number):
            self.one()

    def one(self) -> None:
        """Do one thing."""
        try:
            self.random.choice(DEEDS)(self)
        except NodeStopped:
            pass

    def message(self, what: str = "", arg: Any = None) -> tuple[str, int, str, Any]:
        """Give the next message; every few have something to carry."""
        self.number += 1
        if arg is None and self.random.random() < 0.2:
            arg = bytes(self.random.randrange(1500))
        return self.name, self.number, what, arg

    def command(self, pid: manifold.PID, what: str, arg: Any = None, modes: dict[str, Any] | None = None) -> None:
        """Tell one member to do something."""
        self._send(pid, [pid], modes or {}, self.message(what, arg))

    # What it may do.

    def modes(self) -> dict[str, Any]:
        modes: dict[str, Any] = {}
        if self.random.random() < 0.15:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.15:
            modes["send_mode"] = "offload"
        if self.random.random() < 0.2:
            modes["receipt"] = True
        return modes

    def _send(self, to: Any, pids: list[manifold.PID], modes: dict[str, Any], message: Any = None) -> None:
        book, message, self.last_modes = self.world.book, message or self.message(), modes
        book.sending(self.node, self.name, message[1], pids)
        try:
            receipt = self.node.send(to, message, **modes)
        except Overloaded:
            book.overloads += 1
        except NodeStopped:
            book.not_sent(self.node, self.name, message[1], pids)
            raise
        else:
            if receipt is not None:
                now = self.world.simulation.now
                book.receipts.append(Received(self.node, self.name, message[1], len(pids), receipt, now))

    def send_one(self) -> None:
        pid = self.world.any_pid(self.random)
        self._send(pid, [pid], {} if self.random.random() < 0.7 else self.modes())

    def send_many(self) -> None:
        pids = [self.world.any_pid(self.random) for _ in range(self.random.randint(2, 12))]
        to: Any = pids
        match self.random.randrange(5):
            case 0:
                to = (pid for pid in list(pids))
            case 1:
                to = [None, *pids, None]
            case 2:
                to = [self.world.refs.get(str(pid), pid) for pid in pids]
        self._send(to, pids, self.modes())

    def send_odd(self) -> None:
        """A message that cannot travel: nobody gets it, unless all are here."""
        pids = [self.world.any_pid(self.random) for _ in range(self.random.randint(1, 2))]
        message = self.message(arg=object())
        try:
            self._send(pids, pids, self.modes(), message)
        except manifold.NotSerializable:
            self.world.book.not_sent(self.node, self.name, message[1], pids)
            if "binary" not in self.last_modes.values() and all(pid.node == self.node.id for pid in pids):
                self.world.book.fail(f"{self.name} was told that {message} cannot travel, which it need not")

    def tell(self) -> None:
        """A send through a reference; it is found on this node alone."""
        member = self.world.any_member(self.random, self.node)
        if member is None or str(member.pid) in self.world.book.ended:
            return
        message = self.message()
        self.world.book.sending(self.node, self.name, message[1], [member.pid])
        try:
            member.actor_ref.tell(message)
        except Overloaded:
            self.world.book.overloads += 1
        except manifold.actors.ActorDeadError:
            self.world.book.not_sent(self.node, self.name, message[1], [member.pid])

    def send_later(self) -> None:
        pid = self.world.any_pid(self.random)
        name, book = f"{self.name}-timer-{self.number}", self.world.book
        self.number += 1
        timer = self.node.send_after(self.random.uniform(0.0, 1.0), pid, (name, 1, "", None))
        book.sending(self.node, name, 1, [pid])
        if self.random.random() < 0.2 and timer.cancel():
            book.not_sent(self.node, name, 1, [pid])

    def ask(self) -> None:
        pid, message = self.world.any_pid(self.random), self.message("asked")
        if self.random.random() < 0.1:
            message = self.message("crash", self.random.choice(list(CRASHES)))
        self.world.book.sending(self.node, self.name, message[1], [pid])
        try:
            future = self.node.ask(pid, message, timeout=None)
        except Overloaded:
            self.world.book.overloads += 1
            return
        self.world.book.asked.append(Asked(self.node, pid, message, future, self.world.simulation.now))

    def send_listed(self) -> None:
        listed = self._listed()
        self._send(listed.audience, listed.now(), self.modes())

    def change_list(self) -> None:
        listed = self._listed()
        for _ in range(self.random.randint(1, 4)):
            pid = self.world.any_pid(self.random)
            if pid in listed.members:
                listed.discard(pid)
            else:
                listed.add([pid])
        if self.random.random() < 0.1:
            self.lists.remove(listed)
            if self.random.random() < 0.5:
                listed.audience.close()

    def _listed(self) -> Listed:
        token = ports.current.set(self.node)
        try:
            if len(self.lists) < 2:
                pids = [self.world.any_pid(self.random) for _ in range(self.random.randint(0, 8))]
                self.lists.append(Listed(self, pids))
        finally:
            ports.current.reset(token)
        return self.random.choice(self.lists)


DEEDS = (
    *[Source.send_one] * 3, *[Source.send_many] * 3, *[Source.send_listed] * 3, *[Source.change_list] * 2,
    *[Source.ask] * 2, Source.tell, Source.send_later, Source.send_odd,
)  # fmt: skip


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
        return message[1] if type(message) is tuple else None

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
                self.world.simulation.work(arg)
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
                self.source.command(watcher, "", modes=self.source.modes())

    def watch(self, pid: manifold.PID) -> None:
        # Told at once if there is nobody: so it is noted before.
        monitored = Monitored(self.name, pid, self.world.simulation.now)
        ref = self.monitor(pid)
        self.book.monitors[ref] = monitored
        self.refs.append(ref)
        self.world.watchers[str(pid)].append(self.pid)

    def unwatch(self) -> None:
        if self.refs:
            ref = self.refs.pop(self.source.random.randrange(len(self.refs)))
            self.demonitor(ref)
            monitored = self.book.monitors[ref]
            monitored.demonitored = not monitored.reasons

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
            self.world.simulation.task(node, node.aclose())
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
        self.book.sending(source.node, self.name, message[1], [pid])
        try:
            answer = await source.node.ask(pid, message, timeout=source.random.uniform(0.1, 2.0))
        except (AskTimeout, ManifoldError, manifold.actors.ActorDeadError):
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


KINDS: tuple[type[Member], ...] = (Member, AsyncMember, Starting, AsyncStarting)
TIGHT: tuple[type[Member], ...] = (DropsNewest, DropsOldest, Stops)


def _raise(kind: type[BaseException]) -> None:
    raise kind


async def in_task(source: Source, turns: int) -> None:
    """Send, a little at a time, as a task outside of any actor does."""
    for _ in range(turns):
        source.some(source.random.randint(1, 3))
        await asyncio.sleep(source.random.uniform(0.0, 0.2))
        await source.node.drain()


async def listen(world: World, node: manifold.Node) -> None:
    """Keep what a node tells of others."""
    async for event in node.events():
        world.book.events[node.id].append((event.node, "" if isinstance(event, manifold.NodeUp) else event.reason))
