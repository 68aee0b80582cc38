"""The nodes of a replay: that of this process, and others in child processes that end when it does, however it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Any

import manifold
from examples.guild_presence.launch import launch
from examples.guild_presence.replay.gateway import NODES, meet, open_gateways, setup

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping, Sequence

    from examples.guild_presence.replay.driver import How

__all__ = ["Cluster", "ClusterError", "cluster", "start_node"]

_START_S = 60.0
"""How long the nodes may take until all have met."""
_END_S = 10.0
"""How long a child may take to stop, before it is killed."""


class ClusterError(Exception):
    """The nodes could not be started; the message says why in one line, what a child said about it is on stderr."""


def start_node(how: How) -> manifold.Node:
    """Start the node of this process. Raises ClusterError."""
    listen = "tcp://127.0.0.1:0" if how.nodes > 1 and how.transport is None else None
    try:
        return manifold.Node(
            "node-1", workers=how.workers, worker_kind=how.worker_kind, listen=listen, transport=how.transport
        )
    except (ValueError, OSError, manifold.ManifoldError) as error:
        raise ClusterError(str(error)) from None


class Cluster:
    """Nodes that have met. `gateways` are the PIDs of their gateways, those of this process's node first."""

    def __init__(self, gateways: list[manifold.PID], children: Sequence[_Child]) -> None:
        self.gateways = gateways
        self._children = children

    def counts(self) -> dict[str, Mapping[str, Any]]:
        """Give what each child has counted, by name. To be called after the context, as `deaths`."""
        return {child.name: child.counts for child in self._children if child.counts}

    def deaths(self) -> list[str]:
        """Say of each child that has ended without its counts how it did."""
        return [child.obituary() for child in self._children if not child.counts]


@asynccontextmanager
async def cluster(node: manifold.Node, how: How) -> AsyncIterator[Cluster]:
    """Have as many nodes as are wanted as long as the context lasts; `node` is one of them. Raises ClusterError."""
    children: list[_Child] = []
    interrupted = False
    try:
        for number in range(2, how.nodes + 1):
            child = await _start(f"node-{number}", node.address, how)
            children.append(child)
        far = await _met(node, children)
        yield Cluster([*await open_gateways(node), *far], children)
    except asyncio.CancelledError:
        interrupted = True  # so are they, and have nothing else to say
        raise
    finally:
        for child in children:
            child.close()
        said = await asyncio.gather(*(child.end() for child in children))
        if not interrupted:
            sys.stderr.writelines(said)


async def _start(name: str, join: str, how: How) -> _Child:
    arguments = ["--join", join] if how.transport is None else ["--transport", how.transport]
    arguments += ["--app", f"{setup.__module__}:{setup.__name__}", "--worker-kind", how.worker_kind]
    arguments += [] if how.workers is None else ["--workers", str(how.workers)]
    try:
        process, errors = await launch(name, arguments, {NODES: str(how.nodes)})
    except OSError as error:
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
    return [pid for task in ready for pid in task.result()]


class _Child:
    """A node in a process of its own."""

    def __init__(self, name: str, process: Process, errors: IO[bytes]) -> None:
        self.name = name
        self.process = process
        self.counts: Mapping[str, Any] = {}
        self._errors = errors

    async def ready(self) -> list[manifold.PID]:
        """Wait until it has met all others; give its gateways."""
        assert self.process.stdout is not None
        await self.process.stdout.readline()  # what `manifold node` says of itself
        line = await self.process.stdout.readline()
        if not line:
            await self.process.wait()
            msg = f"{self.obituary()} before it was ready"
            raise ClusterError(msg)
        return [manifold.PID.parse(text) for text in line.decode().split()]

    def obituary(self) -> str:
        """Say how it ended."""
        status = self.process.returncode or 0
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{self.name} {how}"

    def close(self) -> None:
        """Have it stop."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def end(self) -> str:
        """Wait until it has stopped, and take its counts; give what it wrote to stderr."""
        try:
            async with asyncio.timeout(_END_S):
                said, _ = await self.process.communicate()
            self.counts = json.loads(said.splitlines()[-1]) if said else {}
        except TimeoutError:
            self.process.kill()
            await self.process.communicate()
        with self._errors:
            self._errors.seek(0)
            return self._errors.read().decode(errors="replace")
