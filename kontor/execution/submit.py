"""Putting intents into the queue: once each, through the gate, with the client order id fixed from here on."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4
from weakref import WeakKeyDictionary

from kontor.domain.intent import OrderIntent, RiskView
from kontor.domain.market import MarketKind
from kontor.domain.order import FINISHED, Order, OrderState
from kontor.domain.protection import attached_stop, brings_stop
from kontor.domain.risk import admit
from kontor.errors import KontorError, OrderDenied
from kontor.execution.parts import Parts
from kontor.execution.view import fresh_tickers, limits_of, load_markets, load_view
from kontor.resilience.deadline import deadline

log = logging.getLogger(__name__)

S = OrderState
_GATE_TTL = timedelta(seconds=10)
# How long intents wait for others at the gate; exits are looked at again soon, and must not outlast their flow.
_ENTRY_SECONDS, _EXIT_SECONDS = 20.0, 5.0
_POLL_FIRST, _POLL_LONGEST = 0.02, 0.25

# One gate per account and event loop: intents of one process pass it one after the other.
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = WeakKeyDictionary()


async def place(parts: Parts, intent: OrderIntent, *, client_order_id: str, actor: str) -> Order:
    """The order for an intent: INITIALIZED in the queue, or DENIED with the reason.

    An id that is known already returns the stored order unchanged, whatever the intent says now.
    """
    [order] = await place_all(parts, {client_order_id: intent}, actor=actor)
    return order


async def place_all(parts: Parts, intents: Mapping[str, OrderIntent], *, actor: str) -> list[Order]:
    """Several intents by client order id, in order; each is weighed with the ones before it already in the queue."""
    known = {name: order for name in intents if (order := await parts.store.orders.get(name)) is not None}
    new = {name: intent for name, intent in intents.items() if name not in known}
    if new:
        symbols = {intent.symbol for intent in new.values()}
        # Prices are asked for before the gate: nobody else's order waits for the venue's market data.
        markets = await load_markets(parts)
        await fresh_tickers(parts, [symbol for symbol in symbols if symbol in markets], limits_of(parts.config))
        only_reduces = all(intent.reduce_only for intent in new.values())
        async with _gate(parts, _EXIT_SECONDS if only_reduces else _ENTRY_SECONDS):
            reduces = any(intent.reduce_only for intent in new.values())
            view = await load_view(parts, symbols, reduces=reduces, ask=False)
            orders: list[Order] = []
            for name, intent in new.items():
                order = weigh(parts, intent, view, client_order_id=name, actor=actor)
                view = view if order.is_finished else view.with_order(order)
                orders.append(order)
            # Known before the entry is sent: what the venue makes of it is ours from the first moment.
            stops = [attached_stop(order) for order in orders if brings_stop(order) and not order.is_finished]
            stored = await parts.store.orders.enqueue([*orders, *stops], actor)
        for order in stored:
            known[order.client_order_id] = order
            _tell(order)
    return [known[name] for name in intents]


def weigh(parts: Parts, intent: OrderIntent, view: RiskView, *, client_order_id: str, actor: str) -> Order:
    """The order that an intent becomes, not yet stored: INITIALIZED if the gate admits it, else DENIED."""
    denial: OrderDenied | None = None
    try:
        intent = admit(intent, view)
    except OrderDenied as error:
        denial = error
    market = view.markets.get(intent.symbol)
    return Order(
        client_order_id=client_order_id,
        account=parts.account,
        symbol=intent.symbol,
        side=intent.side,
        order_type=intent.order_type,
        quantity=intent.quantity,
        created_at=view.now,
        price=intent.price,
        trigger_price=intent.trigger_price or intent.stop_price,
        time_in_force=intent.time_in_force,
        post_only=intent.post_only,
        # Venues know no such word on spot, where a sale can but close.
        reduce_only=intent.reduce_only and not (market is not None and market.kind is MarketKind.SPOT),
        good_until=intent.good_until or view.now + parts.config.good_for,
        priority=intent.priority,
        strategy=intent.strategy,
        actor=actor,
        state=S.INITIALIZED if denial is None else S.DENIED,
        reason=None if denial is None else f"{denial.rule}: {denial}",
        updated_at=view.now,
    )


async def wait_for_outcome(
    parts: Parts, client_order_id: str, *, seconds: float, states: Collection[OrderState] | None = None
) -> Order:
    """The order once the venue has answered (it has left INITIALIZED and SUBMITTED), or is in one of `states`.

    After `seconds` the order as it is then; no timeout changes what it is. A finished one ends the wait in any case.
    """
    orders = parts.store.orders
    until = parts.clock.monotonic() + seconds
    pause = _POLL_FIRST
    while True:
        order = await orders.get(client_order_id)
        if order is None:
            raise KontorError(f"order {client_order_id} is not in the store; place it first")
        wanted = order.state in states if states is not None else order.state not in {S.INITIALIZED, S.SUBMITTED}
        left = until - parts.clock.monotonic()
        if wanted or order.state in FINISHED or left <= 0:
            return order
        await parts.clock.sleep(min(pause, left))
        pause = min(pause * 1.5, _POLL_LONGEST)


@asynccontextmanager
async def _gate(parts: Parts, seconds: float) -> AsyncGenerator[None]:
    """One at a time: two intents weighed against the same account could together break a limit that each keeps.

    DeadlineExceeded when others hold it longer than `seconds`; nothing is queued then.
    """
    locks = _gates.setdefault(asyncio.get_running_loop(), {})
    lock = locks.setdefault(parts.account, asyncio.Lock())
    waited_from = parts.clock.monotonic()
    async with deadline("waiting for the pre-trade gate", seconds):
        await lock.acquire()
    try:
        if not limits_of(parts.config).need_account:
            yield
            return
        state, name, owner = parts.store.desk, f"gate:{parts.account}", uuid4().hex
        left = max(seconds - (parts.clock.monotonic() - waited_from), _POLL_FIRST)
        async with deadline("waiting for the pre-trade gate", left):
            while (lease := await state.acquire_lease(name, owner, _GATE_TTL, parts.clock.now())) is None:
                await parts.clock.sleep(_POLL_FIRST)
        try:
            yield
        finally:
            await state.release_lease(lease)
    finally:
        lock.release()


def _tell(order: Order) -> None:
    log.info(
        "order %s client_order_id=%s account=%s symbol=%s side=%s type=%s quantity=%s price=%s actor=%s%s",
        order.state.lower(),
        order.client_order_id,
        order.account,
        order.symbol,
        order.side,
        order.order_type,
        order.quantity,
        order.price,
        order.actor,
        f" reason={order.reason!r}" if order.reason else "",
    )
