"""A node of the application in a process of its own: `manifold node`, started, heard, and ended."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import urlsplit

from examples.guild_presence.launch import launch

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

__all__ = ["NodeProcess", "StartError"]

_START_S = 60.0
_STOP_S = 30.0


class StartError(Exception):
    """A node could not be started; the message says why."""


class NodeProcess:
    """Stops when this process does, too: it reads the other end of a pipe."""

    def __init__(self, name: str, process: Process, errors: IO[bytes]) -> None:
        self.name = name
        self.said = ""
        """What its app said when it was ready: a gateway's URL."""
        self._process = process
        self._errors = errors

    @classmethod
    async def start(cls, name: str, role: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Self:
        """Start a node and wait until it is ready. Raises StartError."""
        # A group of its own: a ^C in the terminal is for the parent alone, which stops the others in order.
        process, errors = await launch(name, ["--role", role, *arguments], variables, process_group=0)
        self = cls(name, process, errors)
        try:
            async with asyncio.timeout(_START_S):
                await self._hear()
        except BaseException as error:
            self._signal(signal.SIGKILL)
            await self._process.communicate()
            self._errors.close()
            if isinstance(error, TimeoutError):
                raise StartError(f"{name} was not ready within {_START_S:g} s") from None
            raise
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def port(self) -> int | None:
        """Where it serves, if it does."""
        return urlsplit(self.said).port

    async def stop(self) -> None:
        """Have it stop in order; kill it if that takes too long."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
        await self._bury()

    async def kill(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)
        await self._bury()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        await self._process.stdout.readline()  # what `manifold node` says of itself
        self.said = (await self._process.stdout.readline()).decode().strip()
        if not self.said:
            await self._process.wait()
            raise StartError(f"{self.name} ended before it was ready: {self._complaints().split(chr(10))[-1]}")

    def _complaints(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    async def _bury(self) -> None:
        await self._process.communicate()
        said = self._complaints()
        if said:
            print(said, file=sys.stderr)
        self._errors.close()
