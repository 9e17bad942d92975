"""Market views for strategies' tests."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from kontor.domain.account import Balance
from kontor.domain.market import TIMEFRAMES, Ticker
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.domain.ranges import Range
from kontor.domain.strategy_position import StrategyPosition
from kontor.domain.units import UnitFigures, UnitRules, figures
from kontor.strategies import MarketView, SymbolView
from tests.fakes.venue import MARKETS
from tests.fakes.virtual_time import START

SWAP, SPOT = "BTC/USD:USD", "BTC/USD"
RULES = UnitRules((Decimal("0.1"), Decimal("0.05")), Decimal("0.05"), Decimal("0.08"))


def symbol_view(
    symbol: str = SWAP,
    price: str = "100",
    *,
    closes: Sequence[float] = (100.0,),
    timeframe: str = "1m",
    held: str = "0",
    entry: str = "100",
    orders: Sequence[Order] = (),
    bounds: tuple[str, str] | None = None,
) -> SymbolView:
    """One symbol at a price."""
    rows = np.empty((len(closes), 6))
    step = TIMEFRAMES[timeframe].total_seconds() * 1000
    rows[:, 0] = START.timestamp() * 1000 - step * np.arange(1, len(closes) + 1)[::-1]
    rows[:, 1:5] = np.array(closes)[:, None]
    rows[:, 5] = 1
    quantity = Decimal(held)
    position = StrategyPosition("test", symbol, quantity, Decimal(entry) if quantity else Decimal(0))
    found = None
    if bounds is not None:
        found = Range(symbol, Decimal(bounds[1]), Decimal(bounds[0]), "1m", "1m", START)
    return SymbolView(
        market=MARKETS[symbol],
        ticker=Ticker(symbol, Decimal(price), START),
        price=Decimal(price),
        candle_at=START - timedelta(minutes=1),
        all_candles={timeframe: rows},
        position=position,
        orders=tuple(orders),
        range=found,
    )


def view(*symbols: SymbolView, units: UnitFigures | None = None, **more: Any) -> MarketView:
    """A view with 10,000 of capital."""
    capital = Decimal(10_000)
    state: Mapping[str, Any] = more.pop("state", {})
    return MarketView(
        strategy="test",
        now=START,
        symbols={each.symbol: each for each in symbols},
        capital=capital,
        max_value=capital,
        balance=Balance("USD", capital, capital, Decimal(0), START),
        units=units or figures(RULES, capital, []),
        state=state,
        **more,
    )


def resting(price: str, quantity: str, side: Side = Side.BUY, name: str = "", **more: Any) -> Order:
    """An accepted limit order."""
    return Order(
        client_order_id=name or f"{side}-{price}",
        account="paper",
        symbol=more.pop("symbol", SWAP),
        side=side,
        order_type=OrderType.LIMIT,
        quantity=Decimal(quantity),
        created_at=START,
        price=Decimal(price),
        state=OrderState.ACCEPTED,
        strategy="test",
        **more,
    )
