"""Bringing one order up to date from the venue: its report, then the fills it is short of."""

import logging
from dataclasses import replace
from datetime import datetime

from kontor.domain.fill import total_of
from kontor.domain.order import Order, OrderReport, OrderState, advance, apply_report
from kontor.errors import OrderNotFound
from kontor.execution.journal import Journal
from kontor.execution.lookup import GONE, fills_of, look_up, search
from kontor.ports import Clock, Exchange

log = logging.getLogger(__name__)

S = OrderState


async def refresh(journal: Journal, exchange: Exchange, order: Order) -> Order:
    """The order after asking the venue for it once, its fills booked; errors of the venue pass through."""
    report = await look_up(exchange, order)
    return await apply(journal, exchange, order, report)


async def apply(journal: Journal, exchange: Exchange, order: Order, report: OrderReport) -> Order:
    """The order after a report, with the fills fetched that it is short of."""
    order = await journal.change(order, lambda stored: apply_report(stored, report))
    if order.filled_quantity > 0:
        order = await collect_fills(journal, exchange, order)
    return order


async def collect_fills(journal: Journal, exchange: Exchange, order: Order) -> Order:
    """The order with its fills saved by trade id and its filled quantity derived from them."""
    if await is_short_of_fills(journal, order):
        fills = await fills_of(exchange, order)
        named = [replace(fill, client_order_id=order.client_order_id) for fill in fills]
        if named:
            await journal.orders.save_fills(order.account, named)
    return await journal.book_fills(order)


async def is_short_of_fills(journal: Journal, order: Order) -> bool:
    """Whether the recorded fills sum to less than what is known to be filled."""
    quantity, _ = total_of(await journal.fills_of(order))
    return quantity < order.filled_quantity


async def refresh_or_close(journal: Journal, exchange: Exchange, clock: Clock, order: Order) -> Order:
    """Like `refresh`; an accepted order that the venue knows in no way any more is closed, but not at once.

    The first "not found" only marks the order. It is closed when the venue has kept saying so for its absence grace,
    and neither open orders, closed orders nor fills know of anything more.
    """
    try:
        return await refresh(journal, exchange, order)
    except OrderNotFound:
        now = clock.now()
    if order.unknown_since is None:
        return await journal.change(order, lambda stored: _unknown(stored, now), "the venue does not know it")
    if now - order.unknown_since < exchange.profile.absence_grace:
        return order
    try:
        found = await search(exchange, order, was_waited_for=True)
    except OrderNotFound:
        # Among the closed ones, yet neither it nor a fill of it can be had: no proof of how much was filled.
        return order
    if found is not None:
        return await apply(journal, exchange, order, found)
    order = await collect_fills(journal, exchange, order)
    return await journal.change(order, lambda stored: _gone(stored, now))


def _unknown(order: Order, at: datetime) -> Order:
    if order.state not in {S.ACCEPTED, S.PARTIALLY_FILLED} or order.unknown_since is not None:
        return order
    return replace(order, unknown_since=at, updated_at=at)


def _gone(order: Order, at: datetime) -> Order:
    if order.state not in {S.ACCEPTED, S.PARTIALLY_FILLED} or order.unknown_since is None:
        return order
    return advance(order, S.CANCELED, at, reason=GONE, unknown_since=None)
