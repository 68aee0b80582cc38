"""What became of what came from one other node: counted here, told to that node with the acknowledgements."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Arrival", "Tally"]


class Tally:
    """Counts of recipients by cause, in a receipt's place for all that comes from a node."""

    own = False

    def __init__(self, changed: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._changed = changed
        self._told = (0, 0, 0)
        self.counts = [0, 0, 0, 0]  # by the causes in `ports`
        self.waiting_bytes = 0

    def expect(self, recipients: int) -> None:
        """Nothing: how many there are is known to the sender."""

    def await_thread(self, thread: int, recipients: int) -> None:
        """Nothing: nobody here waits for it."""

    def settle(self, node: str, cause: int, number: int) -> None:  # noqa: ARG002
        """Account for some recipients."""
        with self._lock:
            quiet = tuple(self.counts[:3]) == self._told
            self.counts[cause] += number
        if quiet:
            self._changed()

    def waits(self, size_bytes: int) -> None:
        """So much more waits here; or, below 0, so much less."""
        with self._lock:
            self.waiting_bytes += size_bytes

    def fresh(self) -> tuple[int, int, int]:
        """Give what was not given before. A node never says of itself that it is unreachable."""
        with self._lock:
            delivered, dead, shed, _ = self.counts
            before, self._told = self._told, (delivered, dead, shed)
        return delivered - before[0], dead - before[1], shed - before[2]


class Arrival:
    """In a receipt's place for one message that came in: how much waits for it is known until all is settled."""

    __slots__ = ("_complete", "_counts", "_lock", "_open", "_size_bytes", "_tally", "own")

    def __init__(
        self,
        tally: Tally,
        recipients: int,
        size_bytes: int,
        complete: Callable[[list[int]], None] | None,
        *,
        own: bool = False,
    ) -> None:
        self.own = own
        self._tally = tally
        self._lock = threading.Lock()
        self._open = recipients
        self._size_bytes = size_bytes
        self._counts = [0, 0, 0, 0]
        self._complete = complete
        tally.waits(size_bytes)
        if not recipients:
            self._close()

    def expect(self, recipients: int) -> None:
        """Nothing: it is known."""

    def await_thread(self, thread: int, recipients: int) -> None:
        """Nothing: nobody here waits for it."""

    def settle(self, node: str, cause: int, number: int) -> None:
        """Account for some recipients, here and in the tally."""
        with self._lock:
            self._counts[cause] += number
            self._open -= number
            complete = not self._open
        self._tally.settle(node, cause, number)
        if complete:
            self._close()

    def _close(self) -> None:
        self._tally.waits(-self._size_bytes)
        if self._complete is not None:
            self._complete(self._counts)
