"""A desk with candles and prices for strategies, on virtual time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from kontor.config import KontorConfig
from kontor.domain.market import NO_CANDLES, TIMEFRAMES, Candles, Ticker
from kontor.domain.order import Order, OrderState
from kontor.domain.ranges import Range
from kontor.execution.track import track
from kontor.strategies.hosts import DirectHost
from kontor.trading import runner
from kontor.trading.runner import StrategyRun
from tests.fakes.desk import SETTINGS, FakeDesk
from tests.fakes.exchange import FakeExchange


@dataclass
class Prices:
    """What the market did: the price now, and closes of finished candles by symbol, oldest first."""

    now: dict[str, Decimal] = field(default_factory=dict)
    closes: dict[str, list[float]] = field(default_factory=dict)
    # Candles, counted from the newest, that the venue does not have.
    holes: tuple[int, ...] = ()


class TradingExchange(FakeExchange):
    """The fake venue with candles up to the present, and prices that a test may move."""

    prices: Prices

    async def fetch_candles(
        self, symbol: str, timeframe: str, *, since: datetime | None = None, limit: int = 1000
    ) -> Candles:
        self.requests["candles"] += 1
        span = TIMEFRAMES[timeframe]
        closes = self.prices.closes.get(symbol, [])
        if not closes:
            return NO_CANDLES
        now = self.clock.now().timestamp() * 1000
        step = span.total_seconds() * 1000
        last = (now // step - 1) * step
        rows = np.empty((len(closes), 6))
        rows[:, 0] = last - step * np.arange(len(closes))[::-1]
        rows[:, 1:5] = np.array(closes)[:, None]
        rows[:, 5] = 1.0
        for hole in self.prices.holes:
            rows = np.delete(rows, len(rows) - hole, axis=0)
        return rows[-limit:] if since is None else rows[rows[:, 0] >= since.timestamp() * 1000]


class TradingDesk(FakeDesk):
    """A fake desk with strategies."""

    def __init__(self, strategies: Mapping[str, Mapping[str, Any]], **sections: Any) -> None:
        config = KontorConfig.model_validate({"strategies": strategies, "orders": SETTINGS.model_dump(), **sections})
        super().__init__(config=config)
        self.prices = Prices()
        trading = TradingExchange(self.venue, self.clock, profile=self.exchange.profile)
        trading.prices = self.prices
        self.exchange = trading

    def reconfigure(self, **changes: Any) -> None:
        """Edit kontor.yaml."""
        self.config = KontorConfig.model_validate({**self.config.model_dump(), **changes})

    async def refresh(self) -> None:
        """What the updaters do: tickers, balance, positions, open orders, tracking."""
        now = self.clock.now()
        tickers = [Ticker(symbol, price, now) for symbol, price in self.prices.now.items()]
        await self.store.market.save_tickers(self.account, tickers, now)
        balance = await self.exchange.fetch_balance()
        await self.store.account.save_balance(self.account, balance)
        await self.store.account.save_positions(self.account, await self.exchange.fetch_positions(), self.clock.now())
        at = self.clock.now()
        await self.store.account.save_open_orders(self.account, await self.exchange.fetch_open_orders(), at)
        await track(self)

    async def run(self, host: Any = None) -> dict[str, StrategyRun]:
        """One run of the strategies, by name."""
        await self.refresh()
        return {run.strategy: run for run in await runner.run_strategies(self, host or DirectHost())}

    async def booked(self, name: str) -> Order:
        """The order once it is filled and all of its fills are in our books."""

        async def holds() -> bool:
            order = await self.order(name)
            short = await self.store.orders.short_of_fills(self.account)
            return order.state is OrderState.FILLED and name not in {each.client_order_id for each in short}

        await self.until(holds)
        return await self.order(name)

    async def save_range(self, symbol: str, low: str, high: str) -> None:
        """Have this range found."""
        found = Range(symbol, Decimal(high), Decimal(low), "1m", "1m", self.clock.now())
        await self.store.market.save_ranges(self.account, [found])

    def move(self, symbol: str, price: str | Decimal, *, closes: list[float] | None = None) -> None:
        """Set the price, and the closes that led there."""
        self.prices.now[symbol] = Decimal(price)
        if closes is not None:
            self.prices.closes[symbol] = closes


def later(moment: datetime, seconds: float) -> datetime:
    """A moment some seconds on."""
    return moment + timedelta(seconds=seconds)


__all__ = ["Prices", "TradingDesk", "TradingExchange", "later"]
