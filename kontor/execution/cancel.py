"""Asking for cancels: durable wishes that the executor carries out."""

import logging
from collections.abc import Collection, Sequence

from kontor.domain.identity import EXTERNAL
from kontor.domain.ledger import Pair
from kontor.domain.order import OPEN, Order, Side
from kontor.errors import OrderError
from kontor.execution.parts import Parts

log = logging.getLogger(__name__)


async def request_cancels(
    parts: Parts,
    *,
    actor: str,
    client_order_ids: Collection[str] | None = None,
    symbol: str | None = None,
    with_stops: bool = False,
) -> Sequence[Order]:
    """Ask for cancels of the named orders, or of all of ours that are open, on `symbol` or everywhere.

    One not yet sent is CANCELED at once; a live one is when the venue says so: wait for it with `wait_for_outcome`.
    Orders that somebody else placed at the venue are canceled only by name, and protective stops only so or when they
    are asked for: a position would stand naked until they are placed anew. Asking twice changes nothing.
    """
    if client_order_ids is None:
        open_orders = await parts.store.orders.find(parts.account, states=OPEN, symbol=symbol, limit=10_000)
        client_order_ids = [
            order.client_order_id
            for order in open_orders
            if order.strategy != EXTERNAL and (with_stops or not order.is_stop)
        ]
    for name in client_order_ids:
        order = await parts.store.orders.get(name)
        if order is None or order.account != parts.account:
            raise OrderError(f"order {name} is not an order of account {parts.account}; check the id")
    asked = await parts.store.orders.request_cancel(list(client_order_ids), actor=actor, at=parts.clock.now())
    for order in asked:
        log.info("cancel requested client_order_id=%s state=%s actor=%s", order.client_order_id, order.state, actor)
    return asked


async def cancel_entries(parts: Parts, *, actor: str) -> Sequence[Order]:
    """Ask for cancels of everything of ours, resting or unsent, that could still take risk; those newly asked for.

    What can only make a position smaller stays: stops, reduce-only orders, sales on spot. Needs no answer of the venue.
    """
    found = await parts.store.orders.find(parts.account, states=OPEN, limit=10_000)
    names = [
        order.client_order_id
        for order in found
        if order.strategy != EXTERNAL and order.cancel_requested_at is None and not _only_closes(order)
    ]
    return await request_cancels(parts, actor=actor, client_order_ids=names) if names else ()


def _only_closes(order: Order) -> bool:
    # By the symbol's own form: nobody can be short on spot, also while the venue's markets are not to be had.
    is_spot = Pair.of(order.symbol).settle is None
    return order.is_stop or order.reduce_only or (is_spot and order.side is Side.SELL)
