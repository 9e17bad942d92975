"""CcxtExchange: the port Exchange over any exchange ccxt knows."""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import ccxt

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.market import Candles, Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError, NotSupported
from kontor.exchange.accounts import held, parse_balance, parse_position
from kontor.exchange.candle_source import CandleSource
from kontor.exchange.capabilities import page_size
from kontor.exchange.connection import Connection
from kontor.exchange.error_table import Asked
from kontor.exchange.fills import collect_pages, parse_fill
from kontor.exchange.order_reports import parse_order
from kontor.exchange.order_sender import OrderSender
from kontor.exchange.tickers import parse_ticker
from kontor.ports import Clock, ExchangeSettings
from kontor.resilience.rate_budget import Priority

logger = logging.getLogger(__name__)

MAX_OPEN_ORDER_PAGES = 100


class CcxtExchange:
    """One account at one venue; each method one logical call, not retried. Markets are loaded on first use."""

    def __init__(self, settings: ExchangeSettings, *, clock: Clock) -> None:
        self.connection = Connection(settings, clock)
        self._candles = CandleSource(self.connection)
        self._orders = OrderSender(self.connection)
        self._skipped: Counter[str] = Counter()

    @property
    def profile(self) -> VenueProfile:
        """What this venue can do."""
        return self.connection.profile

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """Spot markets and linear swaps by symbol."""
        return await self.connection.load_markets(reload=reload)

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol; of every market when no symbols are named."""
        markets = await self.load_markets()
        wanted = None if symbols is None else {symbol: await self.connection.market(symbol) for symbol in symbols}
        if wanted is not None and not wanted:
            return {}
        if self.connection.client.has.get("fetchTickers"):
            raw = await self._tickers_at_once(markets, wanted)
        elif wanted is not None:
            raw = await asyncio.gather(*(self._ask("fetch_ticker", symbol) for symbol in wanted))
        else:
            raise self._unsupported("fetchTickers", "name the symbols")
        now = self.connection.clock.now()
        chosen = markets if wanted is None else wanted
        return {ticker["symbol"]: parse_ticker(ticker, now) for ticker in raw if ticker.get("symbol") in chosen}

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first: the newest `limit`, or with `since` the first `limit` from then on."""
        self._require("fetchOHLCV")
        return await self._candles.fetch(await self.connection.market(symbol), timeframe, since, limit)

    async def fetch_balance(self) -> Balance:
        """The account in its capital currency."""
        self._require("fetchBalance")
        raw = await self._ask("fetch_balance", priority=Priority.ACCOUNT)
        return parse_balance(raw, self.connection.settings.capital_currency, self.connection.clock.now())

    async def fetch_positions(self) -> Sequence[Position]:
        """Open positions; none at a venue that has no swaps at all."""
        markets = await self.load_markets()
        if not self.connection.client.has.get("fetchPositions"):
            if any(market.kind is MarketKind.SWAP for market in markets.values()):
                raise self._unsupported("fetchPositions", "watch the balance instead")
            return ()
        now = self.connection.clock.now()
        found: list[Position] = []
        for raw in await self._ask("fetch_positions", priority=Priority.ACCOUNT):
            market = markets.get(raw.get("symbol"))
            if market is None:
                if held(raw, None):
                    self._skip("position", raw.get("symbol"))
                continue
            position = parse_position(raw, market, now)
            if position is not None:
                found.append(position)
        return found

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        """Orders the venue still works on, of one symbol or all."""
        self._require("fetchOpenOrders")
        if symbol is not None:
            await self.connection.market(symbol)
        raw = await self._open_orders(symbol)
        return await self._reports(raw)

    async def fetch_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None
    ) -> OrderReport:
        """One order by either id; OrderNotFound only when the venue itself says it has none."""
        return await self._orders.look_up(symbol, client_order_id, venue_order_id)

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Our own trades, oldest first; without `since` and order id the newest page of them."""
        self._require("fetchMyTrades")
        markets = await self.load_markets()
        if symbol is not None:
            await self.connection.market(symbol)
        kinds = sorted({market.kind for market in markets.values()})
        split = symbol is None and self.connection.venue.fills_by_kind
        pages = [
            await self._fill_pages(symbol, venue_order_id, since, kind) for kind in (kinds if split else (None,))
        ]
        now = self.connection.clock.now()
        found: list[Fill] = []
        for raw in (trade for page in pages for trade in page):
            market = markets.get(str(raw.get("symbol")))
            if market is None:
                self._skip("fill", raw.get("symbol"))
            elif venue_order_id is None or str(raw.get("order")) == venue_order_id:
                found.append(parse_fill(raw, market, now))
        return sorted(found, key=lambda fill: fill.filled_at)

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order once; the error raised says whether it may be sent again."""
        return await self._orders.create(order)

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several, in batches where the venue has them; one result per order, in order, errors as values."""
        return await self._orders.create_all(orders)

    async def cancel_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None
    ) -> None:
        """Ask for a cancel; OrderNotFound means it is gone, perhaps filled: look it up."""
        await self._orders.cancel(symbol, client_order_id, venue_order_id)

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of a swap; one that is set already is fine."""
        self._require("setLeverage")
        market = await self.connection.market(symbol)
        if market.kind is not MarketKind.SWAP:
            raise NotSupported(f"{self.profile.exchange_id} {symbol} is a spot market; it has no leverage")
        client = self.connection.client
        value = int(leverage) if leverage == int(leverage) else float(leverage)

        async def request() -> None:
            try:
                await client.set_leverage(value, symbol)
            except ccxt.NoChange:
                return

        await self.connection.ask(f"set_leverage {symbol}", request, priority=Priority.ACCOUNT)

    async def fetch_time(self) -> datetime:
        """The venue's clock."""
        self._require("fetchTime")
        return await self.connection.fetch_time()

    async def call(self, method: str, *args: Any) -> Any:
        """What a unified read of ccxt returns, as it comes; only `fetch_...` methods this venue has."""
        name = self.connection.client.camelcase(method) if method.startswith("fetch_") else ""
        if not self.connection.client.has.get(name) or not hasattr(self.connection.client, method):
            raise NotSupported(f"{self.profile.exchange_id} has no read {method}; see its capabilities in kontor doctor")
        await self.load_markets()
        return await self._ask(method, *args)

    async def close(self) -> None:
        """Close every socket; safe to call twice."""
        await self.connection.close()

    async def _ask(
        self, method: str, *args: Any, priority: Priority = Priority.MARKET_DATA, asked: Asked = Asked.READ
    ) -> Any:
        await self.load_markets()
        request = getattr(self.connection.client, method)
        return await self.connection.ask(method, lambda: request(*args), asked=asked, priority=priority)
