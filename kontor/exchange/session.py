"""The exchange of one account as everybody in a process holds it: one object, whichever client is behind it."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError
from kontor.ports import Exchange, ExchangeSettings


class SharedClient:
    """One exchange with the calls that are under way on it."""

    def __init__(self, exchange: Exchange, settings: ExchangeSettings, generation: int) -> None:
        self.exchange, self.settings, self.generation = exchange, settings, generation
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def in_use(self) -> AsyncGenerator[Exchange]:
        """The exchange for one call; `retire` waits for its end."""
        self._calls += 1
        self._idle.clear()
        try:
            yield self.exchange
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def retire(self) -> None:
        """Close once the last call has ended."""
        await self._idle.wait()
        await self.exchange.close()


class Session:
    """The port Exchange of one account: always the same object, whichever client is behind it.

    A call runs to its end on the client it began with; the next one takes the newest.
    """

    def __init__(self, client: SharedClient) -> None:
        self._client = client

    @property
    def generation(self) -> int:
        """How often this account's client has been replaced on demand, across all processes."""
        return self._client.generation

    @property
    def settings(self) -> ExchangeSettings:
        """How the newest client reaches the account; another block may wait to be opened."""
        return self._client.settings

    @property
    def inner(self) -> Exchange:
        """The exchange of the newest client."""
        return self._client.exchange

    @property
    def profile(self) -> VenueProfile:
        """What this venue can do."""
        return self._client.exchange.profile

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """Spot markets and linear swaps by symbol."""
        async with self._client.in_use() as exchange:
            return await exchange.load_markets(reload=reload)

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol; of every market when no symbols are named."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_tickers(symbols)

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_candles(symbol, timeframe, since=since, limit=limit)

    async def fetch_balance(self) -> Balance:
        """The account in its capital currency, and every currency beside it."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_balance()

    async def fetch_positions(self) -> Sequence[Position]:
        """Open positions."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_positions()

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        """Orders the venue still works on, of one symbol or all."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_open_orders(symbol)

    async def fetch_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> OrderReport:
        """One order by either id; OrderNotFound only when the venue itself says it has none."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_order(
                symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, stop=stop
            )

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Our own trades, oldest first."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_fills(symbol, venue_order_id=venue_order_id, since=since)

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        """Money that came or left by anything but trading, oldest first."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_transfers(since)

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        """Every movement of the account's money since then, oldest first."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_bills(since, until)

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order once; the error raised says whether it may be sent again."""
        async with self._client.in_use() as exchange:
            return await exchange.create_order(order)

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several at once; one result per order, in order, errors as values."""
        async with self._client.in_use() as exchange:
            return await exchange.create_orders(orders)

    async def cancel_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> None:
        """Ask for a cancel; OrderNotFound means it is gone, perhaps filled."""
        async with self._client.in_use() as exchange:
            await exchange.cancel_order(
                symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, stop=stop
            )

    async def cancel_all_after(self, seconds: float) -> None:
        """Have the venue cancel every order unless this is called again in time; 0 disarms it."""
        async with self._client.in_use() as exchange:
            await exchange.cancel_all_after(seconds)

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of a swap."""
        async with self._client.in_use() as exchange:
            await exchange.set_leverage(symbol, leverage)

    async def fetch_time(self) -> datetime:
        """The venue's clock."""
        async with self._client.in_use() as exchange:
            return await exchange.fetch_time()

    async def call(self, method: str, *args: Any) -> Any:
        """What a unified read returns, as it comes."""
        async with self._client.in_use() as exchange:
            return await exchange.call(method, *args)

    async def close(self) -> None:
        """Nothing: the pool closes what many share."""

    @property
    def client(self) -> SharedClient:
        """What the next call will use."""
        return self._client

    def serves(self, settings: ExchangeSettings, generation: int) -> bool:
        """Whether the client is as new as that."""
        return self._client.generation >= generation and self._client.settings == settings

    def swap(self, client: SharedClient) -> SharedClient:
        """Put a new client behind this session; returns the old one."""
        self._client, old = client, self._client
        return old
