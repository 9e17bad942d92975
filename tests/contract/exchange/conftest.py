"""A venue that answers as it is told, byte by byte, and an exchange that is sent there."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from kontor.domain.order import Order, OrderType, Side
from kontor.exchange.guarded import GuardedExchange
from kontor.exchange.opening import open_exchange
from kontor.ports import ExchangeSettings
from kontor.resilience.backoff import Backoff
from kontor.resilience.clock import SystemClock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Opener = Callable[..., GuardedExchange]

INSTRUMENTS = [
    {
        "instType": "SPOT",
        "instId": "BTC-USD",
        "baseCcy": "BTC",
        "quoteCcy": "USD",
        "lotSz": "0.00000001",
        "minSz": "0.00001",
        "tickSz": "0.1",
        "state": "live",
    },
    {
        "instType": "SWAP",
        "instId": "BTC-USD-SWAP",
        "uly": "BTC-USD",
        "settleCcy": "USD",
        "ctVal": "0.01",
        "lotSz": "1",
        "minSz": "1",
        "tickSz": "0.1",
        "lever": "100",
        "state": "live",
    },
]


def fine(*data: Any) -> Handler:
    """OKX's envelope around some data."""
    return body(json.dumps({"code": "0", "msg": "", "data": list(data)}))


def body(
    text: str, *, status: int = 200, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> Handler:
    """Any answer at all."""

    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=kind, headers=headers)

    return handler


class FakeVenue:
    """An HTTP server whose answers a test sets by path; it remembers every request."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.release = asyncio.Event()
        self.seen: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.release.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def asked(self, path: str) -> int:
        """How often a path was requested."""
        return sum(path in requested for _, requested, _ in self.requests)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, await request.text()))
        self.headers.append(dict(request.headers))
        for path, event in self.seen.items():
            if request.path.endswith(path):
                event.set()
        handler = next((found for path, found in self.answers.items() if request.path.endswith(path)), None)
        if handler is not None:
            return await handler(request)
        if request.path.endswith("public/instruments"):
            kind = request.query["instType"]
            return await fine(*(entry for entry in INSTRUMENTS if entry["instType"] == kind))(request)
        if request.path.endswith("public/time"):
            return await fine({"ts": str(int(datetime.now(UTC).timestamp() * 1000))})(request)
        return await fine()(request)


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
def make_order() -> Callable[..., Order]:
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
