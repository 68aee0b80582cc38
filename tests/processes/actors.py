"""Actors that the tests start in worker processes: all can be imported, and say over messages what became of them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import time
import warnings
from typing import Any

import manifold
from manifold import Down

GOT = "what have you got"
WHERE = "which process are you in"


class Recorder(manifold.Actor):
    """Keeps what it gets; tells it, and where it is, when asked."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given = given, named
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == GOT:
            return list(self.got)
        if message == WHERE:
            return os.getpid()
        if message == "given":
            return self.given
        if message == "stats":
            return dict(self.node.stats())
        if message == "nodes":
            return self.node.nodes()
        self.got.append(message)
        return message


class AsyncRecorder(Recorder):
    """The same, and gives way to others in the middle of every message."""

    mailbox_max = 1_000_000

    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(0)
        return super().on_receive(message)


class Light(manifold.Actor):
    """Tells in which process it is, how many of its class there are, and how many have a dict of their own."""

    def __init__(self) -> None:
        self.received = 0
        self.name = "light"

    def on_receive(self, message: Any) -> Any:
        self.received += 1
        lights = [each for each in gc.get_objects() if type(each) is Light]
        heavy = [each for each in lights if any(type(part) is dict for part in gc.get_referents(each))]
        return [os.getpid(), len(lights), len(heavy)]


class Failing(Recorder):
    """Raises in its constructor."""

    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError("the constructor failed")


class FailingStart(Recorder):
    """Raises in on_start."""

    def on_start(self) -> None:
        raise RuntimeError("on_start failed")


class Custom(Exception):
    """An exception of the program's own."""


class Doer(Recorder):
    """Does what it is told: `[what, ...]`."""

    def __init__(self) -> None:
        super().__init__()
        self.audience: manifold.Audience | None = None
        self.children: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if type(message) is Down:
            self.got.append(["down", message.pid, message.reason])
            return None
        if type(message) is list and message and type(message[0]) is str and hasattr(self, f"do_{message[0]}"):
            return getattr(self, f"do_{message[0]}")(*message[1:])
        return super().on_receive(message)

    def do_send(self, to: Any, message: Any) -> None:
        manifold.send(to, message)

    def do_send_many(self, to: Any, first: int, number: int) -> None:
        for n in range(first, first + number):
            manifold.send(to, n)

    async def do_receipt(self, to: Any, message: Any) -> Any:
        receipt = manifold.send(to, message, receipt=True)
        return {node: dict(outcome) for node, outcome in (await receipt).items()}

    def do_ask(self, pid: Any, message: Any) -> Any:
        return manifold.ask(pid, message, timeout=10).get()

    def do_try(self, pid: Any, message: Any) -> Any:
        try:
            return manifold.ask(pid, message, timeout=10).get()
        except Exception as error:
            return [type(error).__name__, str(error)]

    def do_spawn(self, number: int) -> Any:
        pids = [Recorder.start().pid for _ in range(number)]
        return [os.getpid(), pids]

    def do_doer(self) -> manifold.PID:
        return Doer.start().pid

    def do_where(self, pid: Any) -> int:
        return manifold.ask(pid, WHERE, timeout=10).get()

    def do_gather(self, pids: Any) -> int:
        self.audience = manifold.Audience(pids)
        return len(self.audience)

    def do_size(self) -> int:
        assert self.audience is not None
        return len(self.audience)

    def do_fan(self, message: Any) -> None:
        manifold.send(self.audience, message)

    def do_fan_receipt(self, message: Any) -> Any:
        return self.do_receipt(self.audience, message)

    def do_discard(self, pid: Any) -> None:
        assert self.audience is not None
        self.audience.discard(pid)

    def do_drop(self) -> None:
        assert self.audience is not None
        self.audience.close()
        self.audience = None

    def do_monitor(self, pid: Any) -> None:
        self.ref = self.monitor(pid)

    def do_demonitor(self) -> None:
        self.demonitor(self.ref)

    def do_stop(self, ref_of: Any) -> bool:
        return manifold.ActorRef(ref_of, Recorder).stop()

    def do_alive(self, ref_of: Any) -> bool:
        return manifold.ActorRef(ref_of, Recorder).is_alive()

    def do_tell(self, ref_of: Any, message: Any) -> None:
        manifold.ActorRef(ref_of, Recorder).tell(message)

    def do_later(self, delay_s: float, to: Any, message: Any) -> None:
        manifold.send_after(delay_s, to, message)

    def do_offload(self, to: Any, numbers: int) -> None:
        for n in range(numbers):
            manifold.send(to, n, send_mode="offload" if n % 3 == 0 else None)

    def do_raise(self, what: str) -> None:
        raise {"value": ValueError("no such value"), "custom": Custom("our own")}[what]

    def do_exit(self) -> None:
        raise SystemExit(3)

    def do_kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(os.getpid(), number)

    def do_log(self, level: int, text: str) -> None:
        logging.getLogger("tests.worker").log(level, text)

    def do_log_exception(self) -> None:
        try:
            raise ValueError("deep inside")
        except ValueError:
            logging.getLogger("tests.worker").exception("it went wrong")

    def do_raise_in_thread(self) -> None:
        def fail() -> None:
            raise KeyError("in a thread")

        threading.Thread(target=fail).start()

    def do_hold(self, gate: str) -> None:
        os.close(os.open(gate, os.O_RDONLY))  # returns when somebody opens it for writing

    def do_block(self, seconds: float) -> None:
        time.sleep(seconds)

    def do_stop_node(self) -> None:
        self.node.stop()

    def do_warn(self) -> None:
        warnings.warn("nobody minds", stacklevel=1)

    def do_die_by_itself(self) -> None:
        self.stop()

    def do_relay(self, first: Any, second: Any, number: int) -> None:
        """Interleave single sends, lists and the audience."""
        for n in range(number):
            manifold.send([first, second][: 1 + n % 2] if n % 3 else first, n)


class AsyncDoer(Doer):
    """The same, awaiting what it asks."""

    async def on_receive(self, message: Any) -> Any:
        if type(message) is list and message[0] == "ask":
            return await manifold.ask(message[1], message[2], timeout=10)
        return super().on_receive(message)


STARTED: list[Any] = []


def note_start() -> None:
    """For on_worker_start: a plain function."""
    asyncio.get_running_loop()
    STARTED.append(os.getpid())


async def open_slowly() -> None:
    """For on_worker_start: an async one."""
    await asyncio.sleep(0.05)
    STARTED.append(os.getpid())


def refuse_to_start() -> None:
    """For on_worker_start: one that fails."""
    raise RuntimeError("no database")


class Started(manifold.Actor):
    """Tells what on_worker_start has noted in its process."""

    def on_receive(self, message: Any) -> Any:
        return [os.getpid(), STARTED]


class Placed(Recorder):
    """Goes on elsewhere with what it has got; does what it is told by tuples, from inside its worker."""

    def on_receive(self, message: Any) -> Any:
        match message:
            case "name":
                return self.node.name
            case "ring":
                return dict(self.node.ring().nodes)
            case ("send", to, content):
                manifold.send(self.target(to), content)
                return None
        return super().on_receive(message)

    @staticmethod
    def target(to: Any) -> Any:
        return manifold.placed(Placed, to[1]) if isinstance(to, tuple) else to

    def on_handoff(self) -> Any:
        return self.got

    def on_takeover(self, state: Any) -> None:
        self.got = [*state, *self.got]


class Namer(Placed):
    """The same for what has to be awaited."""

    async def on_receive(self, message: Any) -> Any:  # type: ignore[override]
        if isinstance(message, tuple) and hasattr(self, f"do_{message[0]}"):
            return await getattr(self, f"do_{message[0]}")(*message[1:])
        return super().on_receive(message)

    async def do_register(self, name: str) -> manifold.PID | None:
        try:
            await manifold.register(name, self.pid)
        except manifold.NameTaken as error:
            return error.holder
        return None

    async def do_whereis(self, name: str) -> manifold.PID | None:
        return await manifold.whereis(name)

    async def do_unregister(self, name: str) -> bool:
        return await manifold.unregister(name)

    async def do_ask(self, to: Any, content: Any) -> Any:
        return await manifold.ask(self.target(to), content)

    async def do_order(self, name: str, pid: manifold.PID, number: int) -> None:
        for index in range(number):
            manifold.send(name if index % 3 == 0 else pid, index)

    async def do_leave(self) -> None:
        await self.node.leave()
