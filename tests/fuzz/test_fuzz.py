"""A short run of every target, without guidance, and again every input that was once too much for one.

`make fuzz` runs a million inputs, guided by coverage; see README.md here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold.cluster.hub import Hub
from manifold.cluster.intake import Intake
from manifold.core import codec
from manifold.core.flow import Outflow
from tests.fuzz import frames_target
from tests.fuzz.script import Script
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, ready

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").glob("*/*"))
SHARE = {"codec": 3, "frames": 3, "bodies": 3, "link": 2, "peer": 1, "hub": 0.2}
"""How many times the usual number of examples."""


@pytest.fixture(autouse=True)
def registered():
    with ready():
        yield


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_once_too_much(path):
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_honest_nodes_send(name):
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name):
    edited = st.builds(
        lambda seed, edits: Script(edits).edit(seed), st.sampled_from(seeds(name)), st.binary(max_size=40)
    )

    @settings(max_examples=int(SHARE[name] * settings().max_examples))
    @given(st.binary(max_size=200) | edited)
    def test(data):
        TARGETS[name](data)

    test()


# Targets notice when something is wrong.


def lossy(message, encode=codec.encode):
    """In the place of `encode`: a dict loses its values."""
    return encode(list(message) if type(message) is dict else message)


def forgetful(self, seq):
    """In the place of `Outflow.acknowledge`: what is acknowledged is still counted."""
    for _ in range(max(0, min(seq - self.acked, len(self._flight)))):
        self._flight.popleft()
    self.acked = max(seq, self.acked)
    return False


FAULTS = {
    "codec": (codec, "encode", lossy),
    "frames": (frames_target, "decode_packet", lambda data, _: struct.unpack("<QQQ", data)),
    "bodies": (codec, "CodecError", KeyError),
    "link": (Outflow, "acknowledge", forgetful),
    "peer": (Intake, "give_up", lambda self, cause, recipients, settles: None),
    "hub": (Hub, "_see_off", lambda self, peer: 1.0),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_fault_is_found(name, monkeypatch):
    monkeypatch.setattr(*FAULTS[name])
    random = Random(name)
    inputs = [*seeds(name), *(random.randbytes(random.randrange(300)) for _ in range(20_000))]
    with pytest.raises(Exception):  # noqa: B017 - any: a target raises what it meets
        for data in inputs:
            TARGETS[name](data)
