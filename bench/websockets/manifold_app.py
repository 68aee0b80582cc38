"""The application of `examples/guild_presence`: `python -m bench.websockets.manifold_app GATEWAYS GUILD-NODES`.

It says where the gateways serve, and the processes it started by name; it ends with its driver.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from examples.guild_presence.app.supervisor import Supervisor

# Nobody is killed here: a process that stands still for a moment shall not count as dead, and its users be moved.
_NODE_DOWN_AFTER_S = 20.0


async def _serve(gateways: int, guild_nodes: int) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Supervisor(gateways, guild_nodes, node_down_after_s=_NODE_DOWN_AFTER_S) as app:
        pids = {name: app.pid(name) for name in app.names}
        print(json.dumps({"urls": list(app.urls.values()), "pids": pids}), flush=True)
        await lines.read()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to handle
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
