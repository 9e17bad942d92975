"""A fill: one trade of one of our orders, named by the venue's trade id."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from kontor.domain.order import Side


@dataclass(frozen=True, slots=True)
class Fill:
    """Quantity is base currency, `fee` is positive when we pay it."""

    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_at: datetime
    venue_order_id: str
    client_order_id: str | None = None
    fee: Decimal | None = None
    fee_currency: str | None = None
    is_maker: bool | None = None
