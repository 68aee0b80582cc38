"""What a gateway sends goes out at once: none of it waits until the client has acknowledged what went before."""

from __future__ import annotations

import asyncio
import http.client
import time
from urllib.parse import urlsplit

from examples.guild_presence.app.supervisor import Supervisor

# The least time that a client's kernel puts an acknowledgement off; an answer in two parts would wait as long.
DELAYED_ACK_S = 0.04


def quickest_answer_s(url: str) -> float:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        connection.request("GET", "/gateway?user=ann")
        assert connection.getresponse().read()
        taken.append(time.perf_counter() - began)
    connection.close()
    return min(taken[5:])  # the first are acknowledged at once


async def test_answers_on_one_connection_do_not_wait_for_acknowledgements():
    async with Supervisor(gateways=1, guild_nodes=1, port=0) as app:
        assert await asyncio.to_thread(quickest_answer_s, app.urls["gateway-1"]) < DELAYED_ACK_S
