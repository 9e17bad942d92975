"""A public trade: somebody bought from somebody, at a price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kontor.domain.order import Side


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of a market, quantity in base currency; `side` is the taker's, None where the venue does not say."""

    symbol: str
    price: Decimal
    quantity: Decimal
    traded_at: datetime
    side: Side | None = None
    trade_id: str = ""
