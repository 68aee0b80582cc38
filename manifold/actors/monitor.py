"""Monitors: exactly one `Down` for each, after everything that the dead actor sent to the one who monitors it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from manifold import ports
from manifold.actors.control import Notice

if TYPE_CHECKING:
    from manifold.core.pid import PID

__all__ = ["Down", "MonitorRef"]


class Down(NamedTuple):
    """The message a monitor sends: the actor `pid` has ended.

    `ref` is what `self.monitor(pid)` returned. `reason` is `stopped`; `failed: ...` with the exception that ended
    it; `mailbox full`; `no such actor` when there was none to monitor; `node down`.
    """

    ref: MonitorRef
    pid: PID
    reason: str


class MonitorRef:
    """What `self.monitor(pid)` returns and `self.demonitor(ref)` takes; equal to itself alone."""

    __slots__ = ("_owner", "pid")

    def __init__(self, pid: PID, owner: Any) -> None:
        self.pid = pid
        self._owner = owner

    def on_end(self, pid: PID, reason: str) -> None:
        owner = self._owner
        if (host := ports.find_host(owner.pid)) is not None:
            host.control(owner, Notice(Down(self, pid, reason)))

    def __repr__(self) -> str:
        return f"<MonitorRef for {self.pid}>"
