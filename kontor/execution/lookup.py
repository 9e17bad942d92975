"""Asking the venue what became of an order, in every way it offers."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kontor.domain.fill import Fill, total_of
from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Order, OrderReport, OrderState
from kontor.errors import NotSupported, OrderNotFound
from kontor.ports import Exchange

GONE = "the venue no longer knows it; closed with the fills it reported"
# The venue's clock and ours may differ by this much.
CLOCK_SLACK = timedelta(seconds=30)


def can_look_up(exchange: Exchange, order: Order) -> bool:
    """Whether the venue can be asked about this one order."""
    return order.venue_order_id is not None or exchange.profile.lookup_by_client_order_id


async def look_up(exchange: Exchange, order: Order) -> OrderReport:
    """What the venue says of the order; raises OrderNotFound when it says it has none."""
    if order.is_stop:
        return await _look_up_stop(exchange, order)
    if order.venue_order_id is not None:
        return await exchange.fetch_order(order.symbol, venue_order_id=order.venue_order_id)
    if exchange.profile.lookup_by_client_order_id:
        return await exchange.fetch_order(order.symbol, client_order_id=order.client_order_id)
    found = await search(exchange, order)
    if found is None:
        raise OrderNotFound(f"order {order.client_order_id} is in no list of {exchange.profile.exchange_id}")
    return found


async def _look_up_stop(exchange: Exchange, order: Order) -> OrderReport:
    """By our id, which stays when it triggers; one that somebody else placed has only the venue's."""
    if order.strategy != EXTERNAL:
        return await exchange.fetch_order(order.symbol, client_order_id=order.client_order_id, stop=True)
    try:
        return await exchange.fetch_order(order.symbol, venue_order_id=order.venue_order_id, stop=True)
    except OrderNotFound:
        # It has triggered, and what we know it by is the order that it became.
        return await exchange.fetch_order(order.symbol, venue_order_id=order.venue_order_id)


async def search(exchange: Exchange, order: Order, *, was_waited_for: bool = False) -> OrderReport | None:
    """The order from the lists the venue keeps: open orders, closed ones, fills since it was submitted.

    Any error of the venue passes through: a list that could not be read proves nothing. An order that a list shows and
    that cannot be fetched raises OrderNotFound. Once it `was_waited_for` through the venue's absence grace and has
    fills, it is over with those: it was placed, and rests no more. Without any, what was filled of it stays unknown.
    """
    for report in await exchange.fetch_open_orders(order.symbol):
        if is_about(order, report.client_order_id, report.venue_order_id):
            return report
    if order.is_stop:
        # Its own lookup knows those that are over as well; what it became would show among the fills.
        venue_order_id = await _in_fills(exchange, order)
        return None if venue_order_id is None else await _look_up_stop(exchange, order)
    venue_order_id = await _in_closed_orders(exchange, order) or await _in_fills(exchange, order)
    if venue_order_id is None:
        return None
    try:
        return await exchange.fetch_order(order.symbol, venue_order_id=venue_order_id)
    except OrderNotFound:
        if not was_waited_for:
            raise
        fills = await exchange.fetch_fills(order.symbol, venue_order_id=venue_order_id)
        if not fills:
            raise
    return _over(order, venue_order_id, fills)


def is_about(order: Order, client_order_id: str | None, venue_order_id: str | None) -> bool:
    """Whether what the venue names so is this order."""
    if order.venue_order_id is not None and venue_order_id is not None:
        return order.venue_order_id == venue_order_id
    return client_order_id == order.client_order_id


async def fills_of(exchange: Exchange, order: Order) -> Sequence[Fill]:
    """The fills of an order, as many as the venue still has."""
    if order.venue_order_id is not None:
        return await exchange.fetch_fills(order.symbol, venue_order_id=order.venue_order_id)
    fills = await exchange.fetch_fills(order.symbol, since=_since(order))
    return [fill for fill in fills if fill.client_order_id == order.client_order_id]


async def _in_closed_orders(exchange: Exchange, order: Order) -> str | None:
    if not exchange.profile.capabilities.get("fetchClosedOrders"):
        return None
    since = int(_since(order).timestamp() * 1000)
    try:
        closed: Sequence[Mapping[str, Any]] = await exchange.call("fetch_closed_orders", order.symbol, since)
    except NotSupported:
        return None
    for raw in closed:
        if is_about(order, raw.get("clientOrderId"), raw.get("id")):
            return str(raw["id"])
    return None


async def _in_fills(exchange: Exchange, order: Order) -> str | None:
    fills = await exchange.fetch_fills(order.symbol, since=_since(order))
    return next((f.venue_order_id for f in fills if is_about(order, f.client_order_id, f.venue_order_id)), None)


def _over(order: Order, venue_order_id: str, fills: Sequence[Fill]) -> OrderReport:
    """What the fills of an order say of it that the venue itself has forgotten."""
    quantity, price = total_of(fills)
    is_filled = quantity >= order.quantity
    return OrderReport(
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        state=OrderState.FILLED if is_filled else OrderState.CANCELED,
        quantity=order.quantity,
        filled_quantity=quantity,
        venue_order_id=venue_order_id,
        at=max((fill.filled_at for fill in fills), default=order.submitted_at or order.created_at),
        client_order_id=order.client_order_id,
        price=order.price,
        average_price=price or None,
        reason=None if is_filled else GONE,
    )


def _since(order: Order) -> datetime:
    return (order.submitted_at or order.created_at) - CLOCK_SLACK
