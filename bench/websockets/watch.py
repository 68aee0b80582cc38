"""What a watched socket must see: each message once, as it was sent; in the order of its number, which is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Sent", "Watch"]


@dataclass
class Sent:
    """The messages of the measurement that runs: who sent each, and when; `first` of all so far, a nonce is unique."""

    text: str
    first: int = 0
    users: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Begin a measurement."""
        self.first += len(self.users)
        self.users, self.times = [], []

    def add(self, user: str, now: float) -> str:
        """Note a message that is about to be sent, and give its nonce."""
        self.users.append(user)
        self.times.append(now)
        return str(self.first + len(self.users) - 1)


@dataclass
class Watch:
    """What one socket saw since `clear`; `seconds` from the client's sending to its reading, for each message."""

    sent: Sent
    seconds: list[float] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    doubled: int = 0
    disordered: int = 0
    wrong: int = 0
    _seq: int | None = None

    def begin(self, greeting: dict[str, Any]) -> None:
        """Begin where a SNAPSHOT says; where it does not, with whatever number comes first."""
        self._seq = greeting.get("seq")

    def clear(self) -> None:
        """Begin a measurement."""
        self.seconds, self.seen = [], set()
        self.doubled = self.disordered = self.wrong = 0

    def see(self, event: dict[str, Any], now: float) -> bool:
        """Check what came; whether it is a message, and the first time."""
        if "seq" not in event:
            return False
        if self._seq is not None and event["seq"] != self._seq + 1:
            self.disordered += 1
        self._seq = event["seq"]
        return event["t"] == "MESSAGE_CREATE" and self._see_message(event, int(event["nonce"]) - self.sent.first, now)

    def _see_message(self, event: dict[str, Any], number: int, now: float) -> bool:
        if not 0 <= number < len(self.sent.users):  # late: of an earlier measurement
            self.wrong += 1
            return False
        if number in self.seen:
            self.doubled += 1
            return False
        if (event["user"], event["text"]) != (self.sent.users[number], self.sent.text):
            self.wrong += 1
        self.seen.add(number)
        self.seconds.append(now - self.sent.times[number])
        return True
