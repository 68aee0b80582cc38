"""What became of what came from one other node: counted here, told to that node with the acknowledgements."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifold.core.bodies import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifold.errors import CodecError

__all__ = ["Arrival", "AwaitedArrival", "LoneArrival", "Tally"]


class Tally:
    """Counts of recipients by cause, and of the bytes that wait for them. `changed` is called when news begin.

    `complain` is told what there is to complain of, and what became of it.
    """

    def __init__(self, changed: Callable[[], None], complain: Callable[[str, str], None]) -> None:
        self.lock = threading.Lock()
        self.changed = changed
        self.complain = complain
        self._told = (0, 0, 0)
        self._is_told = True
        self._arrived_bytes = 0  # counted on the I/O thread alone
        self._done_bytes = 0
        self.counts = [0, 0, 0, 0]  # by the causes in `ports`

    @property
    def waiting_bytes(self) -> int:
        """What has arrived and is not done."""
        return self._arrived_bytes - self._done_bytes

    def arrive(self, size_bytes: int) -> None:
        """So much more waits here. On the I/O thread."""
        self._arrived_bytes += size_bytes

    def settle(self, cause: int, number: int, done_bytes: int) -> None:
        """Account for some recipients; with the last of a message, for its bytes."""
        with self.lock:
            quiet = self.count(cause, number, done_bytes)
        if quiet:
            self.changed()

    def count(self, cause: int, number: int, done_bytes: int) -> bool:
        """The same under the lock, and without a word; whether `changed` is to be called behind it."""
        quiet, self._is_told = self._is_told, False
        self.counts[cause] += number
        self._done_bytes += done_bytes
        return quiet

    def fresh(self) -> tuple[int, int, int]:
        """Give what was not given before. A node never says of itself that it is unreachable."""
        if self._is_told:
            return 0, 0, 0
        with self.lock:
            self._is_told = True
            delivered, dead, shed, _ = self.counts
            before, self._told = self._told, (delivered, dead, shed)
        return delivered - before[0], dead - before[1], shed - before[2]


class LoneArrival:
    """In a receipt's place for a message that came in for one recipient, whose outcome nobody awaits."""

    __slots__ = ("_size_bytes", "_tally", "own")

    def __init__(self, tally: Tally, size_bytes: int, *, own: bool) -> None:
        self.own = own
        self._tally = tally
        self._size_bytes = size_bytes
        tally.arrive(size_bytes)

    def expect(self, recipients: int) -> None:
        """Nothing: it is known."""

    def await_thread(self, thread: int, recipients: int) -> None:
        """Nothing: nobody here waits for it."""

    def settle(self, node: str, cause: int, number: int) -> None:  # noqa: ARG002
        """Account for the one."""
        self._tally.settle(cause, number, self._size_bytes)

    def unreadable(self, error: CodecError) -> None:
        """Complain of the message; whoever does so accounts for its recipients."""
        self._tally.complain(f"a message that cannot be read here: {error}", "shed")


class Arrival(LoneArrival):
    """The same for any number of recipients."""

    __slots__ = ("_open",)

    def __init__(self, tally: Tally, recipients: int, size_bytes: int, *, own: bool) -> None:
        super().__init__(tally, size_bytes, own=own)
        self._open = recipients
        if not recipients:
            self.settle("", 0, 0)

    def settle(self, node: str, cause: int, number: int) -> None:  # noqa: ARG002
        """Account for some recipients."""
        with self._tally.lock:
            quiet, _ = self._count(cause, number)
        if quiet:
            self._tally.changed()

    def _count(self, cause: int, number: int) -> tuple[bool, bool]:
        """Give whether the tally's `changed` is to be called, and whether these were the last."""
        self._open -= number
        is_last = not self._open
        return self._tally.count(cause, number, self._size_bytes if is_last else 0), is_last


class AwaitedArrival(Arrival):
    """The same where the outcome is awaited, under the number `receipt`: `put` queues the frame that tells it."""

    __slots__ = ("_counts", "_put", "_receipt")

    def __init__(
        self,
        tally: Tally,
        recipients: int,
        size_bytes: int,
        receipt: int,
        put: Callable[[Kind, Sequence[bytes]], object],
        *,
        own: bool,
    ) -> None:
        self._counts = [0, 0, 0, 0]
        self._receipt = receipt
        self._put = put
        super().__init__(tally, recipients, size_bytes, own=own)

    def settle(self, node: str, cause: int, number: int) -> None:  # noqa: ARG002
        """Account for some recipients; with the last, tell."""
        with self._tally.lock:
            self._counts[cause] += number
            quiet, is_last = self._count(cause, number)
        # Counted before the outcome is told, which may be compared with the counts; and both are sent in one go.
        if is_last:
            self._put(Kind.OUTCOME, Outcome(self._receipt, *self._counts).pack())
        if quiet:
            self._tally.changed()
