"""A guild: who is in it, what was said, and one numbered event for each change, sent to all who are there.

There is one actor for each guild in the cluster, wherever the ring puts it. It holds its members as an `Audience`, so
an event costs it one hand-off for each gateway, however many sessions there are. When its node stops in order it goes
on on another with all it knows; when its node dies it begins afresh there, and its sessions come back by themselves.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import manifold
from examples.guild_presence.app.child import end_with_parent
from examples.guild_presence.app.members import Members
from examples.guild_presence.app.overview import start_pulse
from examples.guild_presence.app.protocol import error
from examples.guild_presence.app.tally import guilds_here

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROLE", "Guild", "find_guild", "setup"]

ROLE = "guild"
RECENT_MAX = 512
"""How many events back a session can go on that has missed some; beyond, it gets a snapshot."""
MESSAGES_MAX = 50
OFFLINE_MAX = 200
"""How many who are offline stay in the list; who went first leaves it."""
MISSED_MAX_CHARACTERS = 100_000
"""How much a session is sent that it has missed; if it was more, a snapshot is less."""
REMIND_S = 0.5
"""When the latest number is told after an event that could not be sent to all: it may have been the last for long."""
EMPTY_S = 300.0
"""How long a guild that nobody is in keeps what was said."""

JOIN, PRESENCE = "JOIN", "PRESENCE_UPDATE"
Message = dict[str, Any]


def find_guild(name: str) -> Any:
    """Give the one guild of a name in the cluster, to send to."""
    return manifold.placed(Guild, name, name, role=ROLE)


class Guild(manifold.Actor):
    """To it: {"op", "session": PID, ...}, the ops of `protocol` and "join". From it: events, and to one session alone
    {"welcome": SNAPSHOT or RESUMED, "home": PID, "missed": [events]}, and {"t": "ERROR" or what only sessions know}.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._epoch = secrets.randbits(48)
        self._seq = 0
        self._members: Members[manifold.PID] = Members()
        self._refs: dict[manifold.PID, manifold.MonitorRef] = {}
        self._changed: dict[str, str] = {}
        self._recent: deque[Message] = deque(maxlen=RECENT_MAX)
        self._messages: deque[Message] = deque(maxlen=MESSAGES_MAX)
        self._nonces: dict[tuple[str | None, str], None] = {}  # of the latest messages, the oldest first
        self._emptied: manifold.Timer | None = None
        self._reminder: manifold.Timer | None = None
        self._ops: dict[str, Callable[[Message], None]] = {
            "join": self._join,
            "message": self._message,
            "typing": self._typing,
            "status": self._status,
            "nick": self._nick,
            "leave": self._leave,
        }

    def on_start(self) -> None:
        """Open the audience here, because it belongs to the one who sends to it."""
        self._audience = manifold.Audience()
        guilds_here.enter(self._name)

    def on_stop(self) -> None:
        """Give the audience back, and leave no timer behind."""
        self._audience.close()
        for timer in (self._emptied, self._reminder):
            if timer is not None:
                timer.cancel()
        guilds_here.leave(self._name)

    # From one node to another.

    def on_handoff(self) -> Message:
        """Give what it goes on with elsewhere."""
        self._flush()
        return {
            "epoch": self._epoch,
            "seq": self._seq,
            "members": self._members.state(),
            "recent": list(self._recent),
            "messages": list(self._messages),
            "nonces": list(self._nonces),
        }

    def on_takeover(self, state: Message) -> None:
        """Go on where it was; but after a split with sessions of its own: those of the other come back to it."""
        if self._seq:
            return
        self._epoch, self._seq = state["epoch"], state["seq"]
        self._recent.extend(state["recent"])
        self._messages.extend(state["messages"])
        self._nonces = dict.fromkeys(state["nonces"])
        self._members.restore(state["members"])
        for session in self._members.devices:
            self._refs[session] = self.monitor(session)
        self._audience.update(self._members.devices)
        self._wait_if_empty()

    # What comes in.

    def on_receive(self, message: Any) -> None:
        """Do what a session asks for, or note that it has ended."""
        if isinstance(message, manifold.Down):
            self._end(message.pid)
        elif message["op"] in self._ops:
            if message["op"] == "join" or message["session"] in self._members:
                self._ops[message["op"]](message)
            else:
                self._answer(message, {"t": "STRANGER"})
        elif message["op"] == "flush":
            self._flush()
        elif message["op"] == "remind":
            self._reminder = None
            self._send({"t": "LATEST", "epoch": self._epoch, "latest": self._seq})
        elif not self._refs:  # "empty", and nobody has come back
            self.stop()

    def _join(self, message: Message) -> None:
        session, user = message["session"], message["user"]
        if session not in self._members:
            before = self._members.status(user)
            self._refs[session] = self.monitor(session)
            self._audience.add(session)
            self._members.put(session, user, message["status"])
            if before is None:
                self._note(user, JOIN)
            elif before != self._members.status(user):
                self._note(user, PRESENCE)
        self._welcome(session, message["since"])

    def _welcome(self, session: manifold.PID, since: tuple[int, int] | None) -> None:
        missed = self._events_since(*since) if since else None
        about = {"guild": self._name, "user": self._members.user_of(session), "epoch": self._epoch}
        if since and missed is not None:
            welcome: Message = {"t": "RESUMED", **about, "seq": since[1]}
        else:
            said: Message = {"members": self._members.listed(), "messages": list(self._messages)}
            welcome = {"t": "SNAPSHOT", **about, "seq": self._seq, **said}
        self._answer({"session": session}, {"welcome": welcome, "home": self.pid, "missed": missed or []})

    def _events_since(self, epoch: int, seq: int) -> list[Message] | None:
        """Give the events after one; None if that cannot be said any more."""
        if epoch != self._epoch or not self._seq - len(self._recent) <= seq <= self._seq:
            return None
        missing = self._seq - seq
        missed = list(self._recent)[len(self._recent) - missing :]
        return missed if sum(len(event.get("text", "")) for event in missed) <= MISSED_MAX_CHARACTERS else None

    def _end(self, session: manifold.PID) -> None:
        if self._refs.pop(session, None) is None:
            return
        user = self._members.user_of(session)
        assert user is not None
        before = self._members.status(user)
        self._members.drop(session)
        if before != self._members.status(user):
            self._note(user, PRESENCE)
        self._wait_if_empty()

    def _message(self, message: Message) -> None:
        user, nonce = self._members.user_of(message["session"]), message["nonce"]
        if nonce is not None and self._is_known(user, nonce):
            return
        said = {"user": user, "text": message["text"], "at": time.time(), "nonce": nonce}
        self._messages.append(self._tell("MESSAGE_CREATE", **said))

    def _is_known(self, user: str | None, nonce: str) -> bool:
        """Tell whether it was said already: who goes on after a break sends again what has not come back."""
        if (user, nonce) in self._nonces:
            return True
        self._nonces[user, nonce] = None
        if len(self._nonces) > RECENT_MAX:  # nobody can go on from farther back
            del self._nonces[next(iter(self._nonces))]
        return False

    def _typing(self, message: Message) -> None:
        self._tell("TYPING_START", user=self._members.user_of(message["session"]))

    def _status(self, message: Message) -> None:
        user = self._members.user_of(message["session"])
        assert user is not None
        self._members.put(message["session"], user, message["status"])
        self._note(user, PRESENCE)

    def _nick(self, message: Message) -> None:
        user, to = self._members.user_of(message["session"]), message["to"]
        assert user is not None
        if to != user and self._members.status(to) is not None:
            self._answer(message, error(f"{to} is here already"))
            return
        self._flush()
        for session in self._members.rename(user, to):
            self._answer({"session": session}, {"t": "RENAMED", "user": to})
        self._tell("NICK", user=user, to=to)

    def _leave(self, message: Message) -> None:
        user = self._members.user_of(message["session"])
        assert user is not None
        self._flush()
        for session in self._members.remove(user):
            self.demonitor(self._refs.pop(session))
            self._audience.discard(session)
            self._answer({"session": session}, {"t": "LEFT"})
        self._tell("LEAVE", user=user)
        self._wait_if_empty()

    # What goes out.

    def _note(self, user: str, kind: str) -> None:
        """Have a change told: in one event with those of others that have come already."""
        if not self._changed:
            manifold.send(self.pid, {"op": "flush"})
        self._changed.setdefault(user, kind)

    def _flush(self) -> None:
        changed, self._changed = self._changed, {}
        for kind in (JOIN, PRESENCE):
            members = [[user, self._members.status(user)] for user, change in changed.items() if change == kind]
            if members:
                self._emit(kind, members=members)
        for user in self._members.longest_offline(OFFLINE_MAX):
            self._members.remove(user)
            self._emit("LEAVE", user=user)

    def _tell(self, kind: str, **what: Any) -> Message:
        self._flush()
        return self._emit(kind, **what)

    def _emit(self, kind: str, **what: Any) -> Message:
        self._seq += 1
        event = {"t": kind, "epoch": self._epoch, "seq": self._seq, **what}
        self._recent.append(event)
        self._send(event)
        guilds_here.count(1, 0)
        return event

    def _send(self, event: Message) -> None:
        """Send to all. A gateway that is too slow misses it: its sessions see the gap, and ask for what is missing."""
        try:
            manifold.send(self._audience, event)
        except manifold.Overloaded:
            if self._reminder is None:
                self._reminder = manifold.send_after(REMIND_S, self.pid, {"op": "remind"})

    def _answer(self, message: Message, answer: Message) -> None:
        with suppress(manifold.Overloaded):
            manifold.send(message["session"], answer)
        guilds_here.count(0, 1)

    def _wait_if_empty(self) -> None:
        if self._emptied is not None:
            self._emptied.cancel()
        if not self._refs:
            self._emptied = manifold.send_after(EMPTY_S, self.pid, {"op": "empty"})


async def setup(node: manifold.Node) -> None:
    """Set a guild node up. That this module is imported is what guilds need."""
    end_with_parent()
    await start_pulse(node, ROLE)
    print("ready", flush=True)
