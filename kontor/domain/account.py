"""What an account holds: balance and positions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class PositionSide(StrEnum):
    """Which way a position earns."""

    LONG = "long"
    SHORT = "short"


@dataclass(frozen=True, slots=True)
class CurrencyBalance:
    """One currency: `free` can really be used now, `used` is held by orders and margin, `total` is both."""

    free: Decimal
    used: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """The account in its capital currency (`USD` on the paper exchange), and every currency beside it.

    `total` is that currency's equity as the venue tells it, on OKX with the profit that is open; coins are not in it.
    What the account is worth is `kontor.domain.capital.Capital`.
    """

    currency: str
    total: Decimal
    free: Decimal
    used: Decimal
    at: datetime
    currencies: Mapping[str, CurrencyBalance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Position:
    """An open position; `quantity` is base currency and positive, `side` gives its direction."""

    symbol: str
    side: PositionSide
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal | None
    unrealized_pnl: Decimal | None
    notional: Decimal | None
    leverage: Decimal | None
    margin_mode: str | None
    at: datetime

    @property
    def signed_quantity(self) -> Decimal:
        """Positive for long, negative for short."""
        return self.quantity if self.side is PositionSide.LONG else -self.quantity
