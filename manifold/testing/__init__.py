"""For tests, yours too: a network and a clock that are simulated, so that a fault happens when the test says so."""

from manifold.testing.network import Endpoint, Faults, Network, Spinning

__all__ = ["Endpoint", "Faults", "Network", "Spinning"]
