"""For tests, yours too: faults that happen when the test says so, and checks of what arrived. See docs/testing.md.

| to                                        | use                                                               |
|-------------------------------------------|-------------------------------------------------------------------|
| check order and loss of any program       | `Checker`; it raises `Faulty`, which holds each `Fault`           |
| cut and heal nodes of one process         | `HUB.cut`, `HUB.heal`, with nodes that listen at `memory://...`   |
| run whole nodes as a seed decides         | `Simulation`, `Change`, `Stuck`; see docs/simulation.md           |
| see links under loss, delay, restarts ... | `Network(seed)`, its `Endpoint`s and `Faults`; `Spinning`         |
| test a transport of your own              | `manifold.testing.transport_suite.TransportSuite` (needs pytest)  |
"""

from manifold.testing.checker import Checker, Fault, Faulty
from manifold.testing.medium import Faults, Medium, Spinning
from manifold.testing.network import Endpoint, Network
from manifold.testing.simulation import Simulation, Stuck
from manifold.testing.surroundings import Change
from manifold.transport.memory import HUB

__all__ = [
    "HUB",
    "Change",
    "Checker",
    "Endpoint",
    "Fault",
    "Faults",
    "Faulty",
    "Medium",
    "Network",
    "Simulation",
    "Spinning",
    "Stuck",
]
