"""A peer at the other end of a pipe: everything that nodes say to each other, and two questions more."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from manifold.actors import ActorDeadError
from manifold.cluster.answers import Reply
from manifold.cluster.peer import Peer
from manifold.core.bodies import Kind, Question
from manifold.core.codec import encode
from manifold.core.link_terms import LinkError
from manifold.core.pid import PID
from manifold.ports import DEAD
from manifold.processes.talk import Word
from manifold.transport.pipe import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.core.link import Link
    from manifold.ports import Host, Intake
    from manifold.transport.pipe import Pipe

__all__ = ["PipePeer", "WorkerPeer"]


class PipePeer(Peer):
    """One conversation over a pipe. It is up from the start, and `place` is where its recipients are reached."""

    outside = 0

    def __init__(
        self,
        place: str,
        pipe: Pipe,
        number: int,
        host: Host,
        left: Callable[[int, str, Sequence[int], int], None],
        intake: Intake,
    ) -> None:
        channel = Channel(pipe, number, host.limits.packet_max_bytes)
        super().__init__("", cast("Link", channel), host, _nothing, left, _meet, intake)
        self.node = place
        self.up = True
        self._host = host
        self._of_node = intake.node
        for word, what in _INQUIRIES.items():
            self.handlers[word] = partial(self._inquired, what)

    def inquire(self, what: str, pid: PID, future: Any) -> None:
        """Stop an actor (`stop`), find out whether it lives (`probe`), or have it hand over (`hand over`).

        The future is told whether it lived, or its encoded state.
        """
        number = next(self._numbers)
        self._asks[number] = future
        word = next(word for word, meant in _INQUIRIES.items() if meant == what)
        if not self.put(word, Question(number, pid.id).pack()) and self._asks.pop(number, None) is not None:
            future.set(False)

    def inquire_of(self, kind: int, data: bytes, future: Any) -> bool | None:
        """Ask something of the other side; None, and the future is told nothing, when it has ended."""
        number = next(self._numbers)
        self._asks[number] = future
        taken = self.put(kind, [*Question(number, 0).pack(), data])
        return taken or self._asks.pop(number, None) is None

    def _inquired(self, what: str, body: memoryview) -> None:
        question = Question.unpack(body)
        limit = self._host.limits.packet_max_bytes if what == "hand over" else 1 << 16
        reply = Reply(question.number, lambda answer: self.put(Kind.ANSWER, answer.pack()), limit)
        self._host.inquire(what, PID(self._of_node, question.id), reply)


_INQUIRIES = {Word.STOP: "stop", Word.PROBE: "probe", Word.HAND_OVER: "hand over"}


class WorkerPeer(PipePeer):
    """What a main process says to one of its workers: when that one dies, what was for it is dead."""

    absence = DEAD
    end = "its worker process died"

    def gone(self, reason: str = "") -> Exception:  # noqa: ARG002
        return ActorDeadError(f"{self.node}: {self.end}")

    def start(self, word: Word, number: int, call: bytes) -> bool:
        """Have an actor started under an id, or made; False if there is no room, or nobody there."""
        with self.lock:
            try:
                self.link.send(word, [number.to_bytes(8, "little"), call])
            except LinkError:
                return False
        return True

    def know(self, cls: type, future: Any) -> None:
        """Find out whether the worker can import a class; the future raises why it cannot."""
        if not self.inquire_of(Word.KNOW, encode([cls.__module__, cls.__qualname__]), future):
            future.set_exception((ActorDeadError, self.gone(), None))


def _meet(nodes: object) -> None:
    """Nobody is met over a pipe."""


def _nothing() -> None:
    """Nobody has to be woken: what is sent is written at once."""
