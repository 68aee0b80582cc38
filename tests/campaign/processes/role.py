"""What one process is told: which node it is, and how it reaches the others."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import manifold
from manifold import surroundings, wires
from manifold.transport.zeromq import ZeroMQ

__all__ = ["Around", "Role"]


@dataclass(frozen=True)
class Role:
    """What one process is told."""

    seed: int
    name: str
    file: str
    """Where it writes down what it does."""
    limits: dict[str, float]
    workers: int
    is_tight: bool
    troubles: list[str]
    """What its actors and workers may go through; see `stage.TROUBLES`."""
    proxy: str = ""
    """Where the others dial it, over ZeroMQ."""
    join: list[str] = field(default_factory=list)
    server: str = ""
    """Of NATS, where it is not ZeroMQ."""
    cookie: str | None = None

    def as_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Role:
        return cls(**json.loads(text))

    def start(self) -> manifold.Node:
        """Start the node."""
        place: dict[str, Any] = {"transport": self.server}
        if not self.server:
            place = {"listen": "tcp://127.0.0.1:0", "join": self.join}
        placed = type("Placed", (manifold.Node,), {"around": Around(self.proxy)})
        limits = manifold.Limits(**self.limits)  # type: ignore[arg-type]
        node: manifold.Node = placed(self.name, workers=self.workers, limits=limits, cookie=self.cookie, **place)
        return node


class Around(surroundings.Process):
    """This process, with a clock on the wall that can be wrong; its node is dialled at a proxy."""

    port = 0
    """Where the node itself listens."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self.wrong_by_s = 0.0

    def time_ns(self) -> int:  # type: ignore[override]
        return time.time_ns() + int(1e9 * self.wrong_by_s)

    def transport(self, *args: Any) -> Any:  # type: ignore[override]
        made = wires.make_transport(*args)
        if isinstance(made, ZeroMQ):
            made.__class__ = _Behind
            made.around = self  # type: ignore[attr-defined]
        return made


class _Behind(ZeroMQ):
    """ZeroMQ, whose address is that of the proxy before it."""

    around: Around

    def open(self, *args: Any) -> None:
        super().open(*args)
        self.around.port = int(self.address.rpartition(":")[2])
        self.address = self.around._proxy
