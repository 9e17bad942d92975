"""Orders held for a person: the venue cannot tell what became of them, so somebody has to look and decide."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from kontor.domain.order import Order, OrderReport, OrderState, advance, apply_report
from kontor.errors import OrderError
from kontor.execution.collect import collect_fills
from kontor.execution.journal import Journal
from kontor.execution.parts import Parts
from kontor.ports import DeskState

log = logging.getLogger(__name__)

S = OrderState
HELD_ORDERS = "held_orders"


class Verdict(StrEnum):
    """What a person has found out about an order of unknown outcome."""

    # The venue never had it, and it is no longer wanted.
    ABSENT = "absent"
    # The venue never had it: send it, unless its time is over.
    RESEND = "resend"
    # The venue has it, under the venue order id given along.
    PLACED = "placed"


async def resolve_order(
    parts: Parts, client_order_id: str, verdict: Verdict, *, actor: str, venue_order_id: str | None = None
) -> Order:
    """The order after a person's verdict on it; raises OrderError when it is not of unknown outcome, or too young."""
    order = await parts.store.orders.get(client_order_id)
    if order is None:
        raise OrderError(f"order {client_order_id} is not in the store; check the id")
    if order.state is not S.SUBMITTED or order.unknown_since is None:
        raise OrderError(f"order {client_order_id} is {order.state}: there is nothing unknown about it")
    journal = Journal(parts.store.orders, parts.clock, actor)
    if verdict is Verdict.PLACED:
        resolved = await _placed(parts, journal, order, venue_order_id)
    else:
        _check_age(parts, order)
        at = parts.clock.now()
        resolved = await journal.change(
            order, lambda stored: _absent(stored, verdict, at), f"resolved by {actor}: {verdict}"
        )
    await unhold(parts.store.desk, parts.account, client_order_id, parts.clock.now())
    log.warning("order resolved client_order_id=%s verdict=%s actor=%s", client_order_id, verdict, actor)
    return resolved


async def hold(state: DeskState, account: str, client_order_id: str, why: Mapping[str, str], at: datetime) -> None:
    """Put an order on the list of those that wait for a person."""
    await state.update_attribute(account, HELD_ORDERS, lambda held: {**_waiting(held), client_order_id: dict(why)}, at)


async def unhold(state: DeskState, account: str, client_order_id: str, at: datetime) -> None:
    """Take an order off the list of those that wait for a person."""
    held = await state.attribute(account, HELD_ORDERS)
    if held is None or not held.value or _waiting(held.value, client_order_id) == held.value:
        return
    await state.update_attribute(account, HELD_ORDERS, lambda value: _waiting(value, client_order_id), at)


def _waiting(held: Mapping[str, Any] | None, but: str | None = None) -> dict[str, Any]:
    # Earlier versions left a null for every order that had ever been held.
    return {name: why for name, why in (held or {}).items() if why and name != but}


async def _placed(parts: Parts, journal: Journal, order: Order, venue_order_id: str | None) -> Order:
    if not venue_order_id:
        raise OrderError(f"order {order.client_order_id}: name the venue order id it was placed under")
    report: OrderReport = await parts.exchange.fetch_order(order.symbol, venue_order_id=venue_order_id)
    if (report.side, report.order_type) != (order.side, order.order_type):
        raise OrderError(
            f"order {order.client_order_id} is a {order.order_type} {order.side}, {venue_order_id} at the venue is a "
            f"{report.order_type} {report.side}: that is another order"
        )
    order = await journal.change(order, lambda stored: apply_report(stored, report), "placed, says a person")
    return await collect_fills(journal, parts.exchange, order) if order.filled_quantity > 0 else order


def _check_age(parts: Parts, order: Order) -> None:
    settings = parts.config.orders
    patience = timedelta(seconds=settings.lease_seconds + settings.request_timeout_seconds)
    if order.submitted_at is not None and parts.clock.now() < order.submitted_at + patience:
        raise OrderError(
            f"order {order.client_order_id} was sent less than {patience.total_seconds():.0f} s ago and may still "
            f"arrive; decide after that"
        )


def _absent(order: Order, verdict: Verdict, at: datetime) -> Order:
    if order.state is not S.SUBMITTED:
        return order
    cleared = replace(order, unknown_since=None, submitted_at=None)
    if verdict is Verdict.ABSENT:
        return advance(cleared, S.CANCELED, at, reason="it never reached the venue, a person has found")
    if order.good_until is not None and order.good_until <= at:
        return advance(cleared, S.EXPIRED, at, reason="it never reached the venue, and its time is over")
    return advance(cleared, S.INITIALIZED, at)
