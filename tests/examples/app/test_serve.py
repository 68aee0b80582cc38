"""The verb `serve`: what it prints where, one clear line for bad input, and that it always ends, with everything."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.examples.app.support import PATIENCE_S, ROOT, Client, children_of, is_alive, until

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator


async def start(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.guild_presence", "serve", *arguments,
        cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )  # fmt: skip


async def run(*arguments: str) -> tuple[int | None, str, str]:
    process = await start(*arguments)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, out.decode(), err.decode()


class Served:
    """`serve`, when it serves."""

    def __init__(self, process: Process, said: str, children: list[int]) -> None:
        self.process, self.said, self.children = process, said, children
        self.url = said.split()[1]

    async def end(self) -> tuple[int | None, str, str, float]:
        """Wait for its end; give the status, what it has still said, and how long it took."""
        at = time.monotonic()
        out, err = await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        return self.process.returncode, out.decode(), err.decode(), time.monotonic() - at


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Served]:
    process = await start(*arguments)
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_S) == b"starting ...\n"
        said = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
        yield Served(process, said, children_of(process.pid))
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    async with serving("--port", "0", "--gateways", "2", "--guild-nodes", "1") as served:
        others = served.said.split("gateways: ")[1].split(";")[0].split(", ")
        assert served.said.startswith("Open http://127.0.0.1:")
        assert len(served.children) == 3
        clients = [await Client.open(url, f"u{n}") for n, url in enumerate([served.url, *others] * 5)]
        os.killpg(served.process.pid, number)  # as the terminal does with a ^C
        status, out, err, took = await served.end()
        print(f"ended after {took:.2f} s")
        assert (status, out, err) == (0, "stopping ...\n", "")
        assert took < 15.0  # 1 to 2 s where nothing else runs
        assert [await client.ended() for client in clients] == [1012] * 10
        assert not any(map(is_alive, served.children))


async def test_when_it_is_killed_no_process_is_left() -> None:
    async with serving("--port", "0") as served:
        clients = [await Client.open(served.url, f"u{number}") for number in range(5)]
        assert len(served.children) == 4
        served.process.kill()
        at = time.monotonic()
        await until(lambda: not any(map(is_alive, served.children)))
        print(f"gone after {time.monotonic() - at:.2f} s")
        assert time.monotonic() - at < 10.0  # about 1 s where nothing else runs
        assert {await client.ended() for client in clients} <= {1006, 1012}


async def test_a_port_that_is_taken_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving("--port", str(port), "--guild-nodes", "1") as served:
            first, second = map(int, re.findall(r"127\.0\.0\.1:(\d+)", served.said))
            assert port < first < second < port + 100
            served.process.terminate()
            assert (await served.end())[0] == 0


async def test_help() -> None:
    status, out, err = await run("--help")
    assert (status, err) == (0, "")
    for option in ("--gateways", "--guild-nodes", "--port", "--host", "^C"):
        assert option in out


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--gateways", "0"], 2),
        (["--gateways", "33"], 2),
        (["--guild-nodes", "two"], 2),
        (["--port", "65536"], 2),
        (["--port", "-1"], 2),
        (["--port"], 2),
        (["--nodes", "2"], 2),
        (["more"], 2),
        (["--host", "192.0.2.1"], 1),
        (["--host", "no such host"], 1),
        (["--host", "::1"], 1),
    ],
)
async def test_bad_options_are_one_line(arguments: list[str], status: int) -> None:
    ended, out, err = await run(*arguments)
    assert (ended, err.count("\n")) == (status, 1)
    assert out in ("", "starting ...\n")
    assert err.startswith("guild_presence serve: ")
    assert arguments[-1].lstrip("-") in err
