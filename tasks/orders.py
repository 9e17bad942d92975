"""Steps of an order's way: queue it, wait for it, cancel, close, track, reconcile."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import Order, OrderState, OrderType, TimeInForce
from kontor.errors import OrderRefused
from kontor.execution import cancel as canceling
from kontor.execution import closing, holding, submit
from kontor.execution import halt as halting
from kontor.execution import reconcile as reconciling
from kontor.execution import track as tracking
from kontor.execution.view import load_markets
from kontor.trading import ledger, monitor, setup
from kontor.trading.positions import holders


@task(cache_policy=NO_CACHE)
async def place(desk: Desk, intent: OrderIntent, run: str, actor: str, wanted_at: datetime | None = None) -> Order:
    """Queue an intent under the id that derives from its run; a run that has an order already gets that one.

    The gate denies an intent that was wanted longer ago than an order is good for; None stands for now.
    """
    if wanted_at is not None:
        intent = replace(intent, good_until=intent.good_until or wanted_at + desk.config.good_for)
    prefix = await desk.store.desk.desk_prefix()
    return await submit.place(desk, intent, client_order_id=client_order_id(prefix, run), actor=actor)


@task(cache_policy=NO_CACHE)
async def wait_for_order(desk: Desk, order: Order, seconds: float) -> Order:
    """The order once the venue has answered; one that cannot rest, once it is finished; or as it is after `seconds`."""
    rests = order.order_type is OrderType.LIMIT and order.time_in_force is TimeInForce.GTC
    states = None if rests else ()
    return await submit.wait_for_outcome(desk, order.client_order_id, seconds=seconds, states=states)


def raise_if_refused(order: Order | None) -> None:
    """Raise OrderRefused with the reason when an order came to nothing, so that its run fails with that sentence."""
    if order is None or order.filled_quantity:
        return
    if order.state in {OrderState.DENIED, OrderState.REJECTED, OrderState.EXPIRED}:
        raise OrderRefused(f"order {order.client_order_id} is {order.state}: {order.reason}")


@task(cache_policy=NO_CACHE)
async def show_order(desk: Desk, order: Order) -> dict[str, Any]:
    """The order's figures, also as an artifact of the run."""
    figures = describe(order)
    fills = await desk.store.orders.fills(desk.account, client_order_id=order.client_order_id)
    rows = "\n".join(f"| {name} | {figure} |" for name, figure in figures.items() if figure is not None)
    trades = "".join(f"\n- {fill.quantity} at {fill.price}, trade {fill.trade_id}" for fill in fills)
    await acreate_markdown_artifact(
        key=f"order-{order.client_order_id}",
        markdown=f"| | |\n|---|---|\n{rows}\n\n{len(fills)} fills{trades}\n",
        description=f"{order.side} {order.quantity} {order.symbol}",
    )
    return figures


@task(cache_policy=NO_CACHE)
async def cancel(
    desk: Desk,
    symbol: str | None,
    client_order_ids: Sequence[str] | None,
    actor: str,
    seconds: float,
    *,
    with_stops: bool = False,
) -> dict[str, Any]:
    """Ask for cancels and wait for each to be true at the venue; returns the state of every order, by id."""
    asked = await canceling.request_cancels(
        desk, actor=actor, client_order_ids=client_order_ids, symbol=symbol, with_stops=with_stops
    )
    orders = await asyncio.gather(*(_until_finished(desk, order, seconds) for order in asked))
    return {
        "canceled": sum(order.state is OrderState.CANCELED for order in orders),
        "not_finished": [order.client_order_id for order in orders if not order.is_finished],
        "orders": {order.client_order_id: str(order.state) for order in orders},
    }


@task(cache_policy=NO_CACHE)
async def close(desk: Desk, symbol: str, run: str, actor: str, seconds: float) -> tuple[dict[str, Any], Order | None]:
    """Close what the venue says is open on a symbol; what was sent and what is too small to trade, and the order.

    What rests to close it is canceled before. What strategies hold there is closed with it, and counted as theirs.
    """
    shared = (await holders(desk, await load_markets(desk))).shared
    held = {name: each.quantity for (name, where), each in shared.positions.items() if where == symbol and each.is_open}
    prefix = await desk.store.desk.desk_prefix()
    result = await closing.close_position(desk, symbol, client_order_id=client_order_id(prefix, run), actor=actor)
    order = result.order
    if order is not None:
        order = await _until_finished(desk, order, seconds)
    figures = {
        "said": result.sentence,
        "residue": str(result.residue),
        "canceled": list(result.canceled),
        "strategies_held": {name: f"{quantity:+f}" for name, quantity in held.items()} if order is not None else {},
        "order": describe(order) if order else None,
    }
    return figures, order


@task(cache_policy=NO_CACHE)
async def change_leverage(desk: Desk, symbol: str, leverage: Decimal) -> dict[str, Any]:
    """Set the leverage of a swap, and look at the account's set-up again: it may fit now."""
    before, now = await setup.set_leverage(desk, symbol, leverage)
    report = await setup.check_setup(desk, desk.notifier)
    return {
        "symbol": symbol,
        "leverage_was": None if before is None else f"{before:f}",
        "leverage": f"{now:f}",
        "changed": before != now,
        "set_up_problems": list(report.problems),
    }


@task(cache_policy=NO_CACHE)
async def check_setup(desk: Desk) -> dict[str, Any]:
    """Hold the account's set-up at the venue against what the desk needs; a mismatch refuses new risk."""
    return asdict(await setup.check_setup(desk, desk.notifier))


@task(cache_policy=NO_CACHE)
async def show_done(what: str, account: str, figures: Mapping[str, Any]) -> None:
    """What a run by hand did, as a page in the UI; each run adds a version to it."""
    rows = "\n".join(
        f"| {name} | {_cell(figure)} |" for name, figure in figures.items() if figure not in (None, [], {})
    )
    await acreate_markdown_artifact(
        key=f"{what}-{account}".replace("_", "-").lower(),
        markdown=f"| | |\n|---|---|\n{rows}\n",
        description=f"{what} on {account}",
    )


def _cell(figure: Any) -> str:
    if isinstance(figure, Mapping):
        return "<br>".join(f"{name}: {value}" for name, value in figure.items() if value is not None)
    return "<br>".join(map(str, figure)) if isinstance(figure, list | tuple) else str(figure)


@task(cache_policy=NO_CACHE)
async def track(desk: Desk) -> dict[str, Any]:
    """Bring live orders that left the venue's open orders up to date, with their fills."""
    return asdict(await tracking.track(desk))


@task(cache_policy=NO_CACHE)
async def reconcile(desk: Desk) -> dict[str, Any]:
    """Hold our orders, fills, positions and balance against the venue's, and believe the venue."""
    return asdict(await reconciling.reconcile(desk, notifier=desk.notifier))


@task(cache_policy=NO_CACHE)
async def book_ledger(desk: Desk) -> dict[str, Any]:
    """Book new fills, funding and transfers as rows of the ledger, each once."""
    return asdict(await ledger.book_ledger(desk))


@task(cache_policy=NO_CACHE)
async def halt(desk: Desk, reason: str, actor: str, *, cancel_orders: bool = True) -> dict[str, Any]:
    """Stop taking new risk until a person resumes it, also what rests at the venue if it is to be canceled."""
    state, now = desk.store.desk, desk.clock.now()
    found = await halting.halt(state, desk.account, reason, actor=actor, at=now, cancels=cancel_orders)
    asked = await monitor.cancel_while_halted(desk)
    return {"halted": True, "reason": found.reason, "since": found.at.isoformat(), "cancels_asked": asked}


@task(cache_policy=NO_CACHE)
async def resume(desk: Desk, actor: str) -> dict[str, Any]:
    """Trade again; says what had been the reason of the halt."""
    ended = await halting.resume(desk.store.desk, desk.account, actor=actor, at=desk.clock.now())
    if ended is not None:
        # Who resumes has seen the loss: drawdown and the day's loss count from here, or the next look would halt again.
        await monitor.start_anew(desk.store.desk, desk.account, desk.clock.now())
    return {"halted": False, "reason_was": ended.reason if ended else None}


@task(cache_policy=NO_CACHE)
async def resolve(desk: Desk, name: str, verdict: str, venue_order_id: str | None, actor: str) -> dict[str, Any]:
    """Carry out a person's verdict on an order of unknown outcome."""
    order = await holding.resolve_order(
        desk, name, holding.Verdict(verdict), actor=actor, venue_order_id=venue_order_id
    )
    return describe(order)


def describe(order: Order) -> dict[str, Any]:
    """An order's figures as text, exact."""
    return {
        "client_order_id": order.client_order_id,
        "state": str(order.state),
        "symbol": order.symbol,
        "side": str(order.side),
        "quantity": f"{order.quantity:f}",
        "price": f"{order.price:f}" if order.price is not None else None,
        "filled_quantity": f"{order.filled_quantity:f}",
        "average_price": f"{order.average_price:f}" if order.average_price is not None else None,
        "venue_order_id": order.venue_order_id,
        "reason": order.reason,
    }


async def _until_finished(desk: Desk, order: Order, seconds: float) -> Order:
    return await submit.wait_for_outcome(desk, order.client_order_id, seconds=seconds, states=())
