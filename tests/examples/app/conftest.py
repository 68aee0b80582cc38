"""The application in processes of its own, one for a test module, and clients of it for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from examples.guild_presence.app.supervisor import Supervisor
from tests.examples.app.support import Clients, clients_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


NODE_DOWN_AFTER_S = 20.0
"""More than any process of a busy machine stands still. A module that kills nodes has less, under the same name."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(request: pytest.FixtureRequest) -> AsyncIterator[Supervisor]:
    limit_s = getattr(request.module, "NODE_DOWN_AFTER_S", NODE_DOWN_AFTER_S)
    async with Supervisor(node_down_after_s=limit_s) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="module")
async def clients(app: Supervisor) -> AsyncIterator[Clients]:
    async with clients_of(app) as clients:
        yield clients
