"""The sends of one sender of a play: every form and mode, to groups and audiences that change, and questions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pykka

import manifold
from manifold import ports
from tests.support import PATIENCE_S

if TYPE_CHECKING:
    import threading

    from tests.ordering.play import Cast, Play
    from tests.ordering.world import Sender

AT_A_TIME = 10
DISTURB_EVERY = 20


class Source:
    """One sender. `go` has it make more sends; all else happens as that sender."""

    def __init__(self, play: Play, cast: Cast, sender: Sender) -> None:
        self.play = play
        self.cast = cast
        self.sender = sender
        self.name = sender.name
        self.random = random.Random(f"{play.random.random()}/{sender.name}")
        self.number = 0
        self.groups: list[tuple[manifold.PID, ...]] = [()] * len(play.groups)
        self.audiences: list[tuple[manifold.Audience, dict[manifold.PID, None]]] = []
        self.asked: list[tuple[manifold.PID, int, float | None, manifold.Future[Any]]] = []
        self.receipts: list[tuple[int, list[manifold.PID], manifold.Receipt]] = []

    def go(self, sends: int) -> threading.Event | None:
        """Have it make so many sends; gives an event that tells when it has. None if its node has stopped."""
        try:
            for _ in range(0, sends, AT_A_TIME):
                self._tell(self.some)
            self.play.told[self.cast.node.id] += 1
            return self.sender.caught_up()
        except manifold.NodeStopped:
            return None

    def _tell(self, act: Any) -> None:
        self.play.told[self.cast.node.id] += 1
        self.sender.tell(act)

    def some(self, _: Sender) -> None:
        token = ports.current.set(self.cast.node)
        try:
            self.meet_the_new()
            for _ in range(AT_A_TIME):
                self.one()
                if self.number % DISTURB_EVERY == 0:
                    self.play.disturb(self)
        except manifold.NodeStopped:
            if self.cast.node.id not in self.play.lost:
                raise
        finally:
            ports.current.reset(token)

    def meet_the_new(self) -> None:
        """Those who have come since are in every audience."""
        for place, group in enumerate(self.play.groups):
            if place == len(self.audiences):
                self.audiences.append((manifold.Audience(), {}))
            fresh = group[len(self.groups[place]) :]
            self.take_in(place, fresh)
            self.groups[place] = group

    def take_in(self, place: int, pids: Any) -> None:
        audience, members = self.audiences[place]
        audience.update(pids)
        members.update(dict.fromkeys(pids))

    def rejoin(self) -> threading.Event:
        """Have it take in anew all who it has in its audiences."""
        self._tell(lambda _: [self.take_in(at, list(members)) for at, (_, members) in enumerate(self.audiences)])
        self.play.told[self.cast.node.id] += 1
        return self.sender.caught_up()

    def one(self) -> None:
        self.number += 1
        place = self.random.randrange(len(self.groups))
        group = self.groups[place]
        draw = self.random.random()
        modes: dict[str, Any] = {}
        if self.random.random() < 0.1:
            modes["pack_mode"] = "binary"
        if self.random.random() < 0.08:
            modes["send_mode"] = "offload"
        if draw < 0.45:
            if self.random.random() < 0.5:
                self.change(place)
            self.send_to_audience(place, modes)
        elif draw < 0.8:
            self.send(group, group, modes)
        elif draw < 0.9:
            some = self.random.choices(group, k=10)
            self.send((pid for pid in some), some, modes)
        elif draw < 0.95:
            pid = self.random.choice(group)
            self.send(pid, [pid], {})
        else:
            self.ask(self.random.choice(group), self.random.choice([None, None, 0.05]))

    def change(self, place: int) -> None:
        audience, members = self.audiences[place]
        for pid in self.random.sample(self.groups[place], 3):
            if pid in members:
                audience.discard(pid)
                del members[pid]
            else:
                self.take_in(place, [pid])
        if self.random.random() < 0.02:
            audience.close()
            fresh = self.random.sample(self.groups[place], len(self.groups[place]) // 2)
            self.audiences[place] = manifold.Audience(fresh), dict.fromkeys(fresh)

    def send_to_audience(self, place: int, modes: dict[str, Any]) -> None:
        audience, members = self.audiences[place]
        # Where nodes may come back, only the audience itself knows who has left it.
        self.send(audience, list(audience if self.play.gives_receipts else members), modes)

    def send(self, to: Any, pids: Any, modes: dict[str, Any]) -> None:
        names = [self.play.names[pid] for pid in pids]
        self.play.checker.sending(self.name, names, self.number)
        if self.play.gives_receipts:
            modes = {**modes, "receipt": True}
        try:
            receipt = manifold.send(to, (self.name, self.number), **modes)
        except manifold.NodeStopped:
            self.play.checker.not_sent(self.name, names, self.number)
            raise
        if receipt is not None:
            self.receipts.append((self.number, list(pids), receipt))

    def ask(self, pid: manifold.PID, timeout: float | None) -> None:
        self.play.checker.sending(self.name, [self.play.names[pid]], self.number)
        future = manifold.ask(pid, (self.name, self.number, "asked"), timeout=timeout)
        self.asked.append((pid, self.number, timeout, future))

    # In the end.

    def verify_answers(self) -> None:
        """Every future ends: with the answer; or because the recipient has ended, or its node, or the time is over."""
        for pid, number, timeout, future in self.asked:
            where = f"{self.name}'s {number} to {self.play.names[pid]}: {self.play.note()}"
            try:
                assert future.get(timeout=PATIENCE_S if timeout is None else None) == number, where
            except manifold.AskTimeout:
                assert timeout is not None, f"never answered: {where}"
            except (manifold.NodeDown, pykka.ActorDeadError) as error:
                self.verify_failure(pid, number, error, where)

    def verify_failure(self, pid: manifold.PID, number: int, error: Exception, where: str) -> None:
        name = self.play.names[pid]
        if isinstance(error, manifold.NodeDown) and self.play.gives_receipts:
            self.play.checker.excused(self.name, [name], number)
        elif not self.play.checker.has_ended(name):
            assert {self.cast.node.id, pid.node} & self.play.lost, f"{error!r}: {where}"

    def excuse_what_receipts_say(self) -> None:
        """What a receipt says did not reach a node may be missing there, and nothing else."""
        for number, pids, receipt in self.receipts:
            outcomes = receipt.get(timeout=PATIENCE_S)
            for node in {pid.node for pid in pids}:
                those = [pid for pid in pids if pid.node == node]
                outcome = outcomes.get(node, manifold.Outcome())
                where = f"{self.name}'s {number} to {len(those)} on {node}: {outcome}; {self.play.note()}"
                if outcome.unreachable or not sum(outcome.values()):
                    assert not (outcome.delivered or outcome.dead), where
                    self.play.checker.excused(self.name, [self.play.names[pid] for pid in those], number)
                else:
                    # One that has ended may have left the audience in the moment before the send.
                    ended = sum(self.play.checker.has_ended(self.play.names[pid]) for pid in those)
                    assert 0 <= len(those) - outcome.delivered - outcome.dead <= ended, where
