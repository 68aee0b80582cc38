"""The application in processes of its own, one for a test module, and clients of it for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from examples.guild_presence.app.supervisor import Supervisor
from tests.examples.app.support import Clients, clients_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app() -> AsyncIterator[Supervisor]:
    async with Supervisor() as app:
        yield app


@pytest_asyncio.fixture(loop_scope="module")
async def clients(app: Supervisor) -> AsyncIterator[Clients]:
    async with clients_of(app) as clients:
        yield clients
