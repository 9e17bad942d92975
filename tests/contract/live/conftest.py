"""One paper exchange on prices of another: both servers of this process, on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ccxt.pro
import pytest

from deployments.cli.paper import live_feed
from kontor.paper.feed import LiveFeed
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.paper.stored import read_stored

SECONDS = 20.0


@dataclass
class Fed:
    """The exchange that has the prices, and the one that takes them."""

    theirs: PaperServer
    ours: PaperServer
    feed: LiveFeed
    client: Any

    async def until(self, holds: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Wait until something holds; what it returns may be awaitable."""
        async with asyncio.timeout(seconds):
            while True:
                found = holds()
                if await found if isinstance(found, Awaitable) else found:
                    return
                await asyncio.sleep(0.02)


@pytest.fixture
async def theirs() -> AsyncIterator[PaperServer]:
    """The exchange whose prices are taken: synthetic ones, that move ten times a second."""
    settings = PaperSettings(port=0, persist=False, markets=12, tick_ms=20, price_tick_ms=100, rate_limit_factor=0)
    async with PaperServer(settings) as made:
        yield made


def fed_settings(theirs: PaperServer, **more: Any) -> PaperSettings:
    """Settings of an exchange on their prices."""
    usual: dict[str, Any] = {"port": 0, "persist": False, "markets": 8, "tick_ms": 20, "rate_limit_factor": 0}
    return PaperSettings(source=f"live:okx@{theirs.url}", **{**usual, **more})


@asynccontextmanager
async def fed_by(theirs: PaperServer, home: Path | None = None, **more: Any) -> AsyncIterator[Fed]:
    """An exchange on their prices, with a ccxt client at it; with a home it remembers."""
    settings = fed_settings(theirs, **({"home": home, "persist": True} if home else {}), **more)
    feed = live_feed(settings)
    try:
        await feed.open(settings.markets, read_stored(settings.state_file))
        async with PaperServer(settings, feed=feed) as ours:
            account = settings.accounts[0]
            client = ccxt.pro.okx(
                {
                    "apiKey": account.api_key,
                    "secret": account.secret.get_secret_value(),
                    "password": account.passphrase.get_secret_value(),
                    "urls": {"api": {"rest": ours.url, "ws": ours.ws_url}},
                    "options": {"fetchMarkets": {"types": ["spot", "swap"]}},
                    "enableRateLimit": False,
                }
            )
            client.verify, client.timeout_on_exit = False, 0
            try:
                yield Fed(theirs, ours, feed, client)
            finally:
                await client.close()
    finally:
        await feed.close()


@pytest.fixture
async def fed(theirs: PaperServer) -> AsyncIterator[Fed]:
    """A fed exchange without memory."""
    async with fed_by(theirs) as made:
        yield made
