"""The process's default node, and the functions that use the current node: that of the actor that runs, or this one."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, Literal

from manifold import ports
from manifold.actors import Placed
from manifold.core.pid import PID
from manifold.errors import ManifoldError
from manifold.node import Node, WorkerKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from manifold.actors import Actor, Future
    from manifold.delivery.receipt import Receipt
    from manifold.delivery.timers import Timer
    from manifold.limits import Limits

__all__ = [
    "ask",
    "current_node",
    "drain",
    "pid_of",
    "placed",
    "register",
    "send",
    "send_after",
    "start",
    "stop",
    "unregister",
    "whereis",
]

_lock = threading.RLock()
_default: list[Node] = []


def start(
    name: str | None = None,
    *,
    workers: int | None = None,
    worker_kind: WorkerKind = "thread",
    listen: str | None = None,
    join: Iterable[str] = (),
    transport: str | None = None,
    cookie: str | bytes | None = None,
    on_worker_start: Callable[[], object] | None = None,
    roles: Iterable[str] = (),
    limits: Limits | None = None,
) -> Node:
    """Start the process's default node; see `Node`. Raises ManifoldError if it runs already."""
    with _lock:
        if _default and _default[0].is_running:
            msg = f"the default node {_default[0].id} runs already (started here, or by a first use): stop it first"
            raise ManifoldError(msg)
        node = Node(
            name,
            workers=workers,
            worker_kind=worker_kind,
            listen=listen,
            join=join,
            transport=transport,
            cookie=cookie,
            on_worker_start=on_worker_start,
            roles=roles,
            limits=limits,
        )
        _default[:] = [node]
        return node


def adopt(node: Node) -> None:
    """Let a node be the default one, which stands for the one of the main process: in a worker process."""
    _default[:] = [node]


def stop() -> None:
    """Stop the default node, if it runs; see `Node.stop`. At interpreter exit this is done anyway."""
    with _lock:
        node = _default.pop() if _default else None
    if node is not None:
        node.stop()


def current_node() -> Node:
    """Give the current node: that of the actor that runs or of the enclosing `with Node(...)`, else the default one.

    Where no default node runs, the oldest node of this process stands in; where none runs at all, a default node is
    started: one worker per core, no server, no network.
    """
    node = ports.host()
    assert isinstance(node, Node)
    return node


def _default_node() -> Node:
    with _lock:
        if _default and _default[0].is_running:
            return _default[0]
        for host in list(ports.hosts.values()):
            if isinstance(host, Node) and host.is_running:
                return host
        return start()


def send(
    to: Any,
    message: Any,
    *,
    pack_mode: Literal["binary"] | None = None,
    send_mode: Literal["offload"] | None = None,
    receipt: bool = False,
) -> Receipt | None:
    """Send a message to one recipient or many. Never blocks.

    `to` is a PID, a `pykka.ActorRef`, an `Audience`, None, or any iterable of PIDs, references and Nones. None is
    skipped; a PID that stands twice gets the message twice. Messages from one sender to one recipient arrive in the
    order sent, whatever mixture of forms and modes is used. There is at most one hand-off per node and call, and one
    batch per worker.

    The message goes to recipients of this process by reference: treat it as immutable. With `pack_mode="binary"` they
    too get a decoded copy, one per worker. With `send_mode="offload"` recipients are grouped in another thread, which
    pays from some thousand on; the message, which must be checked here, is encoded here.

    `receipt=True` gives a `Receipt` that tells what became of it.

    Raises, before anything was handed to anyone: TypeError for what is no recipient, ValueError for an unknown mode,
    NotSerializable and MessageTooLarge if the message has to be encoded and cannot be, NodeStopped. Raises Overloaded
    when a queue is full: the others got theirs, and what was shed is counted.
    """
    sent: Receipt | None = ports.host().sender.send(to, message, pack_mode, send_mode, receipt)
    return sent


def ask(pid: Any, message: Any, timeout: float | None = 5.0) -> Future[Any]:
    """Ask an actor: gives a `pykka.Future` of what its `on_receive` returns, which can be awaited too. Never blocks.

    `get()` and `await` raise AskTimeout `timeout` seconds from now (None: never); what the handler raised;
    `pykka.ActorDeadError` if there is no such actor (any more); NodeDown if its node is not connected; WouldDeadlock
    for a `get()` in a handler that could never end. Keeps order with the sender's other messages.
    """
    return current_node().ask(pid, message, timeout)


def send_after(delay_s: float, to: Any, message: Any) -> Timer:
    """Send in `delay_s` seconds, by the same way, and in the same order, as a send made at that moment.

    `.cancel()` takes it back. Raises as `send` does for `to`; ValueError for a negative delay; Overloaded when
    `Limits.timers_max` are pending. What the send itself raises, later, is logged. What is still pending when the node
    has stopped is not sent.
    """
    return current_node().send_after(delay_s, to, message)


async def drain() -> None:
    """Wait until every queue of the current node is under its high-water mark."""
    await current_node().drain()


def placed(cls: type[Actor], key: str | bytes, *args: Any, role: str | None = None) -> Placed:
    """Give the actor of class `cls` that has a key: one in the cluster, on the node where the ring puts it.

    What is given is a recipient for `send` (alone, or in lists of its kind) and `ask`; making it starts nothing. The
    first message starts the actor, as `cls(*args)`, on the node that `node.ring(role).find(key)` names: of all nodes
    of the cluster, or of those started with this role. `args` can be what a message can be. The class has to be
    imported on every node that takes part.

    When nodes come or go, only the actors whose keys the ring moves change their node: `on_handoff` gives the state
    that `on_takeover` gets there. Messages by key that are sent meanwhile wait, and are delivered after the takeover,
    in order; none is lost. When a node crashes its actors begin afresh elsewhere with the next message. An actor that
    stops by itself is started again by the next message.

    A node that joins others begins no actors, and gives no names away, before it has met them, or for as long as
    `Limits.node_down_after_s`: what is sent to them waits. When two actors of a key meet, as after a split of the
    network, one hands over to the other, whose `on_takeover` is called while it runs.

    Its PID is that of one life on one node: what is sent to the PID of an actor that has moved is dead, and monitors
    are told `handed over`. Raises TypeError for a class that cannot be found by its name, NotSerializable for `args`.
    """
    return Placed(cls, key, args, role)


def register(name: str, pid: Any) -> Future[None]:
    """Let an actor, given by its PID or a reference, hold a name, which nobody else in the cluster holds.

    Gives a future: `await` it, or `get()` it, to hear that the actor holds the name; it raises NameTaken when another
    one does, `pykka.ActorDeadError` when there is no such actor. Until then nobody finds it by the name. An actor may
    hold many names. They end with it, and with its node, or by `unregister`. After a network split the actor that was
    registered first keeps a name that both sides gave away; the other gets the message `NameLost(name, holder)`.

    Raises TypeError for a name that is no str, ValueError for one of 0 or more than 255 characters.
    """
    node = current_node()
    return node.directory.register(name, pid if isinstance(pid, PID) else node.pid_of(pid))


def unregister(name: str) -> Future[bool]:
    """Take a name from whoever holds it; the future tells whether somebody did."""
    return current_node().directory.unregister(name)


def whereis(name: str) -> Future[PID | None]:
    """Look up who holds a name: the future gives a PID, or None if nobody does. `await` it, or `get()` it.

    A name that this node has used before is answered at once, from what it knows: it hears of every change, moments
    later. Any other is asked for at the node that the ring gives the name to.
    """
    return current_node().directory.whereis(name)


def pid_of(ref: Any) -> PID:
    """Give the PID of any running `pykka.ActorRef`, those of `pykka.ThreadingActor` included.

    An ordinary Pykka actor gets its PID on the current node. Raises TypeError if `ref` is no reference,
    `pykka.ActorDeadError` if its actor has stopped.
    """
    return current_node().pid_of(ref)


def _forget_after_fork() -> None:
    # A child has none of the threads; its own first use starts a node of its own.
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _default.clear()
    ports.hosts.clear()
    ports.current.set(None)


def _stop_all() -> None:
    stop()
    for host in list(ports.hosts.values()):
        host.stop()


ports.set_default_host(_default_node)
atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
