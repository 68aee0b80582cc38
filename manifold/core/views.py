"""Views: which nodes the cluster agrees to consist of, and how all of them pass from one view to the next.

Keys and names belong to nodes by the ring of a view, so a key may change its node only when nobody sends by the old
view any more. One node of those in a view, the one with the least id, leads: it makes the next view when another is
due and all are through with this one. In each, every node says twice to every other: SWITCHED, when all that it sends
from now on goes by the new view; and, when all have said so, MOVED, when it has told the others what it will hand to
them. When all have said MOVED the view is open: what a node was not told to expect begins there afresh. A node that
goes down is not waited for.

Nodes that come are a view of their own, if only of one, and views are joined whole: the leader of one offers it to the
least node that all of its nodes are connected with, and makes no view itself until it has taken the offer back. So
nobody gets views from two sides, and nobody is left behind by those it still sends to. After a network has split both
sides go on with views of their own, and meet again in the same way.

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
        self.nodes = frozenset(member.node for member in self.members)
        self._ids = {name_of(node): node for node in sorted(self.nodes)}
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
    """What a node tells the one that leads it."""

    epoch: Epoch
    is_open: bool
    member: Member
    up: frozenset[str]


class Group(NamedTuple):
    """All who are in one view, and the nodes that each of them is connected with, themselves among them."""

    epoch: Epoch
    members: tuple[Member, ...]
    common: frozenset[str]

    def nodes(self) -> set[str]:
        """Give their ids."""
        return {member.node for member in self.members}

    def fits(self, other: Group) -> bool:
        """Tell whether everybody of the one is connected with everybody of the other."""
        nodes, others = self.nodes(), other.nodes()
        return nodes.isdisjoint(others) and others <= self.common and nodes <= other.common

    def plus(self, other: Group) -> Group:
        """Give the two as one."""
        members = tuple(sorted({*self.members, *other.members}))
        return Group(max(self.epoch, other.epoch), members, self.common & other.common)


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

    def __init__(self, node: str, roles: Iterable[str] = (), *, expects_others: bool = False) -> None:
        self.node = node
        self.expects_others = expects_others
        """Whether it is alone just because it has not met the others yet."""
        self.roles = tuple(sorted(set(roles)))
        self.takes_part = True
        self.view = View((1, node), [Member(node, self.roles)])
        self.is_settled = self.is_open = self._has_moved = True
        self._up: set[str] = set()
        # Of this view: those that have been connected ever since it came.
        self._with: set[str] = set()
        self._given_up: set[str] = set()
        # By which view a node goes, and whether this node is in it.
        self._switched: dict[str, tuple[Epoch, bool]] = {}
        self._moved: dict[str, Epoch] = {}
        self._statuses: dict[str, Status] = {}
        self._reported: tuple[str, Status] | None = None
        self._offers: dict[str, Group] = {}
        self._offered: tuple[str, Group] | None = None
        self._is_taken_back = False
        self._effects: list[Effect] = []

    @property
    def is_sure(self) -> bool:
        """Whether what this node was not told to expect is certain to be nowhere."""
        return self.is_open and not self.expects_others

    # What happens.

    def expect_no_more(self) -> list[Effect]:
        """There seem to be no others."""
        was_sure, self.expects_others = self.is_sure, False
        return [Opened()] if self.is_sure and not was_sure else []

    def peer_up(self, node: str) -> list[Effect]:
        """A node is connected."""
        self._up.add(node)
        self._say_switched(node)
        if self._has_moved:
            self._say(node, "moved", self.view.epoch)
        return self._go_on()

    def peer_down(self, node: str) -> list[Effect]:
        """A node is not connected any more."""
        self._up.discard(node)
        self._with.discard(node)
        for told in (self._switched, self._moved, self._statuses, self._offers):
            told.pop(node, None)
        if self._offered is not None and self._offered[0] == node:
            self._offered, self._is_taken_back = None, False
        if node == self.view.epoch[1]:
            self._pass_on()
        return self._go_on()

    def leave(self) -> list[Effect]:
        """Take part no more: keys that belong here are to go elsewhere."""
        self.takes_part = False
        return self._go_on()

    def moved(self) -> list[Effect]:
        """All that others will be handed has been told them."""
        self._has_moved = True
        for node in sorted(self._up):
            self._say(node, "moved", self.view.epoch)
        return self._go_on()

    def hear(self, node: str, words: Any) -> list[Effect]:
        """Another node has said something; CodecError if it makes no sense."""
        match words:
            case [str(word), int(number), str(maker), *rest] if 0 < number < _NUMBER_MAX:
                self._hear(node, word, (number, maker), rest)
            case _:
                raise CodecError(_NO_SENSE)
        return self._go_on()

    def _hear(self, node: str, word: str, epoch: Epoch, rest: list[Any]) -> None:
        match [word, *rest]:
            case ["switched", bool(is_in)]:
                self._switched[node] = epoch, is_in
            case ["moved"]:
                self._moved[node] = epoch
            case ["status", bool(is_open), [str(about), *_] as member, list(up)] if about == node:
                self._statuses[node] = Status(epoch, is_open, _member(member), frozenset(_strings(up)))
            case ["without", list(lost)]:
                given_up = _strings(lost)
                if epoch == self.view.epoch:
                    self._with.difference_update(given_up)
            case ["view", list(members)]:
                self._install(View(epoch, _members(members), self.view))
            case _:
                self._hear_offer(node, word, epoch, rest)

    def _hear_offer(self, node: str, word: str, epoch: Epoch, rest: list[Any]) -> None:
        match [word, *rest]:
            case ["offer", list(members), list(common)]:
                group = Group(epoch, _members(members), frozenset(_strings(common)))
                if node not in group.nodes():
                    raise CodecError(_NO_SENSE)
                self._offers[node] = group
            case ["take back"]:
                self._offers.pop(node, None)
                self._say(node, "taken back", epoch)
            case ["taken back"]:
                self._taken_back(node, epoch)
            case _:
                raise CodecError(_NO_SENSE)

    # What follows.

    def _go_on(self) -> list[Effect]:
        self._advance()
        if self._has_moved or not self.is_settled:  # else `moved` is to be called first, and the rest follows then
            self._report_or_lead()
        effects, self._effects = self._effects, []
        return effects

    def _report_or_lead(self) -> None:
        mine = self._mine()
        if (leader := min(mine)) != self.node:
            self._report(leader)
        else:
            self._give_up(mine)
            if self._are_through(mine):
                self._lead(mine)

    def _say(self, node: str, word: str, epoch: Epoch, *rest: Any) -> None:
        self._effects.append(Say(node, [word, *epoch, *rest]))

    def _say_switched(self, node: str) -> None:
        self._say(node, "switched", self.view.epoch, node in self.view.nodes)

    def _advance(self) -> None:
        if not self.is_settled and all(self._switch(node)[0] >= self.view.epoch for node in self._with):
            self.is_settled = True
            self._effects.append(Settled())
        if not self.is_open and self._has_moved:
            self.is_open = all(self._moved.get(node, _NEVER) >= self.view.epoch for node in self._with)
            if self.is_open:
                self._effects.append(Opened())

    def _switch(self, node: str) -> tuple[Epoch, bool]:
        return self._switched.get(node, (_NEVER, True))

    def _mine(self) -> list[str]:
        """Give the nodes of this view that are here still; not those who go by a later one that this node is not in."""
        others = [node for node in self._with if (now := self._switch(node))[1] or now[0] <= self.view.epoch]
        return [self.node, *others]

    def _status(self) -> Status:
        member = Member(self.node, self.roles, self.takes_part)
        return Status(self.view.epoch, self.is_open, member, frozenset(self._up))

    def _report(self, leader: str) -> None:
        report = leader, self._status()
        if report != self._reported:
            self._reported = report
            _, status = report
            self._say(leader, "status", status.epoch, status.is_open, _words(status.member), sorted(status.up))

    # Who leads.

    def _give_up(self, mine: list[str]) -> None:
        """Have nobody wait for those that this node has lost: they may not know this view."""
        lost = self.view.nodes.difference(mine, self._given_up)
        if lost:
            self._given_up |= lost
            for node in sorted(self._with.intersection(mine)):
                self._say(node, "without", self.view.epoch, sorted(lost))

    def _are_through(self, mine: list[str]) -> bool:
        """Tell whether the view is open at every node of it, and all of them have said so."""
        statuses = [self._statuses.get(node) for node in mine if node != self.node]
        return self.is_open and all(s is not None and s.is_open and s.epoch == self.view.epoch for s in statuses)

    def _lead(self, mine: list[str]) -> None:
        """Make the next view, if another is due, else offer this one to be joined with another."""
        own = whole = self._group(mine)
        for _, other in sorted(self._offers.items()):
            if whole.fits(other):
                whole = whole.plus(other)
        if whole is own and own.members == self.view.members:
            self._offer(own)
        elif self._offered is not None:
            self._take_back()
        else:
            self._make(whole)

    def _group(self, mine: list[str]) -> Group:
        statuses = [self._status() if node == self.node else self._statuses[node] for node in mine]
        common = frozenset.intersection(*(status.up | {status.member.node} for status in statuses))
        return Group(self.view.epoch, tuple(sorted(status.member for status in statuses)), common)

    def _offer(self, own: Group) -> None:
        to = min((node for node in own.common - own.nodes() if node < self.node), default=None)
        if self._offered is not None and self._offered[0] != to:
            self._take_back()
        elif to is not None and not self._is_taken_back and self._offered != (to, own):
            self._offered = to, own
            self._say(to, "offer", own.epoch, [_words(member) for member in own.members], sorted(own.common))

    def _take_back(self) -> None:
        if self._offered is not None and not self._is_taken_back:
            self._is_taken_back = True
            self._say(self._offered[0], "take back", self.view.epoch)

    def _taken_back(self, node: str, epoch: Epoch) -> None:
        if self._offered is not None and self._offered[0] == node and self.view.epoch == epoch:
            self._offered, self._is_taken_back = None, False

    def _make(self, whole: Group) -> None:
        known = [whole.epoch, self.view.epoch, *(epoch for epoch, _ in self._switched.values())]
        view = View((1 + max(known)[0], self.node), whole.members, self.view)
        for node in sorted(self._up & view.nodes):
            self._say_view(node, view)
        self._install(view)
        self._advance()

    def _say_view(self, node: str, view: View) -> None:
        self._say(node, "view", view.epoch, [_words(member) for member in view.members])

    def _pass_on(self) -> None:
        """The node that made this view is gone: give it to those who may not have it yet."""
        for node in sorted(self._with):
            if self._switch(node)[0] < self.view.epoch:
                self._say_view(node, self.view)

    def _install(self, view: View) -> None:
        if view.epoch <= self.view.epoch or self.node not in view.nodes:
            return
        before, self.view = self.view, view
        self.expects_others = False
        self._with = (self._up & view.nodes) - {self.node}
        self._given_up = set()
        self._offered, self._is_taken_back = None, False
        self._offers = {node: group for node, group in self._offers.items() if view.nodes.isdisjoint(group.nodes())}
        self.is_settled = self.is_open = self._has_moved = False
        self._effects.append(Installed(before, view))
        for node in sorted(self._up):
            self._say_switched(node)


_NEVER: Epoch = (0, "")
_NUMBER_MAX = 1 << 62
_NO_SENSE = "words about views that make no sense"


def _strings(values: list[Any]) -> tuple[str, ...]:
    if all(type(value) is str for value in values):
        return tuple(values)
    raise CodecError(_NO_SENSE)


def _words(member: Member) -> list[Any]:
    return [member.node, list(member.roles), member.takes_part]


def _member(words: Any) -> Member:
    match words:
        case [str(node), list(roles), bool(takes_part)]:
            return Member(node, _strings(roles), takes_part)
    raise CodecError(_NO_SENSE)


def _members(words: list[Any]) -> tuple[Member, ...]:
    """Read members; a node stands once, and they are ordered."""
    members = [_member(member) for member in words]
    nodes = [member.node for member in members]
    if nodes != sorted(set(nodes)):
        raise CodecError(_NO_SENSE)
    return tuple(members)
