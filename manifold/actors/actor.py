"""The actor: a `pykka.Actor` that lives on a worker's event loop instead of in a thread of its own."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pykka

from manifold import ports
from manifold.actors.future import Future
from manifold.actors.mailbox import POLICIES
from manifold.actors.monitor import MonitorRef
from manifold.actors.ref import ActorRef, Inbox, Stopped, urn_of

if TYPE_CHECKING:
    from manifold.actors import mailbox
    from manifold.core.pid import PID

__all__ = ["UNPLACED", "Actor"]

logger = logging.getLogger("pykka")

UNPLACED = 1 << 30
"""The lane of an actor that was not started yet; it indexes nothing."""


class Actor(pykka.Actor):
    """An actor as Pykka documents it, which costs about 1 KB and no thread.

    `on_receive` and the hooks may be plain or `async def`; an actor handles one message at a time, always, and the
    messages of one sender in the order sent. A plain handler runs to its end on its worker, so it should not
    block; while an `async def` one awaits, its worker serves the other actors.

    An exception out of `on_receive` stops this actor alone (for an `ask` it goes to the caller instead, and the
    actor lives on, as in Pykka); so does a BaseException, in which Pykka would stop every actor.

    Of the private names, those that begin with `_mf_` are the library's, and a few are Pykka's; all others are yours.
    """

    mailbox_max: ClassVar[int] = 10_000
    """How many messages may wait while the actor is busy (an `async def` handler that awaits)."""

    mailbox_full: ClassVar[Literal["drop_newest", "drop_oldest", "stop"]] = "drop_newest"
    """What happens to one more: it is dropped, or the oldest is, or all are and the actor stops. What is dropped
    counts as shed."""

    use_daemon_thread: ClassVar[bool] = False
    """Accepted from programs written for `pykka.ThreadingActor`; there is no thread, so it has no effect."""

    # State of residence, kept on the class until an actor needs its own. Written by the actor's worker, but for
    # the first values; `_mf_lane` under the node's lock.
    _mf_pid: PID | None = None
    _mf_lane: int = UNPLACED
    _mf_home: Any = None  # the worker, while the actor is idle there
    _mf_dead: bool = False
    _mf_abandoned: bool = False
    _mf_inbox: mailbox.Inbox | None = None
    _mf_watchers: dict[ports.Watcher, None] | None = None
    _mf_monitors: dict[MonitorRef, None] | None = None
    _mf_ref: ActorRef[Any] | None = None
    _mf_takeover: bytes | None = None
    _mf_stands_in: ClassVar[bool] = False
    _mf_receive: ClassVar[Any] = None
    _mf_is_async: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.mailbox_full not in POLICIES:
            msg = f"{cls.__name__}.mailbox_full must be one of {', '.join(POLICIES)}, not {cls.mailbox_full!r}"
            raise ValueError(msg)
        if not isinstance(cls.mailbox_max, int) or cls.mailbox_max < 1:
            msg = f"{cls.__name__}.mailbox_max must be a number of messages above 0, not {cls.mailbox_max!r}"
            raise ValueError(msg)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Create the actor; `start()` does it. Runs in the thread that starts the actor."""

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor on the current node: that of the actor that calls, else the process's default node.

        Arguments go to the constructor, which runs here; `on_start` runs on the actor's worker, before any message.
        Returns without waiting for it. Raises what the constructor raises, and NodeStopped.

        On a node with worker processes the constructor runs in one of them: what it raises is logged, and the actor
        is dead. TypeError names a class that cannot be imported there, or an argument that cannot be pickled.
        """
        host = ports.host()
        if host.launch is not None:
            return ActorRef(host.launch(cls, args, kwargs), cls)
        actor: Self = cls.__new__(cls, *args, **kwargs)
        try:
            actor.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException:
            if actor._mf_pid is not None:
                host.abandon(actor)  # somebody may know it already
            raise
        host.admit(actor)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("Starting %s", actor)
        return actor.actor_ref

    @property
    def pid(self) -> PID:
        """The actor's address."""
        return self._mf_pid or ports.host().mint(self)

    @property
    def node(self) -> Any:
        """The node the actor lives on; None when that node has stopped."""
        return ports.find_host(self.pid)

    @property
    def actor_ref(self) -> ActorRef[Self]:
        """The actor's reference; always the same object."""
        ref = self._mf_ref
        if ref is None:
            ref = self._mf_ref = ActorRef(self.pid, type(self))
        return ref

    @property
    def _actor_ref(self) -> ActorRef[Self]:  # type: ignore[override]
        return self.actor_ref

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The actor's URN, a version 4 UUID made of its PID."""
        return urn_of(self.pid)

    @property
    def actor_inbox(self) -> Inbox:  # type: ignore[override]
        """An object whose `put` sends the actor an envelope."""
        return Inbox(self.pid)

    @property
    def actor_stopped(self) -> Stopped:  # type: ignore[override]
        """The actor's stopped flag."""
        return Stopped(self.pid)

    def monitor(self, pid: PID) -> MonitorRef:
        """Ask for one `Down(ref, pid, reason)` message when the actor `pid` has ended.

        It comes after everything that actor sent to this one; at once if there is no such actor. To be called by
        the actor itself.
        """
        ref = MonitorRef(pid, self)
        if self._mf_monitors is None:
            self._mf_monitors = {}
        self._mf_monitors[ref] = None
        ports.host().monitor(pid, ref)
        return ref

    def demonitor(self, ref: MonitorRef) -> None:
        """Take a monitor back: after this no `Down` of it comes. Of one that has fired or is not ours: nothing."""
        if self._mf_monitors and ref in self._mf_monitors:
            del self._mf_monitors[ref]
            ports.host().demonitor(ref.pid, ref)

    def on_handoff(self) -> Any:
        """Give the state with which this actor, being `placed`, is to go on on another node: any message.

        Called, in order with its messages, when its key belongs to another node from now on; may be `async def`. Then
        the actor stops, here, and `on_stop` runs. If it raises, the actor begins afresh there.
        """

    def on_takeover(self, state: Any) -> Any:
        """Go on with the state that `on_handoff` gave on the node where this actor lived before; may be `async def`.

        Called after `on_start`, before any message. When a network that was split is whole again there may have been
        two actors of one key: then it is called on the one that stays, which may have a state of its own.
        """

    @staticmethod
    def _create_actor_inbox() -> Any:
        msg = "a manifold.Actor has no inbox of its own to create"
        raise NotImplementedError(msg)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _start_actor_loop(self) -> None:
        msg = "a manifold.Actor is run by its worker; start it with start()"
        raise NotImplementedError(msg)

    @classmethod
    def _mf_begins(cls) -> bool:
        """Tell whether there is an `on_start` to be run."""
        return cls.on_start is not pykka.Actor.on_start

    @classmethod
    def _mf_handles_async(cls) -> bool:
        """Tell whether `on_receive` is `async def`; looked up anew when somebody has replaced it."""
        receive = cls.on_receive
        if cls._mf_receive is not receive:
            cls._mf_receive = staticmethod(receive)
            cls._mf_is_async = inspect.iscoroutinefunction(inspect.unwrap(receive))
        return cls._mf_is_async
