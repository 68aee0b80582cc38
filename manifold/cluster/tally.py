"""What became of what came from one other node: counted here, told to that node with the acknowledgements."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Arrival", "LoneArrival", "Tally"]


class Tally:
    """Counts of recipients by cause, and of the bytes that wait for them. `changed` is called when news begin."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self.changed = changed
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
        if self.count(cause, number, done_bytes):
            self.changed()

    def count(self, cause: int, number: int, done_bytes: int) -> bool:
        """The same without a word; whether `changed` is to be called now."""
        with self._lock:
            quiet, self._is_told = self._is_told, False
            self.counts[cause] += number
            self._done_bytes += done_bytes
        return quiet

    def fresh(self) -> tuple[int, int, int]:
        """Give what was not given before. A node never says of itself that it is unreachable."""
        if self._is_told:
            return 0, 0, 0
        with self._lock:
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


class Arrival(LoneArrival):
    """The same for any number of recipients: `complete` gets the counts, delivered, dead and shed, of all."""

    __slots__ = ("_complete", "_counts", "_lock", "_open")

    def __init__(
        self,
        tally: Tally,
        recipients: int,
        size_bytes: int,
        complete: Callable[[list[int]], None] | None,
        *,
        own: bool,
    ) -> None:
        super().__init__(tally, size_bytes, own=own)
        self._lock = threading.Lock()
        self._open = recipients
        self._counts = [0, 0, 0, 0]
        self._complete = complete
        if not recipients:
            tally.settle(0, 0, size_bytes)
            self._close()

    def settle(self, node: str, cause: int, number: int) -> None:  # noqa: ARG002
        """Account for some recipients."""
        with self._lock:
            self._counts[cause] += number
            self._open -= number
            is_last = not self._open
        # Counted before the outcome is told, which may be compared with the counts; and both are sent in one go.
        quiet = self._tally.count(cause, number, self._size_bytes if is_last else 0)
        if is_last:
            self._close()
        if quiet:
            self._tally.changed()

    def _close(self) -> None:
        if self._complete is not None:
            self._complete(self._counts)
