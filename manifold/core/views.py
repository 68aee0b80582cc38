"""Views: which nodes the cluster agrees to consist of, and how all of them pass from one view to the next.

Keys and names belong to nodes by the ring of a view, so a key may change its node only when nobody sends by the old
view any more. One node, the one with the least id among those that are connected, makes the views, one after the
other. In each, every node says twice to every other: SWITCHED, when all that it sends from now on goes by the new view;
and, when all have said so, MOVED, when it has told the others what it will hand to them. When all have said MOVED the
view is open: what a node was not told to expect begins there afresh. A node that goes down is not waited for.

After a network has split both sides go on with views of their own, and when they meet again the next view is common.
The two rounds are those of view-synchronous group communication: Birman and Joseph, "Exploiting virtual synchrony in
distributed systems" (SOSP 1987).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.core.ring import Ring
from manifold.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Agreement", "Epoch", "Installed", "Member", "Opened", "Say", "Settled", "View", "name_of"]

Epoch = tuple[int, str]
"""The number of a view, and the node that made it; views are ordered by it."""


class Member(NamedTuple):
    """A node in a view; keys belong to those that take part, in each role that they have."""

    node: str
    roles: tuple[str, ...] = ()
    takes_part: bool = True


class View:
    """The nodes of a cluster, and to which of them each key belongs. Two of the same members are interchangeable."""

    def __init__(self, epoch: Epoch, members: Sequence[Member], before: View | None = None) -> None:
        self.epoch = epoch
        self.members = tuple(members)
        self._ids = {name_of(member.node): member.node for member in self.members}
        self._rings: dict[str | None, Ring] = {}
        # A ring that differs in a node or two is made much faster of the one there was than anew.
        self._rings_before = {} if before is None else before._rings

    def __reduce__(self) -> tuple[Any, ...]:
        return View, (self.epoch, self.members)

    def ring(self, role: str | None = None) -> Ring:
        """Give the ring of the names of the nodes that have a role, or of all of them."""
        ring = self._rings.get(role)
        if ring is None:
            names = {name_of(m.node) for m in self.members if m.takes_part and (role is None or role in m.roles)}
            ring = self._rings[role] = _ring_of(names, self._rings_before.get(role))
        return ring

    def owner(self, key: str | bytes, role: str | None = None) -> str | None:
        """Give the id of the node that a key belongs to; None if nobody has the role."""
        ring = self.ring(role)
        return self._ids[ring.find(key)] if ring.nodes else None


def _ring_of(names: set[str], before: Ring | None) -> Ring:
    if before is None:
        return Ring(sorted(names))
    for name in before.nodes.keys() - names:
        before = before.remove(name)
    for name in names - before.nodes.keys():
        before = before.add(name)
    return before


def name_of(node: str) -> str:
    """Give the name of a node: its id without the incarnation."""
    return node.rpartition("@")[0]


class Status(NamedTuple):
    """What a node tells the one that makes the views."""

    epoch: Epoch
    is_open: bool
    takes_part: bool
    roles: tuple[str, ...]
    up: frozenset[str]


class Say(NamedTuple):
    """To be said to another node."""

    node: str
    words: list[Any]


class Installed(NamedTuple):
    """From now on everything is to go by this view."""

    before: View
    view: View


class Settled(NamedTuple):
    """Nobody sends by an earlier view any more; what others will be handed is to be told them, then `moved` called."""


class Opened(NamedTuple):
    """All that is to come from others has come, or been announced."""


Effect = Say | Installed | Settled | Opened


class Agreement:
    """One node's part in agreeing on views; no I/O, no clock. Every method gives what is to be done, in order.

    What nodes say to each other must arrive in the order said, as on a link, and behind what was sent before it.
    """

    def __init__(self, node: str, roles: Iterable[str] = ()) -> None:
        self.node = node
        self.roles = tuple(sorted(set(roles)))
        self.takes_part = True
        self.view = View((1, node), [Member(node, self.roles)])
        self.is_settled = self.is_open = self._has_moved = True
        self._up: set[str] = set()
        self._switched: dict[str, Epoch] = {}
        self._moved: dict[str, Epoch] = {}
        self._statuses: dict[str, Status] = {}
        self._reported: tuple[str, Status] | None = None
        self._effects: list[Effect] = []

    # What happens.

    def peer_up(self, node: str) -> list[Effect]:
        """A node is connected."""
        self._up.add(node)
        self._reported = None
        self._say(node, "switched")
        if self._has_moved:
            self._say(node, "moved")
        return self._go_on()

    def peer_down(self, node: str) -> list[Effect]:
        """A node is not connected any more."""
        self._up.discard(node)
        for told in (self._switched, self._moved, self._statuses):
            told.pop(node, None)
        return self._go_on()

    def leave(self) -> list[Effect]:
        """Take part no more: keys that belong here are to go elsewhere."""
        self.takes_part = False
        return self._go_on()

    def moved(self) -> list[Effect]:
        """All that others will be handed has been told them."""
        self._has_moved = True
        for node in sorted(self._up):
            self._say(node, "moved")
        return self._go_on()

    def hear(self, node: str, words: Any) -> list[Effect]:
        """Another node has said something; CodecError if it makes no sense."""
        match words:
            case [("switched" | "moved") as word, int(number), str(maker)]:
                (self._switched if word == "switched" else self._moved)[node] = (number, maker)
            case ["status", int(number), str(maker), bool(is_open), bool(takes_part), list(roles), list(up)]:
                status = Status((number, maker), is_open, takes_part, _strings(roles), frozenset(_strings(up)))
                self._statuses[node] = status
            case ["view", int(number), str(maker), list(members)]:
                self._install(View((number, maker), [_member(member) for member in members], self.view))
            case _:
                raise CodecError("words about views that make no sense")
        return self._go_on()

    # What follows.

    def _go_on(self) -> list[Effect]:
        self._advance()
        self._report()
        self._make_view()
        effects, self._effects = self._effects, []
        return effects

    def _say(self, node: str, word: str) -> None:
        self._effects.append(Say(node, [word, *self.view.epoch]))

    def _advance(self) -> None:
        if not self.is_settled and self._have_said(self._switched):
            self.is_settled = True
            self._effects.append(Settled())
        if not self.is_open and self._has_moved and self._have_said(self._moved):
            self.is_open = True
            self._effects.append(Opened())

    def _have_said(self, what: dict[str, Epoch]) -> bool:
        """Tell whether all others have said something of this view, or of a later one."""
        others = [member.node for member in self.view.members if member.node in self._up]
        return all(what.get(node, (0, "")) >= self.view.epoch for node in others)

    def _status(self) -> Status:
        return Status(self.view.epoch, self.is_open, self.takes_part, self.roles, frozenset(self._up))

    def _report(self) -> None:
        maker = min(self._up, default=self.node)
        report = maker, self._status()
        if maker < self.node and report != self._reported:
            self._reported = report
            _, status = report
            words = [*status.epoch, status.is_open, status.takes_part, list(status.roles), sorted(status.up)]
            self._effects.append(Say(maker, ["status", *words]))

    def _make_view(self) -> None:
        """Make the next view, if that is for this node to do, and another one is due, and all are through this one."""
        if any(node < self.node for node in self._up):
            return
        known = {**self._statuses, self.node: self._status()}
        members = [Member(node, known[node].roles, known[node].takes_part) for node in sorted(self._fit(known))]
        if members != list(self.view.members) and all(known[member.node].is_open for member in members):
            number = 1 + max(status.epoch[0] for status in known.values())
            view = View((number, self.node), members, self.view)
            words = ["view", *view.epoch, [[node, list(roles), takes] for node, roles, takes in members]]
            self._effects += [Say(node, words) for node in sorted(self._up) if node in view._ids.values()]
            self._install(view)
            self._advance()

    def _fit(self, known: dict[str, Status]) -> list[str]:
        """Give the nodes of the next view: those of this one that are here, and who is connected with all of them."""
        fit = [member.node for member in self.view.members if member.node in known]
        for node in sorted(known.keys() - set(fit)):
            if all(node in known[other].up and other in known[node].up for other in fit):
                fit.append(node)
        return fit

    def _install(self, view: View) -> None:
        if view.epoch <= self.view.epoch or self.node not in view._ids.values():
            return
        before, self.view = self.view, view
        self.is_settled = self.is_open = self._has_moved = False
        self._effects.append(Installed(before, view))
        for node in sorted(self._up):
            self._say(node, "switched")


def _strings(values: list[Any]) -> tuple[str, ...]:
    if all(type(value) is str for value in values):
        return tuple(values)
    raise CodecError("words about views that make no sense")


def _member(words: Any) -> Member:
    match words:
        case [str(node), list(roles), bool(takes_part)]:
            return Member(node, _strings(roles), takes_part)
    raise CodecError("words about views that make no sense")
