"""Names: each held for one actor of the cluster, by the node to which the ring gives the name.

The node where the actor lives is the one that knows best: it claims the name from its owner, claims it again from the
next owner when the ring changes, and gives it up when the actor ends. An owner answers only while its view is open: by
then every name that is held has been claimed from it. Of two actors that came to hold one name while the network was
split, the one that was registered first keeps it, and the other is told.

Everything is called under the directory's lock.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.core.codec import register_own
from manifold.core.pid import PID
from manifold.errors import CodecError, ManifoldError, NodeDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifold.core.views import Agreement, View
    from manifold.ports import Host

    Then = Callable[[Any], object]

__all__ = ["NameLost", "Names"]

logger = logging.getLogger("manifold")


class NameLost(NamedTuple):
    """The message to an actor that held a name: `holder`, registered before it, holds it from now on.

    It comes when a network that was split is whole again, and both sides had registered the name.
    """

    name: str
    holder: PID


register_own(NameLost, 105, list, lambda value: NameLost(*value))


class _Held:
    """A name of an actor of this node."""

    __slots__ = ("is_granted", "pid", "since", "waiting")

    def __init__(self, pid: PID, since: int) -> None:
        self.pid = pid
        self.since = since
        self.is_granted = False
        self.waiting: list[Then] = []


class _Claim:
    """A name that belongs here: who holds it since when, and which nodes have been told so."""

    __slots__ = ("pid", "since", "told")

    def __init__(self, pid: PID, since: int) -> None:
        self.pid = pid
        self.since = since
        self.told: set[str] = set()


class _Question(NamedTuple):
    verb: str
    name: str
    then: Then
    home: str | None = None
    pid: int = 0


class Names:
    """The names of one node: those of its actors, those that belong here, and those that it has looked up."""

    def __init__(self, host: Host, agreement: Agreement, say: Callable[[str, list[Any]], bool]) -> None:
        self._host = host
        self._node = host.id
        self._agreement = agreement
        self._say = say
        self._held: dict[str, _Held] = {}
        self._claims: dict[str, _Claim] = {}
        self._waiting: list[tuple[str, list[Any]]] = []
        self._known: dict[str, PID] = {}
        self._questions: dict[int, _Question] = {}
        self._numbers = itertools.count(1)
        self._is_closed = False

    # What this node's users ask. Each `then` is called once.

    def known(self, name: str) -> PID | None:
        """Give who holds a name, as far as that is known here: a look-up, without the lock."""
        return self._known.get(name)

    def find(self, name: str, then: Then) -> None:
        """Tell `then` who holds a name; None if nobody does."""
        if self._is_closed or (pid := self._known.get(name)) is not None:
            then(None if self._is_closed else pid)
        else:
            self._ask(_Question("find", name, then))

    def register(self, name: str, pid: PID, then: Then) -> None:
        """Have an actor hold a name; `then` is told None, or the PID of another that holds it, or an exception."""
        if pid.node == self._node:
            self._hold(name, pid, then)
        else:
            self._ask(_Question("register", name, then, pid.node, pid.id))

    def unregister(self, name: str, then: Then) -> None:
        """Have nobody hold a name; `then` is told whether somebody did."""
        self._ask(_Question("drop", name, then))

    def _ask(self, question: _Question) -> None:
        number = next(self._numbers)
        self._questions[number] = question
        self._put(number, question)

    def _put(self, number: int, question: _Question) -> None:
        words = [question.verb, number, *self._agreement.view.epoch, question.name, question.pid]
        node = question.home or self._owner(question.name)
        if not self._tell(node, words) and question.home is not None:
            self._answer(number, NodeDown(node))

    def _answer(self, number: int, value: Any) -> None:
        if (question := self._questions.pop(number, None)) is not None:
            if question.verb == "find" and value is not None:
                self._known[question.name] = value
            question.then(value)

    def _owner(self, name: str) -> str:
        return self._agreement.view.owner(name) or self._node

    def _tell(self, node: str, words: list[Any]) -> bool:
        if node != self._node:
            return self._say(node, ["name", *words])
        self.hear(node, words)
        return True

    # The home's part.

    def _hold(self, name: str, pid: PID, then: Then) -> None:
        held = self._held.get(name)
        if held is not None and held.pid != pid:
            then(held.pid)
        elif held is not None and held.is_granted:
            then(None)
        elif held is not None:
            held.waiting.append(then)
        else:
            held = self._held[name] = _Held(pid, self._host.around.time_ns())
            held.waiting.append(then)
            self._host.monitor(pid, _Watcher(self._host, self, name))
            if self._held.get(name) is held:  # else it has ended already
                self._claim(name, held)

    def _claim(self, name: str, held: _Held) -> None:
        epoch = self._agreement.view.epoch
        self._tell(self._owner(name), ["claim", *epoch, name, held.pid.id, held.since, not held.is_granted])

    def _settle(self, name: str, number: int, holder: PID | None) -> None:
        """The owner has said who holds a name that an actor of this node claimed."""
        held = self._held.get(name)
        if held is None or held.pid.id != number:
            return
        was_granted, held.is_granted = held.is_granted, True
        if holder is not None:
            del self._held[name]
            if was_granted:
                self._report_loss(held.pid, NameLost(name, holder))
        waiting, held.waiting = held.waiting, []
        for then in waiting:
            then(holder)

    def _report_loss(self, pid: PID, loss: NameLost) -> None:
        logger.warning("%s: %s holds %r from now on, not %s any more", self._node, loss.holder, loss.name, pid)
        try:
            self._host.sender.send(pid, loss, None, None, False)
        except ManifoldError as error:
            logger.error("%s could not be told so: %s", pid, error)

    def ended(self, name: str, pid: PID) -> None:
        """An actor that held a name has ended."""
        held = self._held.get(name)
        if held is not None and held.pid == pid:
            self._release(name, held)
            for then in held.waiting:
                then(False)

    def _release(self, name: str, held: _Held) -> None:
        del self._held[name]
        self._tell(self._owner(name), ["unclaim", *self._agreement.view.epoch, name, held.pid.id])

    # The owner's part, and what it answers.

    def hear(self, node: str, words: list[Any]) -> None:
        """Another node, or this one, has said something; CodecError if it makes no sense."""
        if not self._hear_as_owner(node, words):
            self._hear_as_other(node, words)

    def _hear_as_owner(self, node: str, words: list[Any]) -> bool:
        match words:
            case ["find" | "drop", int(), int(number), str(maker), str(name), int()]:
                self._when_open(node, words, (number, maker), name)
            case ["claim", int(number), str(maker), str(name), int(), int(), bool()]:
                self._when_open(node, words, (number, maker), name)
            case ["unclaim", int(number), str(maker), str(name), int()]:
                self._when_open(node, words, (number, maker), name)
            case _:
                return False
        return True

    def _hear_as_other(self, node: str, words: list[Any]) -> None:
        match words:
            case ["register", int(number), int(), str(), str(name), int(pid)]:
                reply = lambda value: self._tell(node, ["answer", number, value])  # noqa: E731
                self._hold(name, PID(self._node, pid), reply)
            case ["answer", int(number), None | bool() | PID() as value]:
                self._answer(number, value)
            case ["granted", str(name), int(pid)]:
                self._settle(name, pid, None)
            case ["taken", str(name), int(pid), PID() as holder]:
                self._settle(name, pid, holder)
            case ["dropped", str(name), int(pid)]:
                if (held := self._held.get(name)) is not None and held.pid.id == pid:
                    del self._held[name]
            case ["forget", str(name)]:
                self._known.pop(name, None)
            case _:
                raise CodecError("words about names that make no sense")

    def _when_open(self, node: str, words: list[Any], epoch: tuple[int, str], name: str) -> None:
        """Do what an owner is asked, when it is sure of its names; what was asked by an earlier view is asked again."""
        if epoch > self._agreement.view.epoch or not self._agreement.is_sure:
            self._waiting.append((node, words))
        elif self._owner(name) == self._node:
            self._serve(node, words, name)

    def _serve(self, node: str, words: list[Any], name: str) -> None:
        claim = self._claims.get(name)
        match words:
            case ["find", number, *_]:
                if claim is not None:
                    claim.told.add(node)
                self._tell(node, ["answer", number, None if claim is None else claim.pid])
            case ["drop", number, *_]:
                if claim is not None:
                    self._forget(name)
                    self._tell(claim.pid.node, ["dropped", name, claim.pid.id])
                self._tell(node, ["answer", number, claim is not None])
            case ["claim", _, _, _, pid, since, is_fresh]:
                self._grant(name, claim, _Claim(PID(node, pid), since), is_fresh=is_fresh)
            case ["unclaim", _, _, _, pid]:
                if claim is not None and claim.pid == PID(node, pid):
                    self._forget(name)

    def _grant(self, name: str, claim: _Claim | None, other: _Claim, *, is_fresh: bool) -> None:
        """Let a name be held by the one who claims it, unless somebody does whose right is older."""
        if claim is not None and claim.pid != other.pid:
            if is_fresh or (claim.since, claim.pid) <= (other.since, other.pid):
                self._tell(other.pid.node, ["taken", name, other.pid.id, claim.pid])
                return
            self._forget(name)
            self._tell(claim.pid.node, ["taken", name, claim.pid.id, other.pid])
        if claim is None or claim.pid != other.pid:
            self._claims[name] = other
        self._tell(other.pid.node, ["granted", name, other.pid.id])

    def _forget(self, name: str) -> None:
        for node in self._claims.pop(name).told:
            self._tell(node, ["forget", name])

    # Views.

    def installed(self, before: View) -> None:
        """Another view has come: what belongs elsewhere now is claimed, and asked for, there."""
        self._known = {name: pid for name, pid in self._known.items() if before.owner(name) == self._owner(name)}
        self._claims = {name: claim for name, claim in self._claims.items() if self._owner(name) == self._node}
        for name, held in list(self._held.items()):
            if not held.is_granted or before.owner(name) != self._owner(name):
                self._claim(name, held)
        for number, question in list(self._questions.items()):
            if question.home is None:  # anew: what the owner before has still to say may be out of date
                del self._questions[number]
                self._ask(question)

    def opened(self) -> None:
        """Every name that belongs here has been claimed."""
        waiting, self._waiting = self._waiting, []
        # First of all what was held before: who claims a name for the first time comes after that.
        for node, words in sorted(waiting, key=lambda item: item[1][0] != "claim" or item[1][-1]):
            self.hear(node, words)

    def lost(self, node: str) -> None:
        """A node has gone down, and the names of its actors with it."""
        self._known = {name: pid for name, pid in self._known.items() if pid.node != node}
        self._waiting = [item for item in self._waiting if item[0] != node]
        for name, claim in list(self._claims.items()):
            claim.told.discard(node)
            if claim.pid.node == node:
                self._forget(name)
        for number, question in list(self._questions.items()):
            if question.home == node:
                self._answer(number, NodeDown(node))

    def close(self) -> None:
        """This node stops: nobody answers any more."""
        self._is_closed = True
        for number in list(self._questions):
            self._answer(number, None)


class _Watcher:
    """Learns when an actor that holds a name has ended."""

    def __init__(self, host: Host, names: Names, name: str) -> None:
        self._host = host
        self._names = names
        self._name = name

    def on_end(self, pid: PID, reason: str) -> None:  # noqa: ARG002
        with self._host.directory.lock:
            self._names.ended(self._name, pid)
