"""What came of a schedule against what was promised."""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import manifold
from tests.campaign.book import Book, node_of
from tests.campaign.senders import CRASHES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from manifold.testing import Fault

__all__ = ["Case", "audience", "judge"]

ANSWERS = {name: {kind.__name__, "RemoteError", "NodeDown"} for name, kind in CRASHES.items()}
"""What an asker may be told of a crash; NodeDown where the answer was lost."""


class Case(NamedTuple):
    """What is known in the end: all that is in the book, and what the nodes that live have counted."""

    book: Book
    stats: Mapping[str, manifold.Stats]
    is_tight: bool
    """Whether queues and mailboxes were so small that messages were shed."""


def judge(case: Case) -> Counter[str]:
    """Note in the book all that is wrong; give how many messages were lost, doubled and reordered."""
    found = messages(case)
    for node, stats in case.stats.items():
        sums(case, node, stats)
        events(case.book, node)
    receipts(case)
    answers(case)
    monitors(case.book)
    audiences(case)
    return found


# Messages.


def messages(case: Case) -> Counter[str]:
    """Nothing is doubled, reordered or made up, and lost only what is allowed to be."""
    found: Counter[str] = Counter()
    for fault in case.book.checker.faults():
        kind = {"duplicated": "doubled"}.get(fault.kind, fault.kind)
        if kind == "after end" and node_of(str(fault.recipient)) in case.book.stopped:
            continue  # its worker stood still until the stop gave up on it; what it had begun by then, it may end
        if kind != "lost" or not may_be_lost(case, fault):
            found[kind] += 1
            case.book.fail(str(fault))
    return found


def may_be_lost(case: Case, fault: Fault) -> bool:
    """Tell whether the contract allows a loss: the two nodes lost each other before the next that arrived was sent, or
    a queue was full.
    """
    book, sender, recipient = case.book, node_of(str(fault.sender)), node_of(str(fault.recipient))
    at, pair = book.sent_at[str(fault.sender), fault.sequence], book.checker._pairs[fault.sender, fault.recipient]
    later = min((number for number in pair.arrived if number > fault.sequence), default=None)
    until = inf if later is None else book.sent_by(str(fault.recipient), str(fault.sender), later)
    if case.is_tight or (sender != recipient and not book.stayed_up(sender, recipient, at, until)):
        return True
    return sender in book.killed | book.stopped and later is None  # what it had under way went with it


def sums(case: Case, node: str, stats: manifold.Stats) -> None:
    """All that a node sent is accounted for, and what it counts as delivered was handled."""
    book = case.book
    if stats.in_flight:
        book.fail(f"{node}: {stats.in_flight} in flight for ever: {stats}")
    if not book.sent[node] - book.unsure[node] <= stats.sent <= book.sent[node]:
        book.fail(f"{node} counts {stats.sent} as sent, which were {book.sent[node]}, or {book.unsure[node]} fewer")
    if stats.sent != sum(stats[cause] for cause in ("delivered", "dead", "shed", "unreachable", "in_flight")):
        book.fail(f"{node} does not reconcile: {stats}")
    handled = book.handled[node]
    lost = stats.unreachable if book.saw_any_down(node) else 0
    if not handled - lost <= stats.delivered <= handled + cut_short(book):
        book.fail(f"{node} counts {stats.delivered} as delivered, which were {handled}: {stats}")
    if not case.is_tight and stats.shed:
        book.fail(f"{node} shed {stats.shed}, with room for all")


def cut_short(book: Book) -> int:
    """Give how many `async def` handlers may have been called, which counts as delivered, on a node that was killed, or
    gave them up when it stopped, before they began.
    """
    return sum(node_of(pid) in book.killed | book.gave_up for pid in book.awaiting)


def receipts(case: Case) -> None:
    """Every receipt is complete, and tells what happened."""
    book = case.book
    for received in book.receipts:
        if received.node not in case.stats:
            continue
        name = f"the receipt of {received.sender} for {received.sequence}"
        if (outcomes := received.outcomes()) is None:
            book.fail(f"{name} is never complete")
            continue
        told = sum(sum(outcome.values()) for outcome in outcomes.values())
        if not 0 <= received.recipients - told <= book.unsure[f"{received.sender} {received.sequence}"]:
            book.fail(f"{name} speaks of {told} and not of {received.recipients}: {outcomes!r}")
        delivered = sum(outcome.delivered for outcome in outcomes.values())
        unreachable = sum(outcome.unreachable for outcome in outcomes.values())
        copies = book.copies[received.sender, received.sequence]
        if not copies - unreachable <= delivered <= copies + cut_short(book):
            book.fail(f"{name} counts {delivered} delivered, which were {copies}: {outcomes!r}")


def answers(case: Case) -> None:
    """Every question has ended, with the answer or a reason."""
    book = case.book
    for asked in book.asked:
        if asked.node not in case.stats:
            continue
        question = f"{asked.node} asked {asked.pid} {asked.message}"
        if (answer := asked.answer()) is None:
            book.fail(f"{question} at {asked.at:.4f} and never heard")
            continue
        _, number, what, arg = asked.message
        crashed = what == "crash" and book.copies[asked.message[:2]]
        odd = what == "asked oddly" and answer.value == "object" and asked.pid.node == asked.node
        if not answer.error and (crashed or (answer.value != number and not odd)):
            book.fail(f"{question} and got {answer.value!r}")
        if answer.error and crashed and answer.error not in ANSWERS[arg]:
            book.fail(f"{question} and was told {answer.error}")


def monitors(book: Book) -> None:
    """Every monitor has fired once, if there was a reason, and never without."""
    for monitored in book.monitors.values():
        target = str(monitored.pid)
        times = len(monitored.reasons)
        name = f"the monitor of {monitored.watcher} for {target}, made at {monitored.at:.4f},"
        if times > 1:
            book.fail(f"{name} fired {times} times: {monitored.reasons}")
        if times == 1 and monitored.reasons[0] != "node down" and target not in book.ended:
            book.fail(f"{name} fired for nothing: {monitored.reasons}")
        if times or monitored.demonitored or monitored.watcher in book.ended:
            continue
        watcher = node_of(monitored.watcher)
        if target in book.ended or book.saw_down(watcher, monitored.pid.node, monitored.at):
            book.fail(f"{name} never fired")


def audiences(case: Case) -> None:
    """Nobody has left an audience but who had ended, or whose node was gone."""
    for lacked in case.book.lacking:
        has_ended = case.book.ended.get(str(lacked.pid), inf) <= lacked.at
        if not has_ended and not case.book.saw_down(lacked.node, lacked.pid.node, lacked.since, lacked.at):
            case.book.fail(f"an audience of {lacked.audience} lacked {lacked.pid} at {lacked.at:.4f}")


def audience(book: Book, name: str, there: Iterable[manifold.PID], due: Iterable[manifold.PID]) -> None:
    """In an audience is who should be, and nobody else; of those who have ended, none."""
    held, due = set(there), {pid for pid in due if str(pid) not in book.ended}
    if held != due:
        more, less = sorted(held - due), sorted(due - held)
        book.fail(f"an audience of {name} has {more[:3]} too many and lacks {less[:3]}")


def events(book: Book, node: str) -> None:
    """A node told of every change, in order."""
    seen = [(change.other, change.reason) for change in book.history if change.node == node]
    if book.events[node] != seen:
        book.fail(f"{node} told {book.events[node]} of {seen}")
