"""A connection to NATS is closed in whatever moment: also while it is made again."""

from __future__ import annotations

import asyncio

from nats import errors
from nats.aio.client import Client

from manifold.transport.nats_broker import Broker
from manifold.transport.nats_url import parse_servers
from tests.cluster.support import until


def test_closing_while_a_lost_connection_is_made_again(serve, monkeypatch):
    server = serve()
    broker = Broker(parse_servers(server.url), "somebody", is_guarded=False)
    broker.open()
    tried = []

    async def connect(client, *_, **__):
        """As nats-py does: what cancels the task that waits for a server reads as if there were none."""
        tried.append(client)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise errors.NoServersError from None

    monkeypatch.setattr(Client, "connect", connect)
    server.kill()
    assert until(lambda: broker.wait(0.05) or tried)
    assert not broker.is_up
    broker.close()
    assert len(tried) == 1
