"""The placed actor of the tests with processes: a module of its own, that every process imports under one name."""

from __future__ import annotations

import manifold


class Keeper(manifold.Actor):
    """Counts what it gets, and whether anything came out of order."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0
        self.gaps = 0

    def on_receive(self, message: object) -> object:
        if message == "tell":
            return [self.node.name, self.count, self.gaps]
        self.count += 1
        self.gaps += message != self.last + 1
        self.last = int(str(message))
        return None

    def on_handoff(self) -> object:
        return [self.count, self.last, self.gaps]

    def on_takeover(self, state: tuple[int, int, int]) -> None:
        self.count, self.last, self.gaps = state
