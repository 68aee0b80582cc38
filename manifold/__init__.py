"""manifold: one event to thousands of actors, in order, with one hand-off per node.

| to                         | use                                                                       |
|----------------------------|---------------------------------------------------------------------------|
| write an actor             | `Actor` (a `pykka.Actor`), `self.pid`, `self.monitor(pid)` -> `Down`      |
| reach many                 | `send(pids, message)`, `Audience`, `Receipt`, `drain()`                    |
| ask one, or send later     | `ask(pid, message)`, `send_after(delay_s, to, message)`                   |
| address an actor           | `PID`, `pid_of(ref)`                                                      |
| run a node                 | `start()`, `stop()`, `Node`, `Limits`, `Stats`                            |
| name an actor              | `register(name, pid)`, `whereis(name)`, `unregister(name)`, `send(name, message)` |
| one actor for each key     | `placed(cls, key)`, `node.leave()`, `node.ring()`                         |
| spread keys over nodes     | `Ring` (consistent hashing), `RingPlan`                                   |
| send values of your own    | `register_type(cls, code, pack, unpack)`                                  |
| handle what goes wrong     | `ManifoldError` and its subclasses: see `manifold.errors`                 |
"""

from manifold.actors import Actor, ActorRef, AskTimeout, Down, Future, MonitorRef
from manifold.cluster.membership import NodeUp
from manifold.cluster.names import NameLost
from manifold.core.codec import register_type
from manifold.core.pid import PID
from manifold.core.ring import Ring, RingPlan
from manifold.default import (
    ask,
    current_node,
    drain,
    pid_of,
    placed,
    register,
    send,
    send_after,
    start,
    stop,
    unregister,
    whereis,
)
from manifold.delivery.audience import Audience
from manifold.delivery.counts import Outcome, Stats
from manifold.delivery.receipt import Receipt
from manifold.delivery.timers import Timer
from manifold.errors import (
    CodecError,
    ManifoldError,
    MessageTooLarge,
    NameTaken,
    NodeDown,
    NodeStopped,
    NotPlaced,
    NotSerializable,
    Overloaded,
    RemoteError,
    WouldDeadlock,
)
from manifold.limits import Limits
from manifold.node import Node

__version__ = "0.1.0"

__all__ = [
    "PID",
    "Actor",
    "ActorRef",
    "AskTimeout",
    "Audience",
    "CodecError",
    "Down",
    "Future",
    "Limits",
    "ManifoldError",
    "MessageTooLarge",
    "MonitorRef",
    "NameLost",
    "NameTaken",
    "Node",
    "NodeDown",
    "NodeStopped",
    "NodeUp",
    "NotPlaced",
    "NotSerializable",
    "Outcome",
    "Overloaded",
    "Receipt",
    "RemoteError",
    "Ring",
    "RingPlan",
    "Stats",
    "Timer",
    "WouldDeadlock",
    "ask",
    "current_node",
    "drain",
    "pid_of",
    "placed",
    "register",
    "register_type",
    "send",
    "send_after",
    "start",
    "stop",
    "unregister",
    "whereis",
]
