"""A page on a free port over a store in memory, and a browser's manners without a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from kontor.errors import StoreUnavailable
from kontor.store.memory import MemoryStore
from kontor.web import WebServer, WebSettings

PASSWORD = "admin:one-line"


class FakeDesk:
    """Two accounts; `trouble` makes the status fail as a locked database does."""

    def __init__(self) -> None:
        self.trouble = ""
        self.looks = 0

    def accounts(self) -> Sequence[str]:
        return ["paper", "paper-sub"]

    def timeframe(self) -> str:
        return "1m"

    async def overview(self, account: str) -> dict[str, Any]:
        self.looks += 1
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        return {"account": account, "looks": self.looks}


class Browser:
    """A client that sends what a browser sends."""

    def __init__(self, page: WebServer, session: aiohttp.ClientSession) -> None:
        self.page, self.session = page, session

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        answer = await self.session.get(f"{self.page.url}{path}", headers=headers, allow_redirects=False)
        await answer.read()
        return answer

    async def sign_in(self, password: str = PASSWORD, origin: str | None = None) -> aiohttp.ClientResponse:
        headers = {"Origin": origin or self.page.url}
        data = {"password": password}
        answer = await self.session.post(f"{self.page.url}/login", data=data, headers=headers, allow_redirects=False)
        await answer.read()
        return answer

    @asynccontextmanager
    async def live(self, query: str = "", origin: str | None = None) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {"Origin": origin or self.page.url}
        async with self.session.ws_connect(f"{self.page.url}/live?{query}", headers=headers) as socket:
            yield socket

    async def hear(self, socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
        """The next message of a kind."""
        while True:
            message = await socket.receive_json(timeout=30)
            if message["kind"] == kind:
                return message


@asynccontextmanager
async def served(store: MemoryStore, desk: FakeDesk, **settings: Any) -> AsyncIterator[Browser]:
    """A page with one browser that has not signed in."""
    given: dict[str, Any] = {"look_every": timedelta(milliseconds=20), **settings}
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        WebServer(WebSettings(PASSWORD, **given), store, desk) as page,
        aiohttp.ClientSession(cookie_jar=jar, trust_env=False) as session,
    ):
        yield Browser(page, session)


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def browser(store: MemoryStore, desk: FakeDesk) -> AsyncIterator[Browser]:
    async with served(store, desk) as found:
        yield found
