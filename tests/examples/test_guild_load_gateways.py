"""`load.gateways`: the clients know all gateways that one of them tells of, and ask another when one is gone."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.guild_presence.load.gateways import Gateways
from tests.examples.app.support import served


def telling(told: dict[str, str]) -> Starlette:
    """Give a gateway to which all users belong, and that tells of these."""

    async def answer(request: Request) -> JSONResponse:
        url = str(request.base_url).rstrip("/")
        return JSONResponse({"gateway": "this", "url": url, "gateways": {**told, "this": url}})

    return Starlette(routes=[Route("/gateway", answer)])


async def test_another_is_asked_when_the_one_that_was_given_is_gone() -> None:
    async with served(telling({})) as other, AsyncExitStack() as stack:
        given = await stack.enter_async_context(served(telling({"other": other})))
        gateways = Gateways([given])
        assert await gateways.find("ann") == given
        await stack.aclose()
        for _ in range(2):
            assert await gateways.find("ann") == other


async def test_when_none_answers_it_says_so() -> None:
    async with served(telling({})) as url:
        gateways = Gateways([url])
    with pytest.raises(ConnectionError, match=r"no gateway answers: .*refused"):
        await gateways.find("ann")


async def test_a_refusal_is_passed_on() -> None:
    async with served(Starlette()) as url:
        with pytest.raises(ConnectionError, match="404 Not Found"):
            await Gateways([url]).find("ann")
