"""Exchanges that are sent to a venue of ours or to the paper exchange, and orders for them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import ccxt.pro
import pytest

from kontor.domain.order import Order, OrderType, Side
from kontor.exchange.guarded import GuardedExchange
from kontor.exchange.opening import open_exchange
from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer
from kontor.paper.settings import PaperSettings
from kontor.paper.venue import Venue
from kontor.ports import ExchangeSettings
from kontor.resilience.backoff import Backoff
from kontor.resilience.clock import SystemClock

from .fake_venue import FakeVenue
from .on_paper import KEYS

Maker = Callable[..., Order]
Opener = Callable[..., GuardedExchange]


@pytest.fixture
async def venue() -> AsyncIterator[FakeVenue]:
    """A venue that is up."""
    made = FakeVenue()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def open_at() -> AsyncIterator[Opener]:
    """Opens guarded exchanges at an address; closes them at the end."""
    async with AsyncExitStack() as stack:

        def opener(url: str, **changes: Any) -> GuardedExchange:
            usual: dict[str, Any] = {
                "api_key": "key-123",
                "secret": "secret-456",
                "password": "pass-789",
                "urls": {"rest": url, "ws": url.replace("http", "ws")},
                "request_timeout": timedelta(seconds=5),
                "requests_per_second": 10_000.0,
            }
            exchange = open_exchange(ExchangeSettings("okx", "paper", **{**usual, **changes}), clock=SystemClock())
            exchange._backoff = Backoff(0.001, 0.01)
            stack.push_async_callback(exchange.close)
            return exchange

        yield opener


@pytest.fixture
async def exchange(venue: FakeVenue, open_at: Opener) -> GuardedExchange:
    """An exchange at that venue with its markets loaded."""
    made = open_at(venue.url)
    await made.load_markets()
    return made


@pytest.fixture
def make_order() -> Maker:
    """Makes limit orders of a tenth of a bitcoin; name what differs."""
    count = iter(range(1, 1000))

    def maker(symbol: str = "BTC/USD", **changes: Any) -> Order:
        usual: dict[str, Any] = {
            "client_order_id": f"k{datetime.now(UTC):%H%M%S%f}{next(count)}",
            "account": "paper",
            "symbol": symbol,
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "quantity": Decimal("0.1"),
            "price": Decimal(1000),
            "created_at": datetime.now(UTC),
        }
        if changes.get("order_type") is OrderType.MARKET:
            usual["price"] = None
        return Order(**{**usual, **changes})

    return maker


@pytest.fixture
def venue_clock() -> ManualClock:
    """The venue's clock stands still, so that prices do."""
    return ManualClock(int(time.time() * 1000))


@pytest.fixture
async def paper(venue_clock: ManualClock) -> AsyncIterator[PaperServer]:
    """A paper exchange in memory, without rate limits."""
    settings = PaperSettings(port=0, persist=False, rate_limit_factor=0, tick_ms=10, markets=40)
    async with PaperServer(settings, venue=Venue(settings.venue_config(), clock=venue_clock)) as server:
        yield server


@pytest.fixture
async def desk(paper: PaperServer, open_at: Opener) -> GuardedExchange:
    """The desk's way to it."""
    exchange = open_at(paper.url, **KEYS)
    await exchange.load_markets()
    return exchange


@pytest.fixture
async def books(paper: PaperServer) -> AsyncIterator[Any]:
    """Unmodified ccxt: the venue's books without our adapter between."""
    config: Any = {
        "apiKey": "paper-key",
        "secret": "paper-secret",
        "password": "paper-passphrase",
        "urls": {"api": {"rest": paper.url, "ws": paper.ws_url}},
        "enableRateLimit": False,
        "timeout_on_exit": 0,
    }
    client: Any = ccxt.pro.okx(config)
    yield client
    await client.close()
