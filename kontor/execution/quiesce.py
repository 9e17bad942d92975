"""The graceful stop of an account's trading: no new orders, open ones canceled and verified at the venue, and told what
could not be done. What fails is reported and keeps nothing else from happening; asked for twice, it does nothing twice.

Only stops stay: a stop limits a loss while nobody looks. A target is an order like any other, reduce-only or not: left
behind, nobody would take it back when the position changes.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from kontor.domain.identity import EXTERNAL
from kontor.domain.order import CANCELABLE, OPEN, Order, OrderReport, OrderState
from kontor.errors import ExchangeError, KontorError, OrderNotFound
from kontor.execution.cancel import request_cancels
from kontor.execution.halt import SHUTDOWN, halt, resume
from kontor.execution.lookup import is_about, look_up
from kontor.execution.parts import Parts
from kontor.execution.submit import wait_for_outcome
from kontor.resilience.deadline import DeadlineExceeded, deadline

log = logging.getLogger(__name__)

ACTOR = SHUTDOWN
# The executor gets this share of the time; what it has not canceled by then is canceled from here.
EXECUTORS_SHARE = 0.5
# The rate budget paces them. Time is given to all together: a venue that answers nobody must not keep the rest of the
# stop from happening.
PARALLEL = 40


@dataclass(slots=True)
class StopReport:
    """What came of it; `problems` are sentences for a person, none when all is well."""

    canceled: int = 0
    # Those that were filled before their cancel came.
    filled: list[str] = field(default_factory=list)
    # Protective stops, which stay.
    kept: list[str] = field(default_factory=list)
    left_open: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def quiesce(parts: Parts, *, cancel_orders: bool, seconds: float) -> StopReport:
    """Refuse new orders; with `cancel_orders` cancel ours that are open, and ask the venue whether they are gone."""
    report = StopReport()
    try:
        await halt(parts.store.desk, parts.account, "the desk is being shut down", actor=ACTOR, at=parts.clock.now())
    except KontorError as error:
        report.problems.append(f"new orders are not refused: {error}")
    if cancel_orders:
        try:
            await _cancel_open_orders(parts, report, seconds)
        except KontorError as error:
            report.problems.append(f"open orders are not canceled: {error}")
    return report


async def end_of_shutdown(parts: Parts) -> bool:
    """Let orders in again after a shutdown, when the account is initialized anew; a halt for other reasons stays."""
    now = parts.clock.now()
    ended = await resume(parts.store.desk, parts.account, actor="initialize", at=now, only_of=ACTOR)
    return ended is not None


async def _cancel_open_orders(parts: Parts, report: StopReport, seconds: float) -> None:
    found = await parts.store.orders.find(parts.account, states=OPEN, limit=10_000)
    ours = [order for order in found if order.strategy != EXTERNAL]
    report.kept = [order.client_order_id for order in ours if order.is_stop]
    wanted = [order.client_order_id for order in ours if not order.is_stop]
    if wanted:
        await request_cancels(parts, actor=ACTOR, client_order_ids=wanted)
        orders = await _wait(parts, wanted, seconds * EXECUTORS_SHARE)
        open_still = [order for order in orders if not order.is_finished]
        if open_still:
            await _cancel_from_here(parts, open_still, report, seconds * (1 - EXECUTORS_SHARE))
        await _verify(parts, wanted, report, seconds)
    await _look_at_stops(parts, report, seconds * EXECUTORS_SHARE)


async def _look_at_stops(parts: Parts, report: StopReport, seconds: float) -> None:
    """A stop protects when the venue has it: one that waits here to be sent, or is on its way, does not yet."""
    kept = await asyncio.gather(*(wait_for_outcome(parts, name, seconds=seconds) for name in report.kept))
    report.problems += [
        f"stop {order.client_order_id} on {order.symbol} is {order.state}, so its position may have none at the venue"
        for order in kept
        if not order.is_finished and order.state not in CANCELABLE
    ]


async def _wait(parts: Parts, names: Sequence[str], seconds: float) -> list[Order]:
    return list(await asyncio.gather(*(wait_for_outcome(parts, name, seconds=seconds, states=()) for name in names)))


async def _cancel_from_here(parts: Parts, orders: Sequence[Order], report: StopReport, seconds: float) -> None:
    """No executor has done it: ask the venue ourselves. What becomes of the orders is recorded by tracking."""
    slots = asyncio.Semaphore(PARALLEL)

    async def cancel(order: Order) -> None:
        try:
            async with deadline("cancel at shutdown", seconds), slots:
                if order.venue_order_id is not None:
                    await parts.exchange.cancel_order(order.symbol, venue_order_id=order.venue_order_id)
                else:
                    await parts.exchange.cancel_order(order.symbol, client_order_id=order.client_order_id)
        except OrderNotFound:
            # Not open there, or not there yet: what it is comes out below.
            return
        except (ExchangeError, DeadlineExceeded) as error:
            report.problems.append(f"order {order.client_order_id} on {order.symbol}: its cancel failed: {error}")

    async with asyncio.TaskGroup() as tasks:
        for order in orders:
            tasks.create_task(cancel(order))


async def _verify(parts: Parts, names: Sequence[str], report: StopReport, seconds: float) -> None:
    """The venue's own list decides what is open, and its own word what became of the others."""
    orders = [order for order in [await parts.store.orders.get(name) for name in names] if order is not None]
    try:
        async with deadline("open orders at shutdown", seconds):
            open_now = await parts.exchange.fetch_open_orders()
    except (ExchangeError, DeadlineExceeded) as error:
        report.problems.append(f"it could not be verified that {len(orders)} orders are gone: {error}")
        open_now: Sequence[OrderReport] = []
    slots = asyncio.Semaphore(PARALLEL)

    async def see(order: Order) -> None:
        name, state = order.client_order_id, OrderState.ACCEPTED
        if not any(is_about(order, each.client_order_id, each.venue_order_id) for each in open_now):
            state = await _state_of(parts, order, report, seconds, slots)
        if state is OrderState.CANCELED:
            report.canceled += 1
        elif state is OrderState.FILLED:
            report.filled.append(name)
        elif state in OPEN:
            report.left_open[name] = order.symbol
            report.problems.append(f"order {name} on {order.symbol} is still open at the venue")

    async with asyncio.TaskGroup() as tasks:
        for order in orders:
            tasks.create_task(see(order))


async def _state_of(
    parts: Parts, order: Order, report: StopReport, seconds: float, slots: asyncio.Semaphore
) -> OrderState | None:
    """What the order ended as; None where nobody can say, which is a problem where its request may still arrive."""
    if order.is_finished:
        return order.state
    try:
        async with deadline("look up order at shutdown", seconds), slots:
            return (await look_up(parts.exchange, order)).state
    except OrderNotFound:
        if order.state in CANCELABLE:
            # It was there, and rests no more: tracking finds out whether it was filled.
            return None
        problem = "the venue does not know it, but its request may still arrive; look at the venue"
    except (ExchangeError, DeadlineExceeded) as error:
        problem = f"what became of it is not known: {error}"
    report.problems.append(f"order {order.client_order_id} on {order.symbol}: {problem}")
    return None
