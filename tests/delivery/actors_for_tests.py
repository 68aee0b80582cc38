"""Actors and waits that the tests of manifold/delivery share."""

import asyncio
import contextlib
import contextvars
import threading

from manifold import Actor, Overloaded

WAIT_S = 15.0
"""How long a test waits for what must come; it never waits so long when all is well."""

READ = "read what you got"
THREAD = "which thread runs you"
CAUSES = ("sent", "delivered", "dead", "shed", "unreachable", "in_flight")


class Recorder(Actor):
    """Keeps what it gets; says what when it is asked for READ, and its thread when asked for THREAD."""

    def __init__(self, log=None):
        super().__init__()
        self.got = [] if log is None else log

    def on_receive(self, message):
        if type(message) is str and message == READ:
            return list(self.got)
        if type(message) is str and message == THREAD:
            return threading.get_ident()
        self.take(message)
        return None

    def take(self, message):
        self.got.append(message)


class AsyncRecorder(Recorder):
    """The same, and gives way to others in the middle of every message."""

    async def on_receive(self, message):
        await asyncio.sleep(0)
        return super().on_receive(message)


class Crasher(Recorder):
    """Raises what it is sent, if that is an exception."""

    def take(self, message):
        if isinstance(message, BaseException):
            raise type(message)(*message.args)  # a fresh one: its traceback would grow with every raise
        self.got.append(message)


class AsyncCrasher(AsyncRecorder):
    """The same, in an `async def` handler."""

    take = Crasher.take


class Stopper(Recorder):
    """Stops itself at "die" (after what it was sent before), raises at "crash"."""

    def take(self, message):
        if message == "crash":
            raise RuntimeError(message)
        super().take(message)
        if message == "die":
            self.stop()


class Gate(Actor):
    """Blocks its worker with every message, until it is opened."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.opened = threading.Event()

    def on_receive(self, message):
        self.entered.set()
        assert self.opened.wait(WAIT_S)


class AsyncGate(Recorder):
    """Is busy with "hold", not blocking its worker, until it is opened; keeps all it gets."""

    def __init__(self, log=None):
        super().__init__(log)
        self.entered = threading.Event()
        self.opened = threading.Event()

    async def on_receive(self, message):
        if message == "hold":
            self.entered.set()
            assert await asyncio.to_thread(self.opened.wait, WAIT_S)
        return super().on_receive(message)


class Caller(Actor):
    """Calls, in its handler, what it is sent; gives the result."""

    def on_receive(self, message):
        return message()


class AsyncCaller(Actor):
    """The same, awaited."""

    async def on_receive(self, message):
        return await message()


def spawn(node, number, cls=Recorder, *args):
    return [node.spawn(cls, *args) for _ in range(number)]


def actor_of(pid):
    """Give the actor itself, of a PID that `spawn` gave."""
    return pid._actor


def ask(node, pid, message):
    """Ask and wait; where a queue is full, wait for room first."""
    while True:
        try:
            return node.ask(pid, message, WAIT_S).get()
        except Overloaded:
            asyncio.run(asyncio.wait_for(node.drain(), WAIT_S))


def read(node, pid):
    return ask(node, pid, READ)


def thread_of(node, pid):
    return ask(node, pid, THREAD)


def counts(node):
    stats = node.stats()
    return {cause: stats[cause] for cause in CAUSES}


def settled(node, pids=()):
    """Wait until everything that this thread sent to `pids` is through, then give the node's counts."""
    for pid in pids:
        read(node, pid)
    return counts(node)


def home_of(node, pid):
    """The same, without asking it: its worker may be blocked."""
    return node.local.worker_of(actor_of(pid)).thread


def by_thread(node, pids):
    """Give the PIDs by the thread that runs them."""
    groups = {}
    for pid in pids:
        groups.setdefault(thread_of(node, pid), []).append(pid)
    return groups


@contextlib.contextmanager
def blocked(node, thread=None):
    """Block a worker (the one of `thread`, or of whichever actor comes first) for the length of the block."""
    pid = node.spawn(Gate)
    while thread is not None and home_of(node, pid) != thread:
        pid = node.spawn(Gate)
    gate = actor_of(pid)
    node.send(pid, "block")
    assert gate.entered.wait(WAIT_S)
    try:
        yield gate
    finally:
        gate.opened.set()


@contextlib.contextmanager
def held(node, pid):
    """Keep an AsyncGate busy for the length of the block."""
    gate = actor_of(pid)
    node.send(pid, "hold")
    assert gate.entered.wait(WAIT_S)
    try:
        yield gate
    finally:
        gate.opened.set()


class Threads:
    """Threads in the context of the one who starts them; at the end they are joined, and what they raised is raised."""

    def __init__(self):
        self._threads = []
        self._errors = []

    def start(self, act, *args):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(self._run, act, *args))
        self._threads.append(thread)
        thread.start()
        return thread

    def _run(self, act, *args):
        try:
            act(*args)
        except BaseException as error:
            self._errors.append(error)

    def join(self):
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        if self._errors:
            raise self._errors[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.join()
