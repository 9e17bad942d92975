"""Markets, tickers and candles, in base currency and quote price."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Shape (n, 6): open time in epoch milliseconds, open, high, low, close, volume in base currency; ascending, and
# finished candles only.
Candles: TypeAlias = NDArray[np.float64]

NO_CANDLES: Candles = np.empty((0, 6), dtype=np.float64)

TIMEFRAMES: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}


class MarketKind(StrEnum):
    """How a market settles."""

    SPOT = "spot"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Market:
    """What may be traded under one symbol, and in which steps; quantities are base currency."""

    symbol: str
    kind: MarketKind
    base: str
    quote: str
    settle: str | None
    active: bool
    contract_size: Decimal
    quantity_step: Decimal
    price_step: Decimal
    min_quantity: Decimal
    max_quantity: Decimal | None = None
    min_cost: Decimal | None = None
    max_leverage: Decimal | None = None
    # When the venue stops trading it for good, where that is announced.
    delists_at: datetime | None = None
    # The ccxt market as it came, for filters with dotted keys.
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def round_quantity(self, quantity: Decimal) -> Decimal:
        """The largest tradable quantity not above `quantity`."""
        return _to_step(quantity, self.quantity_step, ROUND_DOWN)

    def round_price(self, price: Decimal) -> Decimal:
        """The tradable price nearest to `price`."""
        return _to_step(price, self.price_step, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Ticker:
    """The last price of a market with the moment it was traded at; `last` None means the venue sent none."""

    symbol: str
    last: Decimal | None
    last_at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    quote_volume: Decimal | None = None
    # The ccxt ticker as it came, for filters with dotted keys; not stored.
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def missing_since(last: datetime | None, now: datetime, span: timedelta, keep: int) -> datetime | None:
    """From which open time on candles are asked for: behind the newest known; None, the newest `keep`, without one.

    A newest one that is older than all that is kept counts as none.
    """
    return last + span if last is not None and now - last < keep * span else None


def _to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    if step <= 0:
        return value
    return ((value / step).quantize(Decimal(1), rounding=rounding) * step).normalize() + Decimal(0)
