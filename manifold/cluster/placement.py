"""Actors by key: one for each key, on the node that the view says, begun by the first message.

When a view gives a key to another node, the actor hands over: behind all that was sent to it by the old view it is
asked for its state and ends, and the new node begins with that state. What is sent by the new view meanwhile waits
there, in the inbox of an actor that has not begun. So nothing is forwarded, and order needs no other rule.

Everything is called under the directory's lock.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from manifold.actors.actor import Actor
from manifold.actors.placed import find_class
from manifold.core.codec import decode
from manifold.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from manifold.core.pid import PID
    from manifold.core.views import Agreement, Epoch, View
    from manifold.ports import Host, Nest

    Say = Callable[[str, list[Any]], bool]

__all__ = ["Placement", "owner_of", "portions"]

logger = logging.getLogger("manifold")

_ANNOUNCED_BYTES = 1 << 20
"""How much of keys one frame announces, unless one alone is larger."""
_ITEM_BYTES = 16
"""More than what an item takes besides its own bytes."""

T = TypeVar("T")


class _Home:
    """An actor of this node that has a key."""

    __slots__ = ("call", "pid", "who")

    def __init__(self, who: bytes, call: bytes, pid: PID) -> None:
        self.who = who
        self.call = call
        self.pid = pid


class _Orphan(NamedTuple):
    """What an actor handed over to a node that was gone by then."""

    who: bytes
    call: bytes
    state: bytes


class Placement:
    """The placed actors of one node."""

    def __init__(
        self, host: Host, agreement: Agreement, nest: Nest, say: Say, changed: Callable[[], None], lock: Any
    ) -> None:
        self._host = host
        self._node = host.id
        self._agreement = agreement
        self._nest = nest
        self._say = say
        self.changed = changed
        self._lock = lock
        self._before: View | None = None
        self.homes: dict[bytes, _Home] = {}
        # While nodes come and go fast a key may pass through here several times: each time has its turn.
        self._unborn: dict[bytes, list[_Home]] = {}
        self._expected: dict[bytes, list[str]] = {}
        self._departing: dict[_Home, str] = {}
        self._orphans: list[_Orphan] = []
        self._classes: dict[tuple[str, str], type[Actor]] = {}

    # Messages.

    def home(self, who: bytes, call: bytes, epoch: Epoch) -> PID | None:
        """Give the actor for a key, to which a sender in that view sends: begun now, or when it can be.

        None if it does not belong here.
        """
        home = self.homes.get(who)
        if home is None:
            begins = self._begins(who, epoch)
            if begins is None or (home := self._conceive(who, call)) is None:
                return None
            if begins:
                self._bear(who, None)
        return home.pid

    def _begins(self, who: bytes, epoch: Epoch) -> bool | None:
        """Tell whether an actor that is not here may begin now, or has to wait; None if it does not belong here."""
        view, before = self._agreement.view, self._before
        if epoch > view.epoch:
            return False  # that view comes here soon
        if owner_of(view, who) == self._node:
            return self._agreement.is_sure and who not in self._expected
        if self._agreement.is_settled or before is None or epoch != before.epoch or owner_of(before, who) != self._node:
            return None
        return who not in self._expected  # its sender is behind: for a moment it still belongs here

    def _conceive(self, who: bytes, call: bytes) -> _Home | None:
        try:
            cls, args = self._class_of(who), decode(call)
            if type(args) is not tuple:
                raise CodecError("arguments that are none")  # noqa: TRY301
            pid = self._nest.conceive(cls, args)
        except Exception as error:  # noqa: BLE001 - the class's own code may have run
            logger.error("%s: a placed actor cannot begin: %s: %s", self._node, type(error).__name__, error)
            return None
        home = self.homes[who] = _Home(who, call, pid)
        self._unborn.setdefault(who, []).append(home)
        self._host.monitor(pid, _Watcher(self, home))
        return home

    def _class_of(self, who: bytes) -> type[Actor]:
        module, name, _, _ = _described(who)
        cls = self._classes.get((module, name))
        if cls is None:
            cls = find_class(module, name)
            if not (isinstance(cls, type) and issubclass(cls, Actor)):
                msg = f"no class of actors {module}.{name} was imported here; every node that takes part must import it"
                raise TypeError(msg)
            self._classes[module, name] = cls
        return cls

    def _bear(self, who: bytes, takeover: bytes | None) -> None:
        """Let the first of those who wait for a key begin."""
        waiting = self._unborn[who]
        self._nest.bear(waiting.pop(0).pid.id, takeover)
        if not waiting:
            del self._unborn[who]

    # Views.

    def installed(self, before: View) -> None:
        """Another view has come."""
        self._before = before

    def settled(self) -> None:
        """Nobody sends here by an earlier view: say what goes elsewhere, and have it go."""
        going: dict[str, list[bytes]] = {}
        for who in [*self.homes, *(self._expected.keys() - self.homes.keys() - self._on_their_way())]:
            if (owner := self._goes(who)) is not None:
                going.setdefault(owner, []).append(who)
        for node, those in sorted(going.items()):
            for some in portions(those, len, _ANNOUNCED_BYTES):
                self._say(node, ["expect", some])
        for node, those in sorted(going.items()):
            for who in those:
                if (home := self.homes.get(who)) is not None:
                    self._depart(home, node)
        self._rehome_orphans()

    def _on_their_way(self) -> set[bytes]:
        """Give the keys of actors that are just handing over to a node that takes them."""
        return {home.who for home in self._departing if self._node not in self._expected.get(home.who, ())}

    def opened(self) -> None:
        """All that will come from others is here or announced: the rest begins."""
        for who in self._unborn.keys() - self._expected.keys():
            while who in self._unborn:
                self._bear(who, None)

    def lost(self, node: str) -> None:
        """A node has gone down: what it was to hand over begins afresh, and what was to go there goes on from here."""
        for home, to in self._departing.items():
            if to == node:
                self.expect(self._node, [home.who])
        for who, givers in list(self._expected.items()):
            while node in givers:
                self._arrived(who, node, None)

    def is_empty(self) -> bool:
        """Tell whether nothing is here that belongs elsewhere."""
        return not (self._departing or self._orphans or any(map(self._goes, self.homes)))

    def _goes(self, who: bytes) -> str | None:
        """Give the other node to which a key belongs, if it does."""
        owner = owner_of(self._agreement.view, who)
        return None if owner == self._node else owner

    # Handing over.

    def _depart(self, home: _Home, node: str) -> None:
        del self.homes[home.who]  # from now on another of the same key may come
        self._departing[home] = node
        self._nest.hand_over(home.pid, _Departure(self, home))

    def departed(self, home: _Home, state: bytes | None) -> None:
        """An actor has ended, with its state, or without having been asked for one."""
        with self._lock:
            node = self._departing.pop(home)
            words = ["gone", home.who] if state is None else ["handoff", home.who, home.call, state]
            if self._say(node, words) or state is None:
                self._is_not_coming(self._node, home.who)
            else:
                self._orphans.append(_Orphan(home.who, home.call, state))
                self._rehome_orphans()
            self.changed()

    def _is_not_coming(self, node: str, who: bytes) -> None:
        if node in self._expected.get(who, ()):
            self._arrived(who, node, None)

    def _rehome_orphans(self) -> None:
        orphans, self._orphans = self._orphans, []
        for orphan in orphans:
            owner = self._goes(orphan.who)
            if owner is None or orphan.who in self._unborn:  # who waits here goes there with it
                self.take_over(self._node, *orphan)
            elif self._say(owner, ["handoff", *orphan]):
                self._is_not_coming(self._node, orphan.who)
            else:
                self._orphans.append(orphan)

    def expect(self, node: str, those: list[bytes]) -> None:
        """A node has announced what it is going to hand over."""
        for who in those:
            self._expected.setdefault(who, []).append(node)

    def gone(self, node: str, who: bytes) -> None:
        """An actor that was announced had ended before it could hand over."""
        self._arrived(who, node, None)

    def take_over(self, node: str, who: bytes, call: bytes, state: bytes) -> None:
        """An actor has handed over its key to this node; `state` is empty if it could give none."""
        if who in self._unborn or (who not in self.homes and self._conceive(who, call) is not None):
            self._arrived(who, node, state or None)
        else:
            self._arrived(who, node, None)
            if state and who in self.homes:
                self._nest.take_over(self.homes[who].pid, state)
        home, owner = self.homes.get(who), self._goes(who)
        if home is not None and owner is not None and self._agreement.is_settled:
            self._depart(home, owner)

    def _arrived(self, who: bytes, node: str, takeover: bytes | None) -> None:
        givers = self._expected.get(who, [])
        if node in givers:
            givers.remove(node)
        if not givers:
            self._expected.pop(who, None)
        if who in self._unborn:
            self._bear(who, takeover)

    def ended(self, home: _Home) -> None:
        """An actor has ended: the next message to its key begins another."""
        with self._lock:
            if self.homes.get(home.who) is home:
                del self.homes[home.who]
            waiting = self._unborn.get(home.who, [])
            if home in waiting:
                waiting.remove(home)
                if not waiting:
                    del self._unborn[home.who]


class _Watcher:
    """Learns when a placed actor has ended."""

    def __init__(self, placement: Placement, home: _Home) -> None:
        self._placement = placement
        self._home = home

    def on_end(self, pid: PID, reason: str) -> None:  # noqa: ARG002
        self._placement.ended(self._home)


class _Departure:
    """Takes what an actor hands over: its state, or a bool when there was none to be asked."""

    def __init__(self, placement: Placement, home: _Home) -> None:
        self._placement = placement
        self._home = home

    def set(self, value: Any) -> None:
        self._placement.departed(self._home, None if isinstance(value, bool) else value)

    def set_exception(self, exc_info: Any) -> None:  # noqa: ARG002
        self._placement.departed(self._home, None)


def portions(items: Iterable[T], size: Callable[[T], int], room: int) -> Iterator[list[T]]:
    """Give items in lists that take no more than `room` bytes each, unless one alone does."""
    some: list[T] = []
    left = room
    for item in items:
        left -= size(item) + _ITEM_BYTES
        if left < 0 and some:
            yield some
            some, left = [], room - size(item) - _ITEM_BYTES
        some.append(item)
    if some:
        yield some


def _described(who: bytes) -> tuple[str, str, str | bytes, str | None]:
    match decode(who):
        case [str(module), str(name), str() | bytes() as key, str() | None as role]:
            return module, name, key, role
    raise CodecError("no actor is named so")


def owner_of(view: View, who: bytes) -> str | None:
    """Give the node to which a key belongs in a view, by how its actor is described; None if nobody has the role."""
    _, _, key, role = _described(who)
    return view.owner(key, role)
