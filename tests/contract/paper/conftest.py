"""A paper exchange on a free port, its clock moved by hand, and unmodified ccxt as its client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro
import pytest

from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.paper.venue import Venue

Opener = Callable[..., Awaitable[PaperServer]]
Connector = Callable[..., ccxt.pro.okx]


@dataclass
class Admin:
    """The operator's side of a paper exchange."""

    session: aiohttp.ClientSession
    url: str

    async def fault(self, **rule: Any) -> dict[str, Any]:
        async with self.session.post(f"{self.url}/admin/faults", json=rule) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def faults(self) -> list[dict[str, Any]]:
        async with self.session.get(f"{self.url}/admin/faults") as response:
            return await response.json()

    async def clear(self) -> None:
        async with self.session.delete(f"{self.url}/admin/faults") as response:
            assert response.status == 200

    async def stats(self) -> dict[str, Any]:
        async with self.session.get(f"{self.url}/admin/stats") as response:
            return await response.json()

    async def price(self, inst_id: str, price: str) -> None:
        async with self.session.post(f"{self.url}/admin/price", json={"inst_id": inst_id, "price": price}) as response:
            assert response.status == 200, await response.text()


@pytest.fixture
def clock() -> ManualClock:
    """The venue's clock: it stands still, so that prices do, until a test moves it."""
    return ManualClock(int(time.time() * 1000))


@pytest.fixture
async def open_paper(clock: ManualClock) -> AsyncIterator[Opener]:
    """Opens paper exchanges; what is still open at the end is closed."""
    async with AsyncExitStack() as stack:

        async def opener(*, path: Path | None = None, **settings: Any) -> PaperServer:
            given = {"port": 0, "persist": False, "rate_limit_factor": 0, "tick_ms": 10, "markets": 20, **settings}
            chosen = PaperSettings(**given)
            venue = Venue(chosen.venue_config(), clock=clock, path=path)
            return await stack.enter_async_context(PaperServer(chosen, venue=venue))

        yield opener


@pytest.fixture
async def paper(open_paper: Opener) -> PaperServer:
    """A paper exchange without rate limits, in memory."""
    return await open_paper()


@pytest.fixture
async def connect(paper: PaperServer) -> AsyncIterator[Connector]:
    """Makes ccxt clients of the paper exchange, or of another one; closes them at the end."""
    async with AsyncExitStack() as stack:

        def connector(account: str = "paper", *, to: PaperServer | None = None, **config: Any) -> ccxt.pro.okx:
            server = to or paper
            options: Any = {
                "apiKey": f"{account}-key",
                "secret": f"{account}-secret",
                "password": f"{account}-passphrase",
                "urls": {"api": {"rest": server.url, "ws": server.ws_url}},
                "enableRateLimit": False,
                "timeout": 5000,
                "timeout_on_exit": 0,
                **config,
            }
            client = ccxt.pro.okx(options)
            stack.push_async_callback(client.close)
            return client

        yield connector


@pytest.fixture
async def client(connect: Connector) -> ccxt.pro.okx:
    """A ccxt client with the main account's key."""
    return connect()


@pytest.fixture
async def admin(paper: PaperServer) -> AsyncIterator[Admin]:
    """The operator of the paper exchange."""
    async with aiohttp.ClientSession() as session:
        yield Admin(session, paper.url)
