"""Any mixture of sends, audiences, asks, stops, crashes and resizes keeps what the contract guarantees.

Order per sender and recipient, exactly once to those who live, to an audience as it is at that moment; counts that add
up at any time, and say what happened once all is quiet; receipts and answers that are true.
"""

from __future__ import annotations

import logging
import pickle
import threading
from time import monotonic
from typing import Any, NamedTuple

import pykka
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import manifold
from tests.ordering.world import (
    CRASHES,
    KINDS,
    PATIENCE_S,
    ActorSender,
    AsyncActorSender,
    Message,
    Sender,
    Slow,
    TaskLoop,
    TaskSender,
    ThreadSender,
    Witness,
    World,
    answer,
)

FOREIGN = manifold.PID("elsewhere@00000000", 4711)


class One(NamedTuple):
    """One message to one recipient; `crash` makes it crash on it."""

    form: str
    to: int
    what: str = ""
    crash: str = ""


class Many(NamedTuple):
    """One message to a list; a pick of None stands for a None in it, -1 for a PID of another node."""

    to: tuple[int | None, ...]
    how: str
    copies: str
    pack: bool
    offload: bool
    receipt: bool
    what: str
    crash: str


class Change(NamedTuple):
    """A change of an audience of the sender's."""

    action: str
    slot: int
    to: tuple[int, ...]


class ToAudience(NamedTuple):
    """One message to an audience of the sender's."""

    slot: int
    pack: bool
    offload: bool
    receipt: bool
    what: str
    crash: str
    victim: int


class End(NamedTuple):
    """Stop a recipient."""

    to: int


picks = st.integers(0, 30)
whats = st.sampled_from(["", "", "", "yield", "yield", "gate"])
crashes = st.sampled_from(["", "", "", "", *CRASHES])
slots = st.integers(0, 2)
flags = st.booleans()
FORMS = ["pid", "pid", "ref", "parsed", "tell", "ask", "ref ask", "proxy", "defer", "offload"]
ones = st.builds(One, st.sampled_from(FORMS), picks, whats, crashes)
manies = st.builds(
    Many,
    st.lists(picks | st.sampled_from([None, -1]), max_size=12).map(tuple),
    st.sampled_from(["list", "list", "tuple", "generator", "refs"]),
    st.sampled_from(["", "", "parse", "pickle"]),
    flags, flags, flags, whats, crashes,
)  # fmt: skip
changes = st.builds(
    Change, st.sampled_from(["new", "add", "discard", "update", "close", "forget"]), slots,
    st.lists(picks, max_size=10).map(tuple),
)  # fmt: skip
to_audience = st.builds(ToAudience, slots, flags, flags, flags, whats, crashes, picks)
ends = st.builds(End, picks)
acts = st.lists(ones | ones | manies | manies | changes | to_audience | to_audience | ends, min_size=1, max_size=12)


def total(outcome: manifold.Outcome) -> int:
    return outcome.delivered + outcome.dead + outcome.shed + outcome.unreachable


class Known:
    """What the machine knows of a recipient."""

    def __init__(self, name: str, pid: manifold.PID, ref: manifold.ActorRef[Any]) -> None:
        self.name = name
        self.pid = pid
        self.ref = ref


class Ordering(RuleBasedStateMachine):
    """A node, recipients and senders, and all that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.recipients: list[Known] = []
        self.doomed: dict[str, str] = {}
        self.senders: list[Sender] = []
        self.starting: list[tuple[threading.Thread, threading.Event]] = []
        self.receipts: list[tuple[manifold.Receipt, str, int, int | None, int]] = []
        self.answers: list[tuple[manifold.Future[Any], str, int, type[BaseException] | None]] = []
        self.under_way: dict[Sender, threading.Event] = {}

    @initialize(workers=st.integers(1, 3), kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=8))
    def begin(self, workers: int, kinds: list[str]) -> None:
        logging.getLogger("pykka").setLevel(logging.CRITICAL)
        self.node = manifold.Node("ordering", workers=workers)
        self.witnesses = [self.node.spawn(Witness, self.world) for _ in range(16)]
        self.tasks = TaskLoop()
        self.senders = [
            ThreadSender(self.world, "thread 1"),
            ThreadSender(self.world, "thread 2"),
            TaskSender(self.world, "task 1", self.tasks.loop),
            TaskSender(self.world, "task 2", self.tasks.loop),
            ActorSender(self.world, "actor 1", self.node),
            ActorSender(self.world, "actor 2", self.node),
            AsyncActorSender(self.world, "async actor 1", self.node),
            AsyncActorSender(self.world, "async actor 2", self.node),
        ]
        for kind in kinds:
            self.spawn(kind)

    # What may happen.

    @rule(sender=st.integers(0, 7), acts=acts)
    def act(self, sender: int, acts: list[Any]) -> None:
        who = self.senders[sender]
        self.wait_for_timer(who)
        who.tell(self.played([self.resolved(act) for act in acts]))

    @rule(sender=st.integers(0, 7), to=st.lists(picks, max_size=4))
    def send_after(self, sender: int, to: list[int]) -> None:
        who = self.senders[sender]
        self.wait_for_timer(who)
        known = [self.known(pick) for pick in to]
        fired = self.under_way[who] = threading.Event()

        def later(sender: Sender) -> None:
            number = sender.next()
            self.world.fired[sender.name, number] = fired
            self.world.checker.sending(sender.name, [one.name for one in known], number)
            pids = [one.pid for one in known]
            manifold.send_after(0, [*pids, self.witnesses[number % 16]], tuple(Message(sender.name, number)))

        who.tell(later)

    @rule(kind=st.sampled_from([*sorted(KINDS), "slow"]))
    def spawn(self, kind: str) -> None:
        name = f"{kind} {len(self.recipients)}"
        if kind == "slow":
            self.spawn_slow(name)
        else:
            self.note(name, self.node.spawn(KINDS[kind], self.world, name))

    def note(self, name: str, pid: manifold.PID) -> None:
        self.recipients.append(Known(name, pid, self.world.refs[name]))

    def spawn_slow(self, name: str) -> None:
        known, go_on = threading.Event(), threading.Event()
        thread = threading.Thread(target=self.node.spawn, args=(Slow, self.world, name, known, go_on), daemon=True)
        thread.start()
        assert known.wait(PATIENCE_S)
        pid = next(pid for pid, other in self.world.names.items() if other == name)
        self.note(name, pid)
        self.starting.append((thread, go_on))

    @precondition(lambda self: self.starting)
    @rule()
    def let_start(self) -> None:
        _, go_on = self.starting[0]
        go_on.set()
        self.starting.pop(0)[0].join(PATIENCE_S)

    @rule(workers=st.integers(1, 6))
    def resize(self, workers: int) -> None:
        self.node.resize(workers)
        assert self.node.stats().workers == workers

    @rule()
    def close_gate(self) -> None:
        self.world.close_gate()

    @rule()
    def open_gate(self) -> None:
        self.world.gate.open()

    @rule()
    def settle(self) -> None:
        self.world.gate.open()
        while self.starting:
            self.let_start()
        for sender in self.senders:
            self.wait_for_timer(sender)
        for event in [sender.caught_up() for sender in self.senders]:
            assert event.wait(PATIENCE_S), f"a sender is stuck; {self.state()}"
        self.wait_until_quiet()
        self.check_all()

    # What must hold.

    @invariant()
    def counts_add_up(self) -> None:
        if not hasattr(self, "node"):
            return
        stats = self.node.stats()
        parts = (stats.delivered, stats.dead, stats.shed, stats.unreachable, stats.in_flight)
        assert stats.sent == sum(parts), stats
        assert min(parts) >= 0, stats

    def wait_until_quiet(self) -> None:
        """Let the witnesses of all workers answer, in turn, until nothing is in flight."""
        until = monotonic() + PATIENCE_S
        while True:
            for future in [self.node.ask(pid, "there?", PATIENCE_S) for pid in self.witnesses]:
                assert future.get() == "there?"
            stats = self.node.stats()
            # An `async def` handler that was called counts as delivered; its first line runs a moment later. So do the
            # last lines of an `async def` hook, when what came too late counts as dead already.
            if not stats.in_flight and stats.delivered == self.world.delivered and self.stopped_have_ended():
                return
            assert monotonic() < until, f"never quiet: {self.state()}"

    def stopped_have_ended(self) -> bool:
        return all(self.world.checker.has_ended(name) for name, how in self.doomed.items() if how == "stop")

    def check_all(self) -> None:
        assert not self.world.errors, "\n".join(self.world.errors)
        self.world.checker.check(f"{self.node.stats()}, ended by {self.doomed}")
        stats = self.node.stats()
        assert stats.shed == 0, self.state()
        for receipt, sender, sequence, recipients, foreign in self.receipts:
            self.check_receipt(receipt.get(timeout=PATIENCE_S), sender, sequence, recipients, foreign)
        for future, name, sequence, raises in self.answers:
            self.check_answer(answer(future), name, sequence, raises)
        self.receipts.clear()
        self.answers.clear()

    def check_receipt(self, got: Any, sender: str, sequence: int, recipients: int | None, foreign: int) -> None:
        here = got.get(self.node.id, manifold.Outcome())
        assert here.delivered == self.world.checker.copies(sender, sequence), (got, sender, sequence)
        assert sum(outcome.unreachable for outcome in got.values()) == foreign, (got, sender, sequence)
        if recipients is not None:
            assert sum(map(total, got.values())) == recipients, (got, sender, sequence)

    def check_answer(self, got: Any, name: str, sequence: int, raises: type[BaseException] | None) -> None:
        if isinstance(got, pykka.ActorDeadError):
            assert name in self.doomed, f"{name} was not there for the question {sequence}"
        elif raises is not None:
            assert type(got) is raises, (got, name, sequence)
        else:
            assert got == sequence, (got, name, sequence)

    def state(self) -> str:
        return f"{self.node.stats()}, handled {self.world.delivered}, errors {self.world.errors}"

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        try:
            self.settle()
            self.node.stop()
            self.check_stopped()
        finally:
            self.world.gate.open()
            self.node.stop()
            for sender in self.senders:
                sender.close()
            self.tasks.close()
            logging.getLogger("pykka").setLevel(logging.NOTSET)

    def check_stopped(self) -> None:
        stats = self.node.stats()
        assert (stats.in_flight, stats.actors) == (0, 0), stats
        still = [one.name for one in self.recipients if not self.world.checker.has_ended(one.name)]
        assert not still, f"{still} ended without on_stop"
        assert not self.world.errors, "\n".join(self.world.errors)
        assert not pykka.ActorRegistry.get_all()

    # How it is done.

    def known(self, pick: int) -> Known:
        return self.recipients[pick % len(self.recipients)]

    def wait_for_timer(self, sender: Sender) -> None:
        """A `send_after(0)` counts as sent when it fires: the sender's next send waits for that."""
        if (fired := self.under_way.pop(sender, None)) is not None and not fired.is_set():
            self.world.gate.open()
            assert fired.wait(PATIENCE_S), f"a send_after never fired; {self.state()}"

    def doom(self, crash: str, victim: Known) -> bool:
        """An actor is ended once at most, so that it is known how."""
        if not crash or victim.name in self.doomed:
            return False
        self.doomed[victim.name] = crash
        return True

    def resolved(self, act: Any) -> Any:
        """Give what a sender is to do, with the recipients as they are known now."""
        match act:
            case One(to=to):
                return self.resolved_one(act, self.known(to))
            case Many(to=to, crash=crash):
                known = [pick if pick in (None, -1) else self.known(pick) for pick in to]
                victim = next((one for one in known if isinstance(one, Known)), None)
                return act, known, victim if victim and self.doom(crash, victim) else None
            case Change(to=to):
                return act, [self.known(pick) for pick in to], None
            case ToAudience(crash=crash, victim=pick):
                victim = self.known(pick)
                return act, [], victim if self.doom(crash, victim) else None
            case End(to=to):
                known = self.known(to)
                return act, [known], known if self.doom("stop", known) else None

    def resolved_one(self, act: One, to: Known) -> Any:
        form, what, crash = act.form, act.what, act.crash
        if form in ("proxy", "defer"):
            what = crash = ""
        asked_to_raise = form in ("ask", "ref ask") and crash in ("Crashed", "MemoryError")
        victim = to if asked_to_raise or self.doom(crash, to) else None
        return act._replace(form=form, what=what, crash=crash), [to], victim

    def played(self, acts: list[Any]) -> Any:
        def play(sender: Sender) -> None:
            for act, known, victim in acts:
                match act:
                    case One():
                        self.send_one(sender, act, known[0], victim)
                    case Many():
                        self.send_many(sender, act, known, victim)
                    case Change():
                        self.change(sender, act, known)
                    case ToAudience():
                        self.send_to_audience(sender, act, victim)
                    case End() if victim is not None:
                        self.end(sender, victim)

        return play

    def send_one(self, sender: Sender, act: One, to: Known, victim: Known | None) -> None:
        number, checker = sender.next(), self.world.checker
        checker.sending(sender.name, [to.name], number)
        what, raises = act.what, None
        if victim is not None:
            asked = act.form in ("ask", "ref ask")
            what, raises = f"{'ask ' if asked else ''}{act.crash}", CRASHES[act.crash]
            if not asked or raises not in (CRASHES["Crashed"], MemoryError):
                checker.ending(sender.name, to.name, number)
        message = tuple(Message(sender.name, number, what, victim and victim.pid))
        try:
            future = self.deliver(act.form, to, message)
        except pykka.ActorDeadError:
            checker.not_sent(sender.name, [to.name], number)
        else:
            if future is not None:
                self.answers.append((future, to.name, number, raises))

    def deliver(self, form: str, to: Known, message: tuple[Any, ...]) -> Any:
        match form:
            case "pid":
                manifold.send(to.pid, message)
            case "parsed":
                manifold.send(manifold.PID.parse(str(to.pid)), message)
            case "offload":
                manifold.send(to.pid, message, send_mode="offload")
            case "ref":
                manifold.send(to.ref, message)
            case "tell":
                to.ref.tell(message)
            case "ask":
                return manifold.ask(to.pid, message, timeout=None)
            case "ref ask":
                return to.ref.ask(message, block=False)
            case "proxy":
                return to.ref.proxy().note(*message[:2])
            case "defer":
                to.ref.proxy().note.defer(*message[:2])
        return None

    def send_many(self, sender: Sender, act: Many, known: list[Any], victim: Known | None) -> None:
        number = sender.next()
        names = [one.name for one in known if isinstance(one, Known)]
        self.world.checker.sending(sender.name, names, number)
        if victim is not None:
            self.world.checker.ending(sender.name, victim.name, number)
        to: Any = [self.address(one, act) for one in known]
        if act.how == "tuple":
            to = tuple(to)
        elif act.how == "generator":
            to = iter(to)
        receipt = self.send(sender, act, to, number, victim)
        if receipt is not None:
            foreign = known.count(-1)
            self.receipts.append((receipt, sender.name, number, len(names) + foreign, foreign))

    def address(self, one: Any, act: Many) -> Any:
        if not isinstance(one, Known):
            return None if one is None else FOREIGN
        if act.how == "refs":
            return one.ref
        if act.copies == "parse":
            return manifold.PID.parse(str(one.pid))
        return pickle.loads(pickle.dumps(one.pid)) if act.copies == "pickle" else one.pid

    def send(
        self, sender: Sender, act: Many | ToAudience, to: Any, number: int, victim: Known | None
    ) -> manifold.Receipt | None:
        what = act.crash if victim is not None else act.what
        message = tuple(Message(sender.name, number, what, victim and victim.pid))
        return manifold.send(
            to,
            message,
            pack_mode="binary" if act.pack else None,
            send_mode="offload" if act.offload else None,
            receipt=act.receipt,
        )

    def change(self, sender: Sender, act: Change, known: list[Known]) -> None:
        members = {one.pid: None for one in known}
        if act.action == "new":
            sender.audiences[act.slot] = manifold.Audience(members), members
            return
        if act.slot not in sender.audiences:
            return
        audience, have = sender.audiences[act.slot]
        match act.action:
            case "add" if known:
                audience.add(known[0].pid)
                have[known[0].pid] = None
            case "discard" if known:
                audience.discard(known[0].pid)
                have.pop(known[0].pid, None)
            case "update":
                audience.update(members)
                have.update(members)
            case "close":
                audience.close()
                del sender.audiences[act.slot]
            case "forget":
                del sender.audiences[act.slot]

    def send_to_audience(self, sender: Sender, act: ToAudience, victim: Known | None) -> None:
        if act.slot not in sender.audiences:
            return
        audience, members = sender.audiences[act.slot]
        number = sender.next()
        self.world.checker.sending(sender.name, [self.world.names[pid] for pid in members], number)
        if victim is not None and victim.pid in members:
            self.world.checker.ending(sender.name, victim.name, number)
        receipt = self.send(sender, act, audience, number, victim)
        if receipt is not None:
            self.receipts.append((receipt, sender.name, number, None, 0))

    def end(self, sender: Sender, victim: Known) -> None:
        self.world.checker.ending(sender.name, victim.name)
        victim.ref.stop(block=False)


TestOrdering = pytest.mark.timeout(0)(Ordering.TestCase)
TestOrdering.settings = settings(
    max_examples=settings.default.max_examples // 2, stateful_step_count=settings.default.stateful_step_count
)
