"""Names and keys as one worker process sees them: the main process knows where they belong, and is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.actors import Future
from manifold.core.bodies import Keyed, KeyedAsk, KeyedSend, Kind
from manifold.core.codec import encode
from manifold.errors import NodeStopped
from manifold.processes.talk import absent_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from manifold.actors import Placed
    from manifold.cluster.peer import Peer
    from manifold.core.pid import PID
    from manifold.core.views import View
    from manifold.ports import Host, Settles

__all__ = ["UpDirectory"]


class UpDirectory:
    """The same to senders as `cluster.directory.Directory`."""

    def __init__(self, host: Host, view: View) -> None:
        self.view = view
        """The view that the main process goes by, as it has said last."""
        self._host = host
        self._place = absent_place(host.id)

    def attach(self, peer: Peer) -> None:
        """Nothing: other nodes speak with the main process."""

    def close(self) -> None:
        """Nothing: the main process has closed its own."""

    def send(
        self,
        refs: Sequence[Placed],
        message: Any,  # noqa: ARG002
        wire: bytes | None,
        receipt: Settles | None,
        *,
        uncounted: int,
    ) -> dict[str, int]:
        """Hand a message up for actors by their keys; how many were shed."""
        keyed = Keyed(0, "", [(ref.who, ref.call) for ref in refs])
        self._host.local.count_sent(uncounted)
        body = lambda number: KeyedSend(number, keyed, wire or b"").pack()  # noqa: E731
        return {self._place: self._host.cluster.hand_off(self._place, Kind.KEYED_SEND, body, len(refs), receipt)}

    def is_far(self, refs: Iterable[Placed]) -> bool:  # noqa: ARG002
        """Tell that the message has to be encoded."""
        return True

    def ask(self, ref: Placed, message: Any, wire: bytes | None, future: Any) -> None:  # noqa: ARG002
        """Ask an actor by its key; the future gets the answer, or why there is none."""
        keyed = Keyed(0, "", [(ref.who, ref.call)])
        self._host.local.count_sent(1)
        body = lambda number, outcome: KeyedAsk(number, outcome, keyed, wire or b"").pack()  # noqa: E731
        self._host.cluster.question(self._place, Kind.KEYED_ASK, body, future)

    def known(self, name: str) -> PID | None:  # noqa: ARG002
        """Tell that nothing is known here."""
        return None

    def find(self, name: str, then: Callable[[PID | None], None]) -> None:
        """Tell `then` who holds a name; None if nobody does."""
        future = self.whereis(name)
        future.when_done(lambda: then(future.outcome(None)))

    def whereis(self, name: str) -> Future[PID | None]:
        """Look a name up."""
        return self._inquire("whereis", name)

    def register(self, name: str, pid: PID) -> Future[None]:
        """Have an actor hold a name."""
        return self._inquire("register", name, pid)

    def unregister(self, name: str) -> Future[bool]:
        """Have nobody hold a name."""
        return self._inquire("unregister", name)

    def leave(self) -> Future[None]:
        """Have all keys of this node go to others."""
        return self._inquire("leave")

    def _inquire(self, *words: Any) -> Future[Any]:
        # Not behind what this thread has offloaded: that may wait for this very answer.
        future: Future[Any] = Future()
        peer = self._host.cluster.peers.get(self._place)
        if peer is None or not peer.inquire_of(Kind.DIRECTORY, encode(list(words)), future):
            future.set_exception((NodeStopped, NodeStopped(self._host.id), None))
        return future
