"""Trend following by two moving averages: long while the fast one is above the slow one."""

from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from kontor.domain.market import MarketKind
from kontor.strategies.protocol import Decision, Strategy, StrategyOrder, StrategyParameters
from kontor.strategies.view import CLOSE, DataNeed, MarketView, SymbolView

Length = Annotated[int, Field(ge=2, le=1000)]


class SmaCrossParameters(StrategyParameters):
    """Lengths in candles; with `short` it also sells swaps while the fast average is below the slow one."""

    timeframe: str = "5m"
    fast: Length = 10
    slow: Length = 30
    short: bool = False

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError("fast must be below slow")
        return self


class SmaCross(Strategy[SmaCrossParameters]):
    """Changes its position when the averages of closes cross; an even share of its capital on each symbol."""

    def needs(self) -> DataNeed:
        """One candle more than the slow average, to see the crossing."""
        return DataNeed(self.parameters.timeframe, self.parameters.slow + 1)

    def decide(self, view: MarketView) -> Decision:
        """Market orders on the candle of a crossing."""
        orders: list[StrategyOrder] = []
        for market in view.values():
            before, now = self._lead(market, 1), self._lead(market, 0)
            if before <= 0 < now:
                orders += market.target(market.quantity_for(view.share), "cross-up")
            elif before >= 0 > now:
                shorts = self.parameters.short and market.market.kind is MarketKind.SWAP
                orders += market.target(-market.quantity_for(view.share) if shorts else 0, "cross-down")
        return Decision.of(orders)

    def _lead(self, market: SymbolView, ago: int) -> float:
        """How far the fast average was above the slow one so many candles ago."""
        closes = market.candles(self.parameters.timeframe)[:, CLOSE]
        closes = closes[: len(closes) - ago]
        return float(np.mean(closes[-self.parameters.fast :]) - np.mean(closes[-self.parameters.slow :]))
