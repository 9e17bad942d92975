"""A fill: one trade of one of our orders, named by the venue's trade id."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from kontor.domain.order import Side


class FillCause(StrEnum):
    """Why the venue itself made a trade that nobody had asked for."""

    LIQUIDATION = "liquidation"
    AUTO_DELEVERAGING = "auto_deleveraging"


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
    # None for a trade that somebody's order made, which is nearly all of them.
    cause: FillCause | None = None

    @property
    def signed_quantity(self) -> Decimal:
        """Positive when bought, negative when sold."""
        return self.quantity if self.side is Side.BUY else -self.quantity


def total_of(fills: Iterable[Fill]) -> tuple[Decimal, Decimal]:
    """(quantity, mean price) of fills, each trade id counted once; (0, 0) when there are none."""
    unique = {(fill.symbol, fill.trade_id): fill for fill in fills}.values()
    quantity = sum((fill.quantity for fill in unique), Decimal(0))
    if not quantity:
        return Decimal(0), Decimal(0)
    cost = sum((fill.quantity * fill.price for fill in unique), Decimal(0))
    return quantity, cost / quantity
