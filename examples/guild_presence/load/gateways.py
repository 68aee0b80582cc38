"""Where the gateways are, and which of them a user belongs to."""

from __future__ import annotations

import asyncio
import json
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Gateways"]

_ANSWER_S = 10.0
_TURNS = 64


class Gateways:
    """The gateways that are known: those that were given, and those that they tell of.

    `turn` is held while a user connects: more at once would not be faster, and time out.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self.turn = asyncio.Semaphore(_TURNS)
        self._urls = list(urls)

    async def find(self, user: str) -> str:
        """Give the URL of the gateway that a user belongs to. Raises OSError if no gateway tells."""
        error: Exception | None = None
        for url in tuple(self._urls):
            try:
                answer = await asyncio.to_thread(_ask, url, user)
            except (OSError, HTTPException) as caught:
                error = caught
                self._put_last(url)
            else:
                self._urls += set(answer["gateways"].values()).difference(self._urls)
                return str(answer["url"])
        raise ConnectionError(f"no gateway answers: {error}")

    def _put_last(self, url: str) -> None:
        self._urls.remove(url)
        self._urls.append(url)


def _ask(url: str, user: str) -> dict[str, Any]:
    server = HTTPConnection(urlsplit(url).netloc, timeout=_ANSWER_S)
    try:
        server.request("GET", f"/gateway?{urlencode({'user': user})}")
        answer = server.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"{url}: {answer.status} {answer.reason}: {said[:200].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(said)
        return found
    finally:
        server.close()
