"""The nodes of a replay: that of this process, and others in child processes that end when it does, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import manifold
from examples.guild_presence.gateway import NODES, Gateway, meet, setup

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Cluster", "ClusterError", "cluster"]

_ROOT = Path(__file__).parents[2]
_COOKIE = "MANIFOLD_COOKIE"
"""Of a user's settings for nodes of his own only this concerns these."""
_START_S = 60.0
"""How long the nodes may take until all have met."""
_END_S = 10.0
"""How long a child may take to stop, before it is killed."""


class ClusterError(Exception):
    """The nodes could not be started; the message says why in one line, what a child said about it is on stderr."""


class Cluster:
    """Nodes that have met. `gateways` are the PIDs of their gateways, that of this process's node first."""

    def __init__(self, gateways: list[manifold.PID], children: Sequence[_Child]) -> None:
        self.gateways = gateways
        self._children = children

    def deaths(self) -> list[str]:
        """Say of each child that has ended how it did."""
        return [child.obituary() for child in self._children if child.process.returncode is not None]


@asynccontextmanager
async def cluster(node: manifold.Node, nodes: int, workers: int | None) -> AsyncIterator[Cluster]:
    """Have so many nodes in all as long as the context lasts; `node` is one of them. Raises ClusterError."""
    children: list[_Child] = []
    interrupted = False
    try:
        for number in range(2, nodes + 1):
            child = await _start(f"node-{number}", node.address, nodes, workers)
            children.append(child)
        gateways = await _met(node, children)
        yield Cluster([node.spawn(Gateway), *gateways], children)
    except asyncio.CancelledError:
        interrupted = True  # so are they, and have nothing else to say
        raise
    finally:
        for child in children:
            child.close()
        said = await asyncio.gather(*(child.end() for child in children))
        if not interrupted:
            sys.stderr.writelines(said)


async def _start(name: str, join: str, nodes: int, workers: int | None) -> _Child:
    command = [sys.executable, "-m", "manifold", "node", "--name", name, "--join", join, "--log-level", "warning"]
    command += ["--app", f"{setup.__module__}:{setup.__name__}"]
    command += [] if workers is None else ["--workers", str(workers)]
    env = {name: value for name, value in os.environ.items() if name == _COOKIE or not name.startswith("MANIFOLD_")}
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - the child's as long as it lives
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=errors, cwd=_ROOT, env=env | {NODES: str(nodes)}
        )
    except OSError as error:
        errors.close()
        msg = f"{name} could not be started: {error}"
        raise ClusterError(msg) from None
    return _Child(name, process, errors)


async def _met(node: manifold.Node, children: Sequence[_Child]) -> list[manifold.PID]:
    try:
        async with asyncio.timeout(_START_S), asyncio.TaskGroup() as tasks:
            ready = [tasks.create_task(child.ready()) for child in children]
            tasks.create_task(meet(node, 1 + len(children)))
    except TimeoutError:
        msg = f"the nodes have not met within {_START_S:g} seconds"
        raise ClusterError(msg) from None
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in ready]


class _Child:
    """A node in a process of its own."""

    def __init__(self, name: str, process: Process, errors: IO[bytes]) -> None:
        self.process = process
        self._name = name
        self._errors = errors

    async def ready(self) -> manifold.PID:
        """Wait until it has met all others; give its gateway."""
        assert self.process.stdout is not None
        await self.process.stdout.readline()  # what `manifold node` says of itself
        line = await self.process.stdout.readline()
        if not line:
            await self.process.wait()
            msg = f"{self.obituary()} before it was ready"
            raise ClusterError(msg)
        return manifold.PID.parse(line.decode().strip())

    def obituary(self) -> str:
        """Say how it ended."""
        status = self.process.returncode or 0
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self._name} {how}"

    def close(self) -> None:
        """Have it stop."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def end(self) -> str:
        """Wait until it has stopped; give what it wrote to stderr."""
        try:
            async with asyncio.timeout(_END_S):
                await self.process.communicate()
        except TimeoutError:
            self.process.kill()
            await self.process.communicate()
        with self._errors:
            self._errors.seek(0)
            return self._errors.read().decode(errors="replace")
