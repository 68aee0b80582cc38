"""For tests, yours too: a network and a clock that are simulated, so that a fault happens when the test says so."""

from manifold.testing.medium import Faults, Medium, Spinning
from manifold.testing.network import Endpoint, Network
from manifold.testing.simulation import Simulation, Stuck
from manifold.testing.surroundings import Change

__all__ = ["Change", "Endpoint", "Faults", "Medium", "Network", "Simulation", "Spinning", "Stuck"]
