"""Ranges: the nearest second-order swing levels above and below the last price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from kontor.domain.market import Candles

HIGH, LOW = 2, 3
NEIGHBOURS = 2
MIN_DISTANCE = 0.005
RANGE_TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h", "1d")
RANGE_CANDLES = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """The levels a price moves between; a side is None while no timeframe has shown one."""

    symbol: str
    high: Decimal | None
    low: Decimal | None
    high_timeframe: str | None
    low_timeframe: str | None
    at: datetime

    @property
    def is_complete(self) -> bool:
        """Both sides are known."""
        return self.high is not None and self.low is not None


def swings(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that stand above the two on each side of them, in order; pass negated lows for swing lows."""
    if len(values) < 2 * NEIGHBOURS + 1:
        return np.empty(0, dtype=np.float64)
    inner = values[NEIGHBOURS:-NEIGHBOURS]
    is_swing = np.ones(len(inner), dtype=bool)
    for shift in range(1, NEIGHBOURS + 1):
        is_swing &= inner > values[NEIGHBOURS - shift : len(values) - NEIGHBOURS - shift]
        is_swing &= inner > values[NEIGHBOURS + shift : len(values) - NEIGHBOURS + shift]
    return inner[is_swing]


def nearest_levels(candles: Candles, last: float) -> tuple[float | None, float | None]:
    """(high, low): the nearest second-order swing levels at least 0.5 % beyond `last`, None where there is none."""
    highs = swings(swings(candles[:, HIGH]))
    lows = -swings(swings(-candles[:, LOW]))
    above = highs[highs > last * (1 + MIN_DISTANCE)]
    below = lows[lows < last * (1 - MIN_DISTANCE)]
    return (float(above.min()) if len(above) else None, float(below.max()) if len(below) else None)
