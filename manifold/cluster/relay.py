"""What worker processes send to keys, and ask about names: done for them by their main process."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.cluster.answers import Reply
from manifold.cluster.placement import owner_of
from manifold.core.bodies import QUESTION_BYTES, KeyedAsk, KeyedSend, Kind, Question
from manifold.core.codec import decode
from manifold.core.pid import PID
from manifold.errors import CodecError

if TYPE_CHECKING:
    from manifold.actors import Future
    from manifold.cluster.directory import Directory
    from manifold.cluster.peer import Peer
    from manifold.ports import Host

__all__ = ["Relay"]

_ANSWER_MAX_BYTES = 1 << 16


class Relay:
    """The directory of a node, for its worker processes."""

    def __init__(self, host: Host, directory: Directory) -> None:
        self._host = host
        self._directory = directory

    def attach(self, peer: Peer) -> None:
        """Hear what a worker asks for."""
        peer.handlers |= {
            Kind.DIRECTORY: partial(self._answer, peer),
            Kind.KEYED_SEND: partial(self._send, peer),
            Kind.KEYED_ASK: partial(self._ask, peer),
        }

    def _send(self, peer: Peer, body: memoryview) -> None:
        sent = KeyedSend.unpack(body)
        settles = peer.arrivals.settles(sent.receipt, len(sent.keyed.refs), len(body))
        with self._directory.lock:
            groups: dict[str, list[tuple[bytes, bytes]]] = {}
            for ref in sent.keyed.refs:
                groups.setdefault(owner_of(self._directory.view, ref[0]) or "", []).append(ref)
            here = [*groups.pop(self._host.id, ()), *groups.pop("", ())]
            for node, refs in groups.items():
                self._host.local.count_sent(len(refs))
                self._directory.hand_off(node, refs, sent.message, settles)
            if here:
                epoch = self._directory.view.epoch
                self._directory.take(peer.arrivals.intake, here, epoch, sent.message, settles)

    def _ask(self, peer: Peer, body: memoryview) -> None:
        ask = KeyedAsk.unpack(body)
        reply = peer.arrivals.reply(ask.question)
        settles = peer.arrivals.settles(ask.receipt, 1, len(body))
        (ref,) = refs = ask.keyed.refs
        with self._directory.lock:
            owner = owner_of(self._directory.view, ref[0])
            if owner is None or owner == self._host.id:
                epoch = self._directory.view.epoch
                self._directory.take_one(peer.arrivals.intake, refs, epoch, ask.message, reply, settles)
            else:
                self._directory.question(owner, ref, ask.message, reply, settles)

    def _answer(self, peer: Peer, body: memoryview) -> None:
        number = Question.unpack(body).number
        reply = Reply(number, lambda answer: peer.put(Kind.ANSWER, answer.pack()), _ANSWER_MAX_BYTES)
        try:
            future = self._asked(decode(body[QUESTION_BYTES:]))
        except Exception as error:  # noqa: BLE001
            reply.set_exception((type(error), error, None))
        else:
            future.when_done(lambda: future.pass_on(reply))

    def _asked(self, words: Any) -> Future[Any]:
        match words:
            case ["whereis", str(name)]:
                return self._directory.whereis(name)
            case ["register", str(name), PID() as pid]:
                return self._directory.register(name, pid)
            case ["unregister", str(name)]:
                return self._directory.unregister(name)
            case ["leave"]:
                return self._directory.leave()
        raise CodecError("a worker asks what makes no sense")
