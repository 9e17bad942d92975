"""An exchange without a network: it does what a test tells it to and remembers what it was asked."""

# ruff: noqa: ARG002 - the port's parameters, of which a fake needs none

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from kontor.domain.account import Balance, Position
from kontor.domain.fill import Fill
from kontor.domain.ledger import Bill
from kontor.domain.market import NO_CANDLES, Candles, Market, Ticker
from kontor.domain.order import Order, OrderReport, OrderState
from kontor.domain.outside import Transfer
from kontor.domain.venue_profile import VenueProfile
from kontor.errors import ExchangeError
from kontor.exchange.key_permissions import KEY_PERMISSIONS
from kontor.exchange.wire import current_call

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
Behaviour = Callable[[], Awaitable[Any]]


class FakeExchange:
    """Answers at once, unless `behave` has something else to do first (raise, wait)."""

    def __init__(self, name: str = "fake", permissions: frozenset[str] = frozenset({"read", "trade"})) -> None:
        self.permissions = permissions
        self.name = name
        self.asked: list[str] = []
        self.priorities: list[Any] = []
        self.closed = 0
        self.called = asyncio.Event()
        self.behave: Behaviour | None = None

    @property
    def profile(self) -> VenueProfile:
        return VenueProfile(exchange_id=self.name)

    async def _do(self, method: str) -> None:
        self.asked.append(method)
        self.called.set()
        self.priorities.append(current_call().priority)
        if self.behave is not None:
            await self.behave()

    async def load_markets(self, *, reload: bool = False) -> Mapping[str, Market]:
        await self._do("load_markets")
        return {}

    async def fetch_tickers(self, symbols: Collection[str] | None = None) -> Mapping[str, Ticker]:
        await self._do("fetch_tickers")
        return {}

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        await self._do("fetch_candles")
        return NO_CANDLES

    async def fetch_transfers(self, since: datetime) -> Sequence[Transfer]:
        await self._do("fetch_transfers")
        return []

    async def fetch_bills(self, since: datetime, until: datetime | None = None) -> Sequence[Bill]:
        await self._do("fetch_bills")
        return []

    async def fetch_balance(self) -> Balance:
        await self._do("fetch_balance")
        return Balance(self.name, Decimal(1), Decimal(1), Decimal(0), NOW)

    async def fetch_positions(self) -> Sequence[Position]:
        await self._do("fetch_positions")
        return ()

    async def fetch_open_orders(self, symbol: str | None = None) -> Sequence[OrderReport]:
        await self._do("fetch_open_orders")
        return ()

    async def fetch_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> OrderReport:
        await self._do("fetch_order")
        raise AssertionError("no test looks an order up here without a behaviour that raises")

    async def fetch_fills(
        self, symbol: str | None = None, *, venue_order_id: str | None = None, since: datetime | None = None
    ) -> Sequence[Fill]:
        await self._do("fetch_fills")
        return ()

    async def create_order(self, order: Order) -> OrderReport:
        await self._do("create_order")
        return OrderReport(
            order.symbol, order.side, order.order_type, OrderState.ACCEPTED, order.quantity, Decimal(0), "1", NOW
        )

    async def create_orders(self, orders: Sequence[Order]) -> Sequence[OrderReport | ExchangeError]:
        await self._do("create_orders")
        return [await self.create_order(order) for order in orders]

    async def cancel_order(
        self, symbol: str, *, client_order_id: str | None = None, venue_order_id: str | None = None, stop: bool = False
    ) -> None:
        await self._do("cancel_order")

    async def cancel_all_after(self, seconds: float) -> None:
        await self._do("cancel_all_after")

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        await self._do("set_leverage")

    async def fetch_time(self) -> datetime:
        await self._do("fetch_time")
        return NOW

    async def call(self, method: str, *args: Any) -> Any:
        await self._do(method)
        return self.permissions if method == KEY_PERMISSIONS else args

    async def close(self) -> None:
        self.closed += 1


def fail(*errors: Exception | None) -> Behaviour:
    """Raise these one after another, then behave well; None behaves well in between."""
    left = list(errors)

    async def behave() -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return behave


def hang(*, sent: bool = True) -> Behaviour:
    """Wait forever, with the request on the wire or still waiting for its turn."""

    async def behave() -> None:
        current_call().sent = sent
        await asyncio.Event().wait()

    return behave
