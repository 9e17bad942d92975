"""CcxtExchange: the port Exchange over any exchange ccxt knows."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import ccxt

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import Candles, Market, MarketKind, Ticker
from kontor.domain.order import Order, OrderReport
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError, NotSupported
from kontor.exchange.account_setup import ACCOUNT_SETUP, SETUP_READERS
from kontor.exchange.account_source import AccountSource
from kontor.exchange.candle_source import CandleSource
from kontor.exchange.connection import Connection
from kontor.exchange.key_permissions import KEY_PERMISSIONS, READERS
from kontor.exchange.market_source import TickerSource
from kontor.exchange.order_sender import OrderSender
from kontor.exchange.venue_switches import SWITCHES
from kontor.ports import Clock, ExchangeSettings
from kontor.resilience.rate_budget import Priority, RateBudget


class CcxtExchange:
    """One account at one venue; each method is one logical call, not retried. Markets are loaded on first use.

    A canceled create passes CancelledError on: the order's fate is unknown then, and the caller has to look it up.
    """

    def __init__(self, settings: ExchangeSettings, *, clock: Clock, budget: RateBudget | None = None) -> None:
        self.connection = Connection(settings, clock, budget=budget)
        self._tickers = TickerSource(self.connection)
        self._candles = CandleSource(self.connection)
        self._account = AccountSource(self.connection)
        self._orders = OrderSender(self.connection)
        has, snake = self.connection.client.has, self.connection.client.un_camel_case
        self._reads = frozenset(snake(name) for name, can in has.items() if can and name.startswith("fetch"))

    @property
    def profile(self) -> VenueProfile:
        """What this venue can do."""
        return self.connection.profile

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        """Spot markets and linear swaps by symbol."""
        return await self.connection.load_markets(reload=reload)

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        """Tickers by symbol; of every market when no symbols are named."""
        return await self._tickers.fetch(symbols)

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        """Finished candles, oldest first: the newest `limit`, or with `since` the first `limit` from then on."""
        self._require("fetchOHLCV")
        return await self._candles.fetch(await self.connection.market(symbol), timeframe, since, limit)

    async def fetch_balance(self) -> Balance:
        """The account in its capital currency, and every currency beside it."""
        self._require("fetchBalance")
        return await self._account.balance()

    async def fetch_positions(self) -> Sequence[Position]:
        """Open positions; none at a venue without swaps."""
        return await self._account.positions()

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        """Orders the venue still works on, of one symbol or all."""
        self._require("fetchOpenOrders")
        return await self._account.open_orders(symbol)

    async def fetch_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> OrderReport:
        """One order by either id; OrderNotFound only when the venue itself says it has none."""
        if stop:
            return await self._orders.look_up_stop(symbol, client_order_id, venue_order_id)
        return await self._orders.look_up(symbol, client_order_id, venue_order_id)

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        """Our own trades, oldest first; without `since` and order id the newest page of them."""
        self._require("fetchMyTrades")
        return await self._account.fills(symbol, venue_order_id, since)

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        """Money that came or left by anything but trading, oldest first."""
        self._require("fetchLedger")
        return await self._account.transfers(since)

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        """Every movement of the account's money from `since` up to `until`, oldest first; Incomplete when too many."""
        self._require("fetchLedger")
        return await self._account.bills(since, until)

    async def create_order(self, order: Order) -> OrderReport:
        """Send one order once; the error raised says whether it may be sent again."""
        return await self._orders.create(order)

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        """Send several, in batches where the venue has them; one result per order, in order, errors as values."""
        return await self._orders.create_all(orders)

    async def cancel_order(
        self,
        symbol: str,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
        stop: bool = False,
    ) -> None:
        """Ask for a cancel; OrderNotFound means it is gone, perhaps filled: look it up."""
        await self._orders.cancel(symbol, client_order_id, venue_order_id, stop=stop)

    async def cancel_all_after(self, seconds: float) -> None:
        """Have the venue cancel every order unless this is called again in time; 0 disarms it."""
        switch = SWITCHES.get(self.profile.exchange_id)
        if switch is None:
            raise NotSupported(f"{self.profile.exchange_id} has no dead man's switch that this desk can keep")
        await self.load_markets()
        client = self.connection.client
        await self.connection.ask(
            f"cancel_all_after {seconds:g} s", lambda: switch.set(client, seconds), priority=Priority.CANCEL
        )

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
        client = self.connection.client
        if method == KEY_PERMISSIONS and (reader := READERS.get(self.profile.exchange_id)):
            return await self.connection.ask(method, lambda: reader(client), priority=Priority.ACCOUNT)
        if method == ACCOUNT_SETUP and (setup_reader := SETUP_READERS.get(self.profile.exchange_id)):
            return await self.connection.ask(method, lambda: setup_reader(client), priority=Priority.ACCOUNT)
        if method not in self._reads or not hasattr(client, method):
            raise NotSupported(f"{self.profile.exchange_id} has no read named {method}; reads are called fetch_...")
        await self.load_markets()
        return await self.connection.ask(method, lambda: getattr(client, method)(*args))

    async def close(self) -> None:
        """Close every socket; safe to call twice."""
        await self.connection.close()

    def _require(self, method: str) -> None:
        if not self.profile.capabilities.get(method):
            raise NotSupported(f"{self.profile.exchange_id} has no {method}")
