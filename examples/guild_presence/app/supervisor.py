"""Who starts and ends the node processes of the application; a node itself, that all others join."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import manifold
from examples.guild_presence.app import gateway, guild
from examples.guild_presence.app.nodes import NodeProcess, StartError
from examples.guild_presence.app.overview import OVERVIEW, PULSE, Overview, start_pulse
from examples.guild_presence.app.session import COMMANDS

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MOST", "NODE_DOWN_AFTER_S", "StartError", "Supervisor"]

NODE_DOWN_AFTER_S = 1.2
"""How long a node is silent before it counts as dead: its users are shown offline then."""
MOST = 32
"""How many nodes of a kind there may be: every one is a process."""
STOP_GRACE_S = 10.0
"""How long a node may take to stop: twice what a gateway gives its clients to go elsewhere."""
_KINDS = {"gateway": gateway.ROLE, "guilds": guild.ROLE}
_TRIES = 100


class Supervisor:
    """The application, as an async context: when it is entered all nodes have met and serve.

    `port` is the first gateway's; the next takes the lowest free port above. 0: any. Raises StartError.
    """

    def __init__(
        self,
        gateways: int = 2,
        guild_nodes: int = 2,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        node_down_after_s: float = NODE_DOWN_AFTER_S,
    ) -> None:
        self._wanted = ["guilds"] * guild_nodes + ["gateway"] * gateways
        self._host, self._port = host, port
        self._limits = manifold.Limits(node_down_after_s=node_down_after_s)
        self._processes: dict[str, NodeProcess] = {}
        self._started = dict.fromkeys(_KINDS, 0)
        self._taken: set[int] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self._node = await self._stack.enter_async_context(
                manifold.Node("supervisor", worker_kind="loop", listen="tcp://127.0.0.1:0", limits=self._limits)
            )
            self._stack.push_async_callback(self._end_all)
            await manifold.register(OVERVIEW, self._node.spawn(Overview))
            await manifold.register(COMMANDS, self._node.spawn(_Commander, self))
            await start_pulse(self._node, "supervisor")
            await self._add_all()
            await self._met()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def urls(self) -> dict[str, str]:
        """Where each gateway serves, by its name, the first that was started first."""
        names = sorted(self._names_of("gateway"), key=lambda name: (len(name), name))
        return {name: self._processes[name].said for name in names}

    @property
    def names(self) -> list[str]:
        """The names of the nodes that run, this one not among them."""
        return [name for name, process in self._processes.items() if process.is_running]

    def pid(self, name: str) -> int:
        """Give the process id of a node."""
        return self._processes[name].pid

    async def add(self, kind: str) -> str:
        """Start a "gateway" or a node of "guilds"; give its name, when it serves."""
        self._started[kind] += 1
        name = f"{kind}-{self._started[kind]}"
        port = self._free_port() if kind == "gateway" else None
        try:
            process = await NodeProcess.start(name, _KINDS[kind], self._arguments(kind), self._variables(port))
        finally:
            self._taken.discard(port or 0)
        self._processes[name] = process
        return name

    async def stop(self, name: str) -> None:
        """Have a node stop in order, and wait until it has."""
        process = self._processes.pop(name)
        with suppress(manifold.Overloaded):
            self._node.send(OVERVIEW, {"op": "stopping", "name": name})
        await process.stop()

    async def kill(self, name: str) -> None:
        """End a node at once, as a crash would."""
        await self._processes.pop(name).kill()

    async def counts(self) -> dict[str, dict[str, Any]]:
        """Ask each node that runs, this one included, for its counts."""
        names = [self._node.name, *self.names]
        asked = [self._node.ask(PULSE.format(name), {"op": "counts"}) for name in names]
        return dict(zip(names, await asyncio.gather(*asked), strict=True))

    def refusal(self, do: str, what: str) -> str | None:
        """Say why a command cannot be followed; None if it can."""
        if do == "add" and what not in _KINDS:
            return f"there are nodes of {' and '.join(_KINDS)}, not of {what}"
        if do == "add":
            return f"there are {MOST} of {what} already" if len(self._names_of(what)) >= MOST else None
        if what not in self.names:
            return f"there is no node {what} to {do}"
        kind = what.rpartition("-")[0]
        return f"{what} is the last of its kind" if len(self._names_of(kind)) == 1 else None

    # The processes.

    def _names_of(self, kind: str) -> list[str]:
        return [name for name in self.names if name.startswith(f"{kind}-")]

    def _arguments(self, kind: str) -> list[str]:
        module, worker_kind = (gateway, "loop") if kind == "gateway" else (guild, "thread")
        return [
            *("--join", self._node.address, "--worker-kind", worker_kind, "--app", f"{module.__name__}:setup"),
            *("--limit", f"node_down_after_s={self._limits.node_down_after_s}"),
            *("--limit", f"stop_grace_s={STOP_GRACE_S}"),
        ]

    def _variables(self, port: int | None) -> dict[str, str]:
        return {} if port is None else {gateway.ADDRESS: f"{self._host}:{port}"}

    def _free_port(self) -> int:
        if not _can_listen(self._host, 0):
            raise StartError(f"{self._host} is no address to serve at")
        if not self._port:
            return 0
        taken = self._taken | {process.port for process in self._processes.values()}
        for port in range(self._port, min(self._port + _TRIES, 65536)):
            if port not in taken and _can_listen(self._host, port):
                self._taken.add(port)
                return port
        raise StartError(f"no port from {self._port} on is free")

    async def _add_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as starting:
                for kind in self._wanted:
                    starting.create_task(self.add(kind))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _met(self) -> None:
        """Wait until all nodes are in their rings, where this node looks."""
        while any(  # noqa: ASYNC110 - a ring tells nobody that it has changed
            len(self._node.ring(role).nodes) < self._wanted.count(kind) for kind, role in _KINDS.items()
        ):
            await asyncio.sleep(0.02)

    async def _end_all(self) -> None:
        for kind in _KINDS:  # the gateways first: sessions without guilds would only complain
            names = [name for name in self._processes if name.startswith(f"{kind}-")]
            await asyncio.gather(*(self._processes.pop(name).stop() for name in names))


def _can_listen(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


class _Commander(manifold.Actor):
    """Does what sessions ask for: {"do", "node", "session"}; answers with a RESULT. One thing at a time."""

    def __init__(self, supervisor: Supervisor) -> None:
        super().__init__()
        self._supervisor = supervisor

    async def on_receive(self, message: dict[str, Any]) -> None:
        """Do it, and tell how it went."""
        do, what = message["do"], message["node"]
        refusal = self._supervisor.refusal(do, what)
        try:
            text = refusal or await self._obey(do, what)
        except StartError as error:
            refusal = text = str(error)
        with suppress(manifold.Overloaded):
            manifold.send(message["session"], {"t": "RESULT", "ok": refusal is None, "text": text})

    async def _obey(self, do: str, what: str) -> str:
        if do == "add":
            return f"{await self._supervisor.add(what)} has joined"
        await (self._supervisor.stop if do == "stop" else self._supervisor.kill)(what)
        return f"{what} was {'stopped' if do == 'stop' else 'killed'}"
