"""A play: nodes, members on each, and senders of every kind, which send in every form while things happen to the nodes.

What must hold in the end, whatever happened, is in `Play.verify`. Run again with the seed of a failure:
MANIFOLD_SEED=... pytest tests/ordering; with more of everything: --hypothesis-profile=long.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pykka
from hypothesis import settings

import manifold
from tests.cluster.support import Nodes, meet, reconciles, until
from tests.ordering.source import Source
from tests.ordering.watching import Watching
from tests.ordering.world import ActorSender, AsyncActorSender, TaskLoop, TaskSender, ThreadSender, World
from tests.support import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SEED = int(os.environ.get("MANIFOLD_SEED") or random.randrange(1 << 32))
TIMES = max(1, settings().max_examples // 100)
"""How much more than usual: 30 times in the long profile."""

GROUPS = 4
STUCK_S = 60.0 * TIMES


class Member(manifold.Actor):
    """Tells the checker what arrives; crashes at its n-th message, if told to."""

    mailbox_max = 1_000_000

    def __init__(self, world: World, name: str, crashes_at: int) -> None:
        self.world = world
        self.name = name
        self.left = crashes_at

    def on_receive(self, message: tuple[Any, ...] | None) -> Any:
        if message is None:
            return None
        sender, number, *asked = message
        self.world.checker.arrived(self.name, sender, number)
        self.left -= 1
        if asked and self.left == 0:
            self.left = 1  # what a question raises goes to its asker, and ends nobody
        if self.left == 0:
            self.world.checker.ended(self.name)
            raise random.Random(number).choice([ValueError, SystemExit, MemoryError])
        return number

    def on_stop(self) -> None:
        self.world.checker.ended(self.name)


class Awaiting(Member):
    """The same with an `async def` handler that sometimes awaits."""

    async def on_receive(self, message: tuple[Any, ...] | None) -> Any:
        result = super().on_receive(message)
        if message is not None and message[1] % 8 == 0:
            await asyncio.sleep(0)
        return result


class Foreign(pykka.ThreadingActor):
    """An ordinary Pykka actor, which tells the checker as well."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__()
        self.world = world
        self.name = name

    def on_receive(self, message: tuple[Any, ...] | None) -> Any:
        if message is None:
            return None
        self.world.checker.arrived(self.name, *message[:2])
        return message[1]


class Cast:
    """Who is on one node, in one of its incarnations."""

    def __init__(self, node: manifold.Node, label: str) -> None:
        self.node = node
        self.label = label
        self.members: list[manifold.PID] = []
        self.foreign: list[pykka.ActorRef[Foreign]] = []
        self.sources: list[Source] = []

    def resize(self, rng: random.Random) -> None:
        """Change the number of its workers, if it can be."""
        if self.node.worker_kind == "thread":
            self.node.resize(rng.randint(1, 4))


class Turn(NamedTuple):
    """What a sender was told to send."""

    source: Source
    done: threading.Event

    def is_over(self) -> bool:
        """Whether it has; or it was an actor of a node that has stopped."""
        has_ended = isinstance(self.source.sender, ActorSender) and not self.source.cast.node.is_running
        return has_ended or self.done.is_set()


class Play:
    """The casts of all nodes, past and present. `disturb` is called now and then by every sender.

    There are so many members for each group on each node, of whom some crash; `options` are those of all nodes.
    """

    def __init__(
        self, nodes: Nodes, names: str = "abc", *, members: int = 8, crashing: int = 1, **options: Any
    ) -> None:
        self.world = World()
        self.checker = self.world.checker
        self.disturb: Callable[[Source], None] = lambda _: None
        self.gives_receipts = False
        self.random = random.Random(SEED)
        self.watching = Watching(self)
        self.casts: list[Cast] = []
        self.groups: list[tuple[manifold.PID, ...]] = [()] * GROUPS
        self.names: dict[manifold.PID, str] = {}
        self.lost: set[str] = set()
        """The nodes that were stopped, killed, or cut off from the others for good."""
        self._told: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._made: Counter[str] = Counter()
        self._members = members
        self._crashing = crashing
        self._options = {"workers": 2, **options}
        self._nodes = nodes
        self._tasks = TaskLoop()
        for name in names:
            self.enter(name)

    @property
    def sources(self) -> list[Source]:
        return [source for cast in self.casts for source in cast.sources]

    def present(self) -> list[Cast]:
        return [cast for cast in self.casts if cast.node.id not in self.lost]

    def cast(self, name: str) -> Cast:
        return next(cast for cast in self.present() if cast.node.name == name)

    # Who comes, and goes.

    def enter(self, name: str, **options: Any) -> Cast:
        """Make a node, and have all know it; then give it members and senders."""
        join = [cast.node.address for cast in self.present()]
        node = self._nodes.node(name, join=join, **{**self._options, **options})
        meet(node, *(cast.node for cast in self.present()))
        self._made[name] += 1
        cast = Cast(node, f"{name}{self._made[name]}")
        self.watching.enter(cast)
        self.casts.append(cast)
        cast.sources = self._sources(cast)
        cast.members = [self._member(cast, at) for at in range(GROUPS * self._members)]
        self.take_in({pid: f"{cast.label}/{at}" for at, pid in enumerate(cast.members)})
        return cast

    def _member(self, cast: Cast, at: int) -> manifold.PID:
        name = f"{cast.label}/{at}"
        if at == 0:
            cast.foreign.append(Foreign.start(self.world, name))
            return cast.node.pid_of(cast.foreign[-1])
        crashes_at = self.random.randrange(1, 500 * TIMES) if at <= GROUPS * self._crashing else 0
        return cast.node.spawn(Awaiting if at // GROUPS % 4 == 1 else Member, self.world, name, crashes_at)

    def take_in(self, names: dict[manifold.PID, str]) -> None:
        """Have all senders send to these too, from their next turn on."""
        self.names.update(names)
        pids = list(names)
        self.groups = [(*group, *pids[at::GROUPS]) for at, group in enumerate(self.groups)]

    def _sources(self, cast: Cast) -> list[Source]:
        senders = [
            ThreadSender(self.world, f"{cast.label}/thread"),
            TaskSender(self.world, f"{cast.label}/task", self._tasks.loop),
            ActorSender(self.world, f"{cast.label}/actor", cast.node),
            AsyncActorSender(self.world, f"{cast.label}/async actor", cast.node),
        ]
        return [Source(self, cast, sender) for sender in senders]

    # What happens.

    def go(self, sends: int, *casts: Cast) -> list[Turn]:
        """Have every sender of these, or of all present, make so many sends; gives what `wait` takes."""
        sources = [source for cast in casts or self.present() for source in cast.sources]
        return [Turn(source, event) for source in sources if (event := source.go(sends)) is not None]

    def tell(self, node: manifold.Node, messages: int = 1) -> None:
        """Note that the play itself sends so many messages from a node: they count, too."""
        with self._lock:
            self._told[node.id] += messages

    def wait(self, turns: Iterable[Turn]) -> None:
        """Wait until all have been made, or never will be; meanwhile all counts add up."""
        waiting = list(turns)
        assert until(lambda: self._adds_up() and all(turn.is_over() for turn in waiting), STUCK_S), self.note()

    def _adds_up(self) -> bool:
        for cast in self.casts:
            stats = cast.node.stats()
            assert reconciles(stats), f"seed {SEED}: {cast.label}: {stats}"
        return True

    def _in_flight(self) -> int:
        self._adds_up()
        return sum(cast.node.stats().in_flight for cast in self.casts)

    def note(self) -> str:
        """What stands in the text of every failure."""
        casts = [f"{cast.label} at {[s.number for s in cast.sources]}: {cast.node.stats()}" for cast in self.casts]
        return f"seed {SEED}; errors {self.world.errors[:3]}; {'; '.join(casts)}"

    def rejoin(self) -> bool:
        """Have every sender take those into its audiences who left with a node that is back; whether that is all."""
        self.wait([Turn(source, source.rejoin()) for source in self.sources])
        kept = [pair for source in self.sources for pair in source.audiences]
        return all(set(audience) == self.alive(members) for audience, members in kept)

    def alive(self, pids: Iterable[manifold.PID]) -> set[manifold.PID]:
        return {pid for pid in pids if not self.checker.has_ended(self.names[pid])}

    # What must hold.

    def verify(self) -> None:
        """When all senders are through: nobody is stuck, every future ends, counts are true, and all else arrived."""
        self.settle()
        self.check()

    def settle(self) -> None:
        """Let all that is under way arrive, and every future end."""
        assert not self.world.errors, f"seed {SEED}: {self.world.errors[0]}"
        while left := self._in_flight():  # a slow machine is not stuck as long as it goes on
            assert until(lambda left=left: self._in_flight() != left, 30), self.note()
        for source in self.sources:
            source.verify_answers()
            source.excuse_what_receipts_say()
        self._let_members_finish()

    def check(self) -> None:
        """Hold what arrived against what was sent, and against the counts."""
        self._sever()
        self.checker.check(self.note())
        for cast in self.casts:
            self._verify_counts(cast)
        self.watching.verify()
        assert not self.world.errors, f"seed {SEED}: {self.world.errors[0]}"
        assert until(self._audiences_hold_who_is_here), self.note()

    def _let_members_finish(self) -> None:
        """An `async def` handler that was called counts as delivered; its first line runs a moment later.

        So does what was put into the inbox of an ordinary Pykka actor.
        """
        for cast in self.casts:
            for ref in cast.foreign:
                ref.ask(None, timeout=PATIENCE_S)
            if cast.node.is_running:
                self.tell(cast.node, len(cast.members))
                asked = [cast.node.ask(pid, None, timeout=None) for pid in cast.members]
                assert until(lambda asked=asked: all(future.is_set() for future in asked)), self.note()

    def _sever(self) -> None:
        for cast in self.casts:
            if cast.node.id in self.lost:
                others = [other for other in self.casts if other is not cast]
                self.checker.severed(self._senders(*self.casts), self._recipients(cast))
                self.checker.severed(self._senders(cast), self._recipients(*others))

    def _senders(self, *casts: Cast) -> list[str]:
        names = [source.name for cast in casts for source in cast.sources]
        return names + [name for cast in casts for name in self.watching.senders_on(cast)]

    def _recipients(self, *casts: Cast) -> list[str]:
        names = [self.names[pid] for cast in casts for pid in cast.members]
        return names + [name for cast in casts for name in self.watching.recipients_on(cast)]

    def _verify_counts(self, cast: Cast) -> None:
        """What arrived is what counts as delivered; but of what is unreachable some may have arrived."""
        stats = cast.node.stats()
        arrived = self.checker.total_from(self._senders(cast))
        told = self._told[cast.node.id]
        note = f"{arrived} arrived, {told} told: {self.note()}"
        assert stats.delivered - told <= arrived <= stats.delivered + stats.unreachable, note
        assert stats.shed == 0, self.note()

    def _audiences_hold_who_is_here(self) -> bool:
        audiences = [kept[0] for cast in self.present() for source in cast.sources for kept in source.audiences]
        return not any(pid.node in self.lost for audience in audiences for pid in audience)

    def close(self) -> None:
        for source in self.sources:
            source.sender.close()
        self._tasks.close()
        self._nodes.close()
        for ref in (ref for cast in self.casts for ref in cast.foreign):
            ref.stop()
