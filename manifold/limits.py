"""Every bound of a node, with its unit in its name. Nothing in manifold grows beyond one of these."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Limits"]

_KIB = 1024
_MIB = 1024 * _KIB
_MOST = 1e15
_MOST_S = 1e9  # what a wait of the operating system may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one node. All must be above 0; ValueError names the one that is not."""

    message_max_bytes: int = 16 * _MIB
    """The largest encoded message. A larger one raises `MessageTooLarge` at its sender."""

    worker_queue_max_bytes: int = 128 * _MIB
    """What may wait for one worker: 8 bytes a listed recipient and 256 a hand-off. Messages between actors of one
    process are passed by reference and not counted: they are the sender's own. A send that finds the queue
    of a worker at this size is shed there and raises `Overloaded`; one send may overshoot it by its own size.
    For a worker process the bytes of the message are added.
    1 GiB over 8 workers; make it smaller to hear of a slow worker sooner."""

    offload_queue_max_bytes: int = 128 * _MIB
    """What may wait to be grouped off its senders' threads, counted in the same way."""

    drain_below: float = 0.5
    """`drain()` returns when every queue is below this share of its maximum."""

    timers_max: int = 1_000_000
    """How many `send_after` may be pending on a node; one more raises `Overloaded`."""

    outbox_max_bytes: int = 64 * _MIB
    """What may wait for another node, sent but not acknowledged included, counted as `inbox_max_bytes` is. A send that
    finds it full is shed for that node and raises `Overloaded`; one send may overshoot it by its own size."""

    inbox_max_bytes: int = 32 * _MIB
    """How far another node may run ahead of this one: what is on its way from it and what came from it and is not
    handled yet, are never more together. Counted is what a message takes: its bytes on the wire, as which it waits
    until it is handled, and 352. For a list, `worker_queue_max_bytes` counts what its recipients take besides.
    1 KiB or more above `packet_max_bytes`."""

    packet_max_bytes: int = 20 * _MIB
    """The largest frame to or from another node: 1 KiB or more above `message_max_bytes`. Nothing is allocated for what
    is larger by more than a MiB, which a packet may be. A list of recipients, and the members of an audience, that are
    more than a frame holds go in several; between two nodes the smaller of their limits holds."""

    node_down_after_s: float = 5.0
    """A node that was not heard of for so long is down: what was under way to it counts as unreachable."""

    worker_restarts_max: int = 5
    """How often a worker process that dies is started again within `worker_restart_window_s`: at once, then after
    0.1 s, 0.2 s, .. 5 s. One that dies more often stays away, and what is sent to its actors is dead."""

    worker_restart_window_s: float = 60.0
    """See `worker_restarts_max`."""

    slice_s: float = 0.002
    """How long a worker handles messages before it lets its event loop run other tasks and timers. One handler
    that takes longer is not interrupted."""

    stop_grace_s: float = 5.0
    """How long `stop()` lets what is queued be handled and `on_stop` hooks run, before it gives up on the rest."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = _MOST_S if field.name.endswith("_s") else _MOST
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < most:
                msg = f"Limits.{field.name} must be a number above 0 and below {most:g}, not {value!r}"
                raise ValueError(msg)
        for larger, smaller in (("packet_max_bytes", "message_max_bytes"), ("inbox_max_bytes", "packet_max_bytes")):
            most, least = getattr(self, larger), getattr(self, smaller)
            if most < least + _KIB:
                msg = f"Limits.{larger} ({most}) must be {_KIB} or more above {smaller} ({least})"
                raise ValueError(msg)
