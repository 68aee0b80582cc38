"""What a link and its owner say to each other: limits, states, events, errors. A link goes where the table says.

| | HELLO | ECHO | SUCCESSOR | RESET | GOODBYE | SILENCE | CLOSE |
|---|---|---|---|---|---|---|---|
| CONNECTING | MEETING | CONNECTING | CONNECTING | CONNECTING | DOWN | DOWN | DOWN |
| MEETING | MEETING | UP | MEETING | DOWN | DOWN | DOWN | DOWN |
| UP | UP | UP | DOWN | DOWN | DOWN | DOWN | DOWN |
| DOWN | DOWN | DOWN | DOWN | DOWN | DOWN | DOWN | DOWN |

HELLO: of a session of the peer that is later than the known one. ECHO: the peer speaks to our session, so it is there
now: a hello alone may have lain in a queue for long (the third packet of TCP's handshake, RFC 9293, 3.5, is for the
same). SUCCESSOR: a later session of the peer, asked with a ping whether it lives, said hello to ours: the known one is
over. RESET: the peer does not know the session that we speak to (it restarted, or has given us up). SILENCE: nothing
was heard for `node_down_after_s`.

LinkError                  base
|-- LinkFull               the load: too much waits to be sent or acknowledged; nothing was queued; retry after `Room`
`-- LinkDown               outside: the link is down; nothing was queued; its owner makes another
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import NamedTuple

from manifold.core.flow import frame_cost
from manifold.core.frames import Frame, Hello
from manifold.errors import ManifoldError

__all__ = [
    "TRANSITIONS",
    "Down",
    "Event",
    "Input",
    "LinkDown",
    "LinkError",
    "LinkFull",
    "LinkLimits",
    "Refused",
    "Room",
    "Settled",
    "State",
    "Up",
]

_KIB = 1024
_MIB = 1024 * _KIB


class LinkError(ManifoldError):
    """The base of what `Link.send` raises of its own; nothing was queued."""


class LinkFull(LinkError):
    """`LinkLimits.outbox_max_bytes` wait to be sent or acknowledged. Nothing was queued; retry after `Room`."""


class LinkDown(LinkError):
    """The link is down. Nothing was queued; the owner makes another link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """The bounds and periods of one link. All must be above 0; ValueError names the one that is not."""

    frame_max_bytes: int = 24 * _MIB
    """The largest body of a frame, sent or received. A peer that takes less is sent less."""

    window_bytes: int = 32 * _MIB
    """How much may be in flight, to the peer and, as the credit it gets, from it, 352 bytes a frame added; bounds what
    the owner of this side holds of frames it was given and has not handled. 357 or more above `frame_max_bytes`."""

    outbox_max_bytes: int = 64 * _MIB
    """What may wait to be sent or acknowledged, 352 bytes a frame added. One frame may overshoot it."""

    drain_below: float = 0.5
    """`Room` comes when what waits falls below this share of `outbox_max_bytes`."""

    ack_delay_s: float = 0.005
    """How long news for the peer (frames received, recipients settled, credit) may wait for company."""

    ack_timeout_s: float = 0.25
    """When nothing is acknowledged for so long, the peer is asked where it is; then after twice the time, ..."""

    ack_timeout_max_s: float = 2.0
    """... but never after more than this."""

    hello_period_s: float = 0.1
    """After how long a hello is repeated while the peer does not answer, doubling up to `ack_timeout_max_s`. Also the
    shortest time between two resets."""

    ping_period_s: float = 1.0
    """After how long without a packet to send a ping is sent."""

    node_down_after_s: float = 10.0
    """How long nothing may be heard of the peer. At least three times `ping_period_s`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"LinkLimits.{field.name} must be above 0, not {getattr(self, field.name)!r}")
        if self.window_bytes < frame_cost(self.frame_max_bytes):
            raise ValueError(f"LinkLimits.window_bytes must be {frame_cost(0)} above frame_max_bytes, or more")
        if self.node_down_after_s < 3 * self.ping_period_s:
            raise ValueError("LinkLimits.node_down_after_s must be three times ping_period_s, or more")


class Up(NamedTuple):
    """The peer has introduced itself, and has heard of us: the first event of a link that comes up."""

    hello: Hello


class Settled(NamedTuple):
    """So many recipients more were settled at the peer, by cause; what `settle` was told there."""

    delivered: int
    dead: int
    shed: int


class Room(NamedTuple):
    """What waits fell below the low-water mark."""


class Refused(NamedTuple):
    """A frame, queued before the peer said what it takes, is too large for it. It is dropped; its tag."""

    tag: object


class Down(NamedTuple):
    """The last event: no frame comes or goes any more. `abandoned()` is what the peer did not acknowledge."""

    reason: str
    said: str = ""
    """What the peer gave as its reason with a goodbye."""


Event = Up | Frame | Settled | Room | Refused | Down


class State(Enum):
    """Where a link is in its life."""

    CONNECTING = "connecting"
    MEETING = "meeting"
    UP = "up"
    DOWN = "down"


class Input(Enum):
    """What moves a link from state to state; the value is the reason given in `Down`."""

    HELLO = "hello"
    ECHO = "echo"
    SUCCESSOR = "new session"
    RESET = "reset by peer"
    GOODBYE = "goodbye"
    SILENCE = "silent"
    CLOSE = "closed"


_ENDS = dict.fromkeys((Input.GOODBYE, Input.SILENCE, Input.CLOSE), State.DOWN)
_KNOWN = {Input.ECHO: State.UP, Input.RESET: State.DOWN, **_ENDS}
TRANSITIONS: dict[State, dict[Input, State]] = {
    State.CONNECTING: {
        Input.HELLO: State.MEETING,
        Input.ECHO: State.CONNECTING,
        Input.SUCCESSOR: State.CONNECTING,
        Input.RESET: State.CONNECTING,
        **_ENDS,
    },
    State.MEETING: {Input.HELLO: State.MEETING, Input.SUCCESSOR: State.MEETING, **_KNOWN},
    State.UP: {Input.HELLO: State.UP, Input.SUCCESSOR: State.DOWN, **_KNOWN},
    State.DOWN: dict.fromkeys(Input, State.DOWN),
}
