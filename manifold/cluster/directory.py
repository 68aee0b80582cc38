"""Where names and keys belong, as one node knows it: its part in the views, its placed actors, its names.

One lock guards it all, and whoever sends to a key holds it from finding the node until the message is queued: so when
a node says that it goes by a new view, nothing that goes by the old one is sent after that. Words between two
directories go down the link in order with messages, and are never refused.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.actors import ActorDeadError, Future
from manifold.cluster.membership import NodeUp
from manifold.cluster.names import Names
from manifold.cluster.placement import Placement, portions
from manifold.cluster.turns import FairLock
from manifold.core.bodies import Keyed, KeyedAsk, KeyedSend, Kind
from manifold.core.codec import decode, encode
from manifold.core.pid import PID
from manifold.core.views import Agreement, Installed, Opened, Say
from manifold.errors import NameTaken, NotPlaced
from manifold.ports import DEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from manifold.actors import Placed
    from manifold.cluster.peer import Peer
    from manifold.core.views import Effect, Epoch, View
    from manifold.errors import NodeDown
    from manifold.ports import Host, Intake, Nest, Settles

__all__ = ["Directory"]

logger = logging.getLogger("manifold")

_NAME_MAX = 255
_HEAD_BYTES = 512
"""More than the head of a frame, its view included."""


class Directory:
    """The directory of one node."""

    def __init__(
        self,
        host: Host,
        roles: Iterable[str],
        nest: Nest,
        on_view: Callable[[View], object] | None = None,
        *,
        expects_others: bool = False,
    ) -> None:
        self.lock = FairLock()
        self._host = host
        self._agreement = Agreement(host.id, roles, expects_others=expects_others)
        self._placement = Placement(host, self._agreement, nest, self._say, self._look, self.lock)
        self._names = Names(host, self._agreement, self._say)
        self.known = self._names.known
        self._on_view = on_view
        self._closed = False
        self._left: Future[None] | None = None

    @property
    def view(self) -> View:
        """The view that this node goes by."""
        return self._agreement.view

    # Sending.

    def send(
        self,
        refs: Sequence[Placed],
        message: Any,
        wire: bytes | None,
        receipt: Settles | None,
        *,
        uncounted: int,
    ) -> dict[str, int]:
        """Hand a message to actors by their keys, one hand-off to each node; how many were shed, by node.

        `wire` is the encoded message; `uncounted` is how many are not counted as sent yet. Raises NotPlaced, and then
        nothing was sent.
        """
        with self.lock:
            groups = self._grouped(refs)
            here = groups.pop(self._host.id, ())
            if groups and wire is None:  # one of them has just gone elsewhere
                wire = self._host.sender.encode(message)
            self._host.local.count_sent(uncounted)
            shed = {node: self.hand_off(node, _pairs(those), wire or b"", receipt) for node, those in groups.items()}
            if here:
                pids = self.homes(_pairs(here))
                shed |= self._host.sender.hand_in(pids, len(here), message, wire, receipt)
        return shed

    def is_far(self, refs: Iterable[Placed]) -> bool:
        """Tell whether a message to them has to be encoded; NotPlaced if one is nowhere."""
        return self._grouped(refs).keys() != {self._host.id} or self._host.launch is not None

    def _grouped(self, refs: Iterable[Placed]) -> dict[str, list[Placed]]:
        groups: dict[str, list[Placed]] = {}
        view = self._agreement.view
        for ref in refs:
            owner = ref.owner(view)
            if owner is None:
                raise NotPlaced(repr(ref))
            groups.setdefault(owner, []).append(ref)
        return groups

    def homes(self, refs: Iterable[tuple[bytes, bytes]], epoch: Epoch | None = None) -> list[PID]:
        """Give the actors of this node for keys to which somebody sends by a view, by default by the present one."""
        epoch = epoch or self._agreement.view.epoch
        found = (self._placement.home(who, call, epoch) for who, call in refs)
        return [pid for pid in found if pid is not None]

    def hand_off(
        self, node: str, refs: Sequence[tuple[bytes, bytes]], wire: bytes | memoryview, receipt: Settles | None
    ) -> int:
        """Hand a message to a node for actors by their keys; how many were shed. Under the lock."""
        # Refs of more than a frame takes go in several.
        room = max(1, self._host.limits.packet_max_bytes - len(wire) - _HEAD_BYTES)
        shed = 0
        for some in portions(refs, _size, room):
            keyed = Keyed(*self._agreement.view.epoch, some)
            body = lambda number, keyed=keyed: KeyedSend(number, keyed, wire).pack()  # noqa: E731
            shed += self._host.cluster.hand_off(node, Kind.KEYED_SEND, body, len(some), receipt)
        return shed

    def ask(self, ref: Placed, message: Any, wire: bytes | None, future: Any) -> None:
        """Ask an actor by its key; the future gets the answer, or why there is none. Raises NotPlaced."""
        with self.lock:
            ((owner, _),) = self._grouped([ref]).items()
            if owner == self._host.id:
                pids = self.homes(_pairs([ref]))
                self._host.sender.ask_in(pids[0] if pids else None, message, future)
            else:
                asked = self._host.sender.encode(message) if wire is None else wire
                self.question(owner, (ref.who, ref.call), asked, future, None)

    def question(
        self, node: str, ref: tuple[bytes, bytes], wire: bytes | memoryview, future: Any, receipt: Settles | None
    ) -> None:
        """Ask an actor by its key on another node. Under the lock."""
        keyed = Keyed(*self._agreement.view.epoch, [ref])
        self._host.local.count_sent(1)
        body = lambda number, outcome: KeyedAsk(number, outcome, keyed, wire).pack()  # noqa: E731
        self._host.cluster.question(node, Kind.KEYED_ASK, body, future, receipt)

    # What comes from other nodes, on the I/O thread.

    def attach(self, peer: Peer) -> None:
        """Hear what a node says, and what it sends to keys."""
        peer.handlers |= {
            Kind.DIRECTORY: partial(self._hear, peer),
            Kind.KEYED_SEND: partial(self._keyed_send, peer),
            Kind.KEYED_ASK: partial(self._keyed_ask, peer),
        }

    def _keyed_send(self, peer: Peer, body: memoryview) -> None:
        sent = KeyedSend.unpack(body)
        keyed = sent.keyed
        settles = peer.arrivals.settles(sent.receipt, len(keyed.refs), len(body))
        with self.lock:
            self.take(peer.arrivals.intake, keyed.refs, (keyed.number, keyed.maker), sent.message, settles)

    def _keyed_ask(self, peer: Peer, body: memoryview) -> None:
        ask = KeyedAsk.unpack(body)
        keyed = ask.keyed
        reply = peer.arrivals.reply(ask.question)
        settles = peer.arrivals.settles(ask.receipt, 1, len(body))
        with self.lock:
            self.take_one(peer.arrivals.intake, keyed.refs, (keyed.number, keyed.maker), ask.message, reply, settles)

    def take(
        self,
        intake: Intake,
        refs: Sequence[tuple[bytes, bytes]],
        epoch: Epoch,
        message: bytes | memoryview,
        settles: Settles,
    ) -> None:
        """Hand what has come in to actors of this node; those that cannot be begun are dead. Under the lock."""
        pids = self.homes(refs, epoch)
        intake.give_up(DEAD, len(refs) - len(pids), settles)
        if pids:
            intake.take([pid.id for pid in pids], message, settles)

    def take_one(
        self,
        intake: Intake,
        refs: Sequence[tuple[bytes, bytes]],
        epoch: Epoch,
        message: bytes | memoryview,
        reply: Any,
        settles: Settles,
    ) -> None:
        """The same for a question, which has one ref."""
        if pids := self.homes(refs, epoch):
            intake.take_one(pids[0].id, message, reply, settles)
            return
        intake.give_up(DEAD, 1, settles)
        error = ActorDeadError("no actor of this key can be begun there")
        reply.set_exception((type(error), error, None))

    def _hear(self, peer: Peer, body: memoryview) -> None:
        words = decode(body)
        with self.lock:
            if self._closed:
                return
            match words:
                case ["expect", list(those)] if all(type(who) is bytes for who in those):
                    self._placement.expect(peer.node, those)
                case ["handoff", bytes(who), bytes(call), bytes(state)]:
                    self._placement.take_over(peer.node, who, call, state)
                case ["name", *words]:
                    self._names.hear(peer.node, words)
                case ["gone", bytes(who)]:
                    self._placement.gone(peer.node, who)
                case _:
                    self._do(self._agreement.hear(peer.node, words))
            self._look()

    def put(self, event: NodeUp | NodeDown | None) -> None:
        """A node has come or gone; None when this node stops."""
        with self.lock:
            if event is None or self._closed:
                self.close()
            elif type(event) is NodeUp:
                self._do(self._agreement.peer_up(event.node))
            else:
                self._placement.lost(event.node)
                self._names.lost(event.node)
                self._do(self._agreement.peer_down(event.node))
            self._look()

    def expect_no_more(self) -> None:
        """Nobody was met in time: this node is the first."""
        if self._agreement.expects_others:
            with self.lock:
                self._do(self._agreement.expect_no_more())

    def close(self) -> None:
        """This node stops: nothing that happens now changes where anything belongs."""
        with self.lock:
            self._closed = True
            self._names.close()

    # What follows.

    def _say(self, node: str, words: list[Any]) -> bool:
        """Say something to a node; False if it is down."""
        peer = self._host.cluster.peers.get(node)
        return peer is not None and peer.put(Kind.DIRECTORY, [encode(words)]) is not None

    def _do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if type(effect) is Say:
                self._say(*effect)
            elif type(effect) is Installed:
                self._placement.installed(effect.before)
                self._names.installed(effect.before)
                if self._on_view is not None:
                    self._on_view(effect.view)
            elif type(effect) is Opened:
                self._placement.opened()
                self._names.opened()
            else:
                self._placement.settled()
                self._do(self._agreement.moved())

    # Names.

    def find(self, name: str, then: Callable[[PID | None], None]) -> None:
        """Tell `then` who holds a name, now or later; None if nobody does."""
        with self.lock:
            self._names.find(name, then)

    def whereis(self, name: str) -> Future[PID | None]:
        """Look a name up."""
        future: Future[PID | None] = Future()
        self.find(_checked(name), future.set)
        return future

    def register(self, name: str, pid: PID) -> Future[None]:
        """Have an actor hold a name."""
        future: Future[None] = Future()

        def settle(holder: PID | NodeDown | bool | None) -> None:
            if holder is None:
                future.set(None)
                return
            error: Exception = ActorDeadError(f"{pid} cannot be registered as {name!r}: there is no such actor")
            if not isinstance(holder, bool):
                error = NameTaken(name, holder) if isinstance(holder, PID) else holder
            future.set_exception((type(error), error, None))

        with self.lock:
            self._names.register(_checked(name), pid, settle)
        return future

    def unregister(self, name: str) -> Future[bool]:
        """Have nobody hold a name."""
        future: Future[bool] = Future()
        with self.lock:
            self._names.unregister(_checked(name), lambda found: future.set(bool(found)))
        return future

    # Leaving.

    def leave(self) -> Future[None]:
        """Have all keys of this node go to others; the future is told when they have."""
        with self.lock:
            left: Future[None] = self._left or Future()
            if self._left is None:
                self._left = left
                self._do(self._agreement.leave())
                self._look()
            return left

    def _look(self) -> None:
        """See whether everything has left that is to leave."""
        left = self._left
        if left is not None and not left.is_set() and self._is_gone():
            left.set()

    def _is_gone(self) -> bool:
        view = self._agreement.view
        takes_part = any(member.takes_part for member in view.members if member.node == self._host.id)
        return not takes_part and self._agreement.is_open and self._placement.is_empty()


def _pairs(refs: Iterable[Placed]) -> list[tuple[bytes, bytes]]:
    return [(ref.who, ref.call) for ref in refs]


def _size(ref: tuple[bytes, bytes]) -> int:
    who, call = ref
    return len(who) + len(call)


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}: {name!r:.50}")
    if not 0 < len(name) <= _NAME_MAX:
        raise ValueError(f"a name has 1 to {_NAME_MAX} characters, not {len(name)}")
    return name
