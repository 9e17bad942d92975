"""Orders on their way in: what the venue says of them, in our states and in base currency."""

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from kontor.domain.market import Market
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side
from kontor.exchange.markets import to_base
from kontor.exchange.numbers import ZERO, moment, positive
from kontor.exchange.replies import read_item
from kontor.exchange.stops import is_stop, order_id, parse_stop, stop_client_id

logger = logging.getLogger(__name__)

# ccxt's words. An order on its way to being canceled is still open.
OPEN_WORDS = frozenset({"open", "canceling", "cancelling", "pending", "new", "live"})
ENDED = {
    "canceled": OrderState.CANCELED,
    "cancelled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "expired_in_match": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "failed": OrderState.REJECTED,
}


def order_state(
    word: str | None, quantity: Decimal, filled: Decimal, *, client_order_id: str | None = None
) -> OrderState:
    """The state a status word and the fills stand for; the fills are believed first.

    An order "closed" short of its quantity (an IOC, for some venues) is canceled: nothing more will come of it.
    """
    if quantity > 0 and filled >= quantity:
        return OrderState.FILLED
    if word == "closed":
        return OrderState.CANCELED if quantity > 0 else OrderState.FILLED
    if word in ENDED:
        state = ENDED[word]
        return OrderState.CANCELED if state is OrderState.REJECTED and filled > 0 else state
    if word is not None and word not in OPEN_WORDS:
        logger.warning("unknown_order_status client_order_id=%s word=%s", client_order_id, word)
    return OrderState.PARTIALLY_FILLED if filled > 0 else OrderState.ACCEPTED


def parse_order(raw: Mapping[str, Any], market: Market, now: datetime) -> OrderReport:
    """A ccxt order that carries its own facts (from a fetch, not from a create); raises KeyError without id or side."""
    if is_stop(raw):
        return parse_stop(raw, market, now)
    filled = to_base(raw.get("filled"), market) or ZERO
    quantity = _quantity(raw, market, filled)
    is_market = raw.get("type") == "market" or (raw.get("type") != "limit" and positive(raw.get("price")) is None)
    if not raw.get("id"):
        raise KeyError("id")
    return OrderReport(
        symbol=market.symbol,
        side=Side(raw["side"]),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        state=order_state(raw.get("status"), quantity, filled, client_order_id=raw.get("clientOrderId")),
        quantity=quantity,
        filled_quantity=filled,
        venue_order_id=order_id(raw),
        at=moment(raw.get("lastUpdateTimestamp")) or moment(raw.get("lastTradeTimestamp")) or now,
        client_order_id=raw.get("clientOrderId") or stop_client_id(raw),
        # ccxt writes the average into the price of market orders.
        price=None if is_market else positive(raw.get("price")),
        average_price=positive(raw.get("average")) if filled > 0 else None,
        reduce_only=raw.get("reduceOnly") is True,
        reason=_reason(raw),
        created_at=moment(raw.get("timestamp")),
    )


def parse_created(raw: Mapping[str, Any], order: Order, market: Market, now: datetime) -> OrderReport:
    """The venue's receipt for an order of ours; what it leaves out (most of it, for many) is taken from the order."""
    known = to_base(raw.get("filled"), market)
    filled = ZERO if known is None else known
    # Without a filled quantity "closed" and "canceled" tell nothing: the order is there, the rest is asked later.
    word = raw.get("status") if known is not None else None
    return OrderReport(
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        state=order_state(word, order.quantity, filled, client_order_id=order.client_order_id),
        quantity=order.quantity,
        filled_quantity=filled,
        venue_order_id=str(raw["id"]),
        at=moment(raw.get("lastUpdateTimestamp")) or now,
        client_order_id=order.client_order_id,
        price=order.price,
        average_price=positive(raw.get("average")) if filled > 0 else None,
        reduce_only=order.reduce_only,
        trigger_price=order.trigger_price,
        created_at=moment(raw.get("timestamp")),
    )


def _quantity(raw: Mapping[str, Any], market: Market, filled: Decimal) -> Decimal:
    quantity = to_base(raw.get("amount"), market)
    if quantity is None:
        # Ordered by cost, by somebody else's hand: its quantity is what it came to.
        quantity = filled + (to_base(raw.get("remaining"), market) or ZERO)
    return quantity


def _reason(raw: Mapping[str, Any]) -> str | None:
    info = raw.get("info")
    if not isinstance(info, Mapping) or raw.get("status") not in ENDED:
        return None
    return str(info.get("cancelSourceReason") or info.get("rejectReason") or read_item(info) or "") or None
