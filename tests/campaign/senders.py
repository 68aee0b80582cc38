"""Who sends in a schedule: threads, tasks and actors, each in every form there is, and each keeps count of it."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import manifold
from manifold import ports
from manifold.actors import ActorDeadError
from manifold.errors import NodeStopped, Overloaded
from tests.campaign.book import Answer, Asked, Received
from tests.campaign.lists import Listed

if TYPE_CHECKING:
    from tests.campaign.world import World

__all__ = ["CRASHES", "Crashed", "Source", "in_task", "listen"]


class Crashed(Exception):
    """What a handler raises when it is told to."""


CRASHES: dict[str, type[BaseException]] = {
    "Crashed": Crashed,
    "ValueError": ValueError,
    "MemoryError": MemoryError,
    "SystemExit": SystemExit,
    "KeyboardInterrupt": KeyboardInterrupt,
}


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
        book.sending(self.node.id, self.name, message[1], pids)
        try:
            receipt = self.node.send(to, message, **modes)
        except Overloaded:
            book.overloaded()
        except NodeStopped:
            book.not_sent(self.node.id, self.name, message[1], pids)
            raise
        else:
            if receipt is not None:
                outcomes = partial(_outcomes, receipt)
                book.receipt(Received(self.node.id, self.name, message[1], len(pids), outcomes))

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

    def send_here(self) -> None:
        """To all members of this node, some of them one by one."""
        pids = [pid for pid in self.world.pids if pid.node == self.node.id]
        for pid in self.random.sample(pids, min(2, len(pids))):
            self._send(pid, [pid], {})
        self._send(pids, pids, self.modes())

    def send_odd(self) -> None:
        """A message that cannot travel: nobody gets it, unless all are here."""
        pids = [self.world.any_pid(self.random) for _ in range(self.random.randint(1, 2))]
        message = self.message(arg=bytes(5000) if self.random.random() < 0.3 else object())
        try:
            self._send(pids, pids, self.modes(), message)
        except (manifold.NotSerializable, manifold.MessageTooLarge):
            self.world.book.not_sent(self.node.id, self.name, message[1], pids)
            if "binary" not in self.last_modes.values() and all(pid.node == self.node.id for pid in pids):
                self.world.book.fail(f"{self.name} was told that {message} cannot travel, which it need not")

    def tell(self) -> None:
        """A send through a reference; it is found on this node alone."""
        member = self.world.any_member(self.random, self.node)
        if member is None or str(member.pid) in self.world.book.ended:
            return
        message = self.message()
        self.world.book.sending(self.node.id, self.name, message[1], [member.pid])
        try:
            member.actor_ref.tell(message)
        except Overloaded:
            self.world.book.overloaded()
        except ActorDeadError:
            self.world.book.not_sent(self.node.id, self.name, message[1], [member.pid])

    def send_later(self) -> None:
        pid = self.world.any_pid(self.random)
        name, book = f"{self.name}-timer-{self.number}", self.world.book
        self.number += 1
        timer = self.node.send_after(self.random.uniform(0.0, 1.0), pid, (name, 1, "", None))
        book.sending(self.node.id, name, 1, [pid])
        if self.random.random() < 0.2 and timer.cancel():
            book.not_sent(self.node.id, name, 1, [pid])

    def ask(self) -> None:
        pid, message = self.world.any_pid(self.random), self.message("asked")
        if self.random.random() < 0.2:
            message = self.message("asked oddly")
            if self.random.random() < 0.5:
                message = self.message("crash", self.random.choice(list(CRASHES)))
        self.world.book.sending(self.node.id, self.name, message[1], [pid])
        try:
            future = self.node.ask(pid, message, timeout=None)
        except Overloaded:
            self.world.book.overloaded()
            return
        self.world.book.question(Asked(self.node.id, pid, message, self.world.now, partial(Answer.of, future)))

    def send_listed(self) -> None:
        listed = self._listed()
        there = listed.now()
        try:
            self._send(listed.audience, there, self.modes())
        finally:
            if left := len(set(there).difference(listed.audience)):
                self.world.book.left_meanwhile(self.node.id, self.name, self.number, left)

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


async def in_task(source: Source, turns: int) -> None:
    """Send, a little at a time, as a task outside of any actor does."""
    for _ in range(turns):
        source.some(source.random.randint(1, 3))
        await asyncio.sleep(source.random.uniform(0.0, 0.2))
        await source.node.drain()


async def listen(world: World, node: manifold.Node) -> None:
    """Keep what a node tells of others."""
    async for event in node.events():
        world.book.told(node.id, event.node, "" if isinstance(event, manifold.NodeUp) else event.reason)


def _outcomes(receipt: manifold.Receipt) -> Any:
    return receipt.get(timeout=0) if receipt.done() else None
