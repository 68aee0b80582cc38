"""The contenders: each with its server processes and with clients of its own, all there at the same time."""

from __future__ import annotations

import json
import resource
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bench.cluster.child import Child
from bench.cluster.redis_server import redis_server, why_no_redis
from bench.fresh import ChildFailed
from bench.machine import processor_s
from bench.websockets.load import Options

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.plan import SocketsPlan

__all__ = ["CHANNELS", "LAYER", "MANIFOLD", "SOCKETIO", "Side", "make_sides", "why_no_sockets"]

MANIFOLD = "manifold, examples/guild_presence"
CHANNELS = "Django Channels, group_send"
LAYER = "Channels' layer without consumers"
SOCKETIO = "python-socketio, AsyncRedisManager"

_OTHERS = {
    CHANNELS: ("plain", ("bench.websockets.channels_app", "consumers")),
    LAYER: ("plain", ("bench.websockets.channels_app", "layer")),
    SOCKETIO: ("socketio", ("bench.websockets.socketio_app",)),
}
_CLIENTS = "clients"
_SPARE_FILES = 200


def why_no_sockets(sockets: int) -> str:
    """Say what keeps one from measuring here, if anything does; and allow as many open files as it takes."""
    missing = [name for name in ("httptools", "starlette", "uvicorn", "websockets") if find_spec(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}: pip install 'manifold-actors[demo]'"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        return f"a process may have {hard:,} open files here, and {wanted:,} are needed (ulimit -Hn)"
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))  # the children have the same
    return ""


@dataclass
class Side:
    """One contender: its clients, and the processes that serve them by name."""

    name: str
    clients: Child
    processes: dict[str, int]

    def measure(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the clients do something; adds the processor's time of each process in us for a delivery."""
        before = self._processor_s()
        answer = self.clients.ask(json.dumps({"do": do, **arguments}))
        if not answer:
            msg = f"{self.name}: the clients ended while they were to {do}"
            raise ChildFailed(msg)
        found: dict[str, Any] = json.loads(answer)
        taken = {name: after - before[name] for name, after in self._processor_s().items()}
        found["cpu_us"] = {name: 1e6 * spent / max(found["deliveries"], 1) for name, spent in taken.items()}
        return found

    def _processor_s(self) -> dict[str, float]:
        return {name: processor_s(process) for name, process in self.processes.items()}


def make_sides(plan: SocketsPlan, stack: ExitStack) -> tuple[list[Side], dict[str, str]]:
    """Start all that can be started here, the application first; say of the rest why it cannot."""
    sides = [_make_manifold(plan, stack)]
    reason = why_no_redis() or ("" if find_spec("socketio") else "python-socketio is not installed")
    if reason:
        return sides, dict.fromkeys(_OTHERS, reason)
    return sides + [_make_other(name, plan, stack) for name in _OTHERS], {}


def _make_manifold(plan: SocketsPlan, stack: ExitStack) -> Side:
    server = stack.enter_context(Child("bench.websockets.manifold_app", str(plan.gateways), str(plan.guild_nodes)))
    said = json.loads(server.line)
    processes = {**said["pids"], "supervisor": server.process.pid}
    options = Options(said["urls"], "plain", asks=True, sockets=plan.sockets, guilds=plan.guilds)
    return _with_clients(MANIFOLD, options, processes, stack)


def _make_other(name: str, plan: SocketsPlan, stack: ExitStack) -> Side:
    dialect, module = _OTHERS[name]
    redis = stack.enter_context(redis_server())
    servers = [stack.enter_context(Child(*module, redis)) for _ in range(plan.gateways)]
    processes = {f"server-{number}": server.process.pid for number, server in enumerate(servers, 1)}
    processes["redis"] = _process_of(redis)
    urls = [json.loads(server.line)["url"] for server in servers]
    options = Options(urls, dialect, asks=False, sockets=plan.sockets, guilds=plan.guilds)
    return _with_clients(name, options, processes, stack)


def _process_of(url: str) -> int:
    from redis import Redis

    with Redis.from_url(url) as redis:
        return int(redis.info("server")["process_id"])


def _with_clients(name: str, options: Options, processes: dict[str, int], stack: ExitStack) -> Side:
    clients = stack.enter_context(Child("bench.websockets.load", json.dumps(asdict(options))))
    return Side(name, clients, {**processes, _CLIENTS: clients.process.pid})
