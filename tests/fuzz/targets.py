"""All targets by name: functions that take any bytes, and raise when something is not as promised."""

from __future__ import annotations

from contextlib import contextmanager

from manifold.core import codec
from tests.fuzz import bodies_target, codec_target, frames_target, home, hub_target, link_target, peer_target

TARGETS = {
    "codec": codec_target.run,
    "frames": frames_target.run,
    "bodies": bodies_target.run,
    "link": link_target.run,
    "peer": peer_target.run,
    "hub": hub_target.run,
}


@contextmanager
def ready():
    """Have in this process what the targets need; and not any more afterwards."""
    before = codec._registry
    codec_target.register()
    try:
        yield
    finally:
        codec._registry = before
        home.leave()
