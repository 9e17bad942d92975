"""Keeping resting orders as wanted: what is there stays, what is missing is placed, what is left over is canceled."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.order import Order, OrderType, Side
from kontor.strategies.protocol import StrategyOrder
from kontor.strategies.view import SymbolView

# Fees in the base and steps make quantities differ a little: no reason to lose a place in the queue.
TOLERANCE = Decimal("0.02")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A limit order that should rest; `leg` names it among those of its symbol."""

    leg: str
    side: Side
    quantity: Decimal
    price: Decimal
    reduce_only: bool = False


def aligned(market: SymbolView, wanted: Sequence[Wanted]) -> tuple[list[StrategyOrder], list[str]]:
    """(orders to place, client order ids to cancel) that make the symbol's resting orders those wanted.

    The leg carries the price, so that another price on the same candle is another order. A closing order waits until
    a canceled one is gone: both together could close more than is held.
    """
    left = [order for order in market.orders if order.order_type is OrderType.LIMIT]
    missing: list[Wanted] = []
    for each in wanted:
        found = next((order for order in left if _same(market, order, each)), None)
        if found is not None:
            left.remove(found)
        elif market.tradable(each.quantity, each.price):
            missing.append(each)
    cancels = [order.client_order_id for order in left if order.cancel_requested_at is None]
    under_way = {order.side for order in left}
    orders = [
        market.limit(
            f"{each.leg}@{market.market.round_price(each.price):f}",
            each.side,
            each.quantity,
            each.price,
            reduce_only=each.reduce_only,
            post_only=False,
        )
        for each in missing
        if not (each.reduce_only and each.side in under_way)
    ]
    return orders, cancels


def _same(market: SymbolView, order: Order, wanted: Wanted) -> bool:
    if (order.side, order.price) != (wanted.side, market.market.round_price(wanted.price)):
        return False
    slack = max(wanted.quantity * TOLERANCE, market.market.quantity_step)
    return order.cancel_requested_at is None and abs(order.remaining_quantity - wanted.quantity) <= slack
