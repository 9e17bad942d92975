"""What a person does by hand: place, cancel, close, set leverage, halt, resume, resolve; the UI makes forms of it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field, WithJsonSchema

from flows.shell import run_named_flow
from kontor.domain.intent import OrderIntent
from kontor.domain.order import OrderType, Side, TimeInForce
from tasks.desk import by_hand, open_desk
from tasks.hooks import alert
from tasks.orders import (
    cancel,
    change_leverage,
    close,
    halt,
    place,
    raise_if_refused,
    resolve,
    resume,
    show_done,
    show_order,
    wait_for_order,
)

# A plain number field in the form; pydantic keeps every digit that was typed.
Quantity = Annotated[
    Decimal,
    Field(gt=0, description="In base currency: 0.1 on BTC/USD:USD is 0.1 BTC, whatever the contract size."),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
Price = Annotated[Decimal, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Leverage = Annotated[Decimal, Field(ge=1, le=125), WithJsonSchema({"type": "number", "minimum": 1, "maximum": 125})]
Seconds = Annotated[float, Field(ge=0, le=300)]


@flow(name="place-order", timeout_seconds=330, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def place_order(
    symbol: str,
    side: Literal["buy", "sell"],
    quantity: Quantity,
    order_type: Literal["limit", "market"] = "limit",
    price: Price | None = None,
    time_in_force: Literal["GTC", "IOC", "FOK"] = "GTC",
    post_only: bool = False,
    reduce_only: bool = False,
    account: str = "paper",
    wait_seconds: Seconds = 15,
) -> dict[str, Any]:
    """Queue one order and wait for the venue's answer.

    The client order id derives from this flow run: retrying the run, by hand or otherwise, finds the order it already
    made and sends nothing. An order that the gate denies or the venue rejects fails the run with the reason. So does
    one that waited for a worker longer than `orders.good_for_seconds`: its price is that of another moment.

    Args:
        symbol: A unified ccxt symbol, such as BTC/USD (spot) or BTC/USD:USD (swap).
        side: buy or sell.
        quantity: In base currency, also on swaps.
        order_type: A limit order needs a price, a market order takes none.
        price: In quote currency, limit orders only.
        time_in_force: GTC rests, IOC fills what it can at once, FOK all or nothing.
        post_only: Refuse to take: the order only rests.
        reduce_only: Only make a position smaller.
        account: The ExchangeAccount block to trade on.
        wait_seconds: How long to wait for the venue; the order goes on without the run.

    """
    intent = OrderIntent(
        symbol=symbol,
        side=Side(side),
        order_type=OrderType(order_type),
        quantity=quantity,
        price=price,
        time_in_force=TimeInForce(time_in_force),
        post_only=post_only,
        reduce_only=reduce_only,
    )
    async with open_desk(account) as desk:
        order = await place(desk, intent, run_id(), actor(), wanted_at())
        order = await wait_for_order(desk, order, wait_seconds)
        figures = await show_order(desk, order)
        # watch-desk tells what became of the order.
        raise_if_refused(order)
    return figures


@flow(name="cancel-orders", timeout_seconds=120, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def cancel_orders(
    symbol: str | None = None,
    client_order_ids: list[str] | None = None,
    account: str = "paper",
    wait_seconds: Seconds = 15,
    with_stops: bool = False,
) -> dict[str, Any]:
    """Cancel the orders named, or all of a symbol, or, with neither, all of the account; safe to repeat.

    An order never sent is canceled at once; a live one is canceled at the venue and verified there.

    Args:
        symbol: Only orders of this symbol.
        client_order_ids: Only these orders.
        account: The ExchangeAccount block to cancel on.
        wait_seconds: How long to wait for the venue.
        with_stops: Protective stops too, which stand otherwise unless named: the desk places them anew while it runs.

    """
    async with open_desk(account) as desk:
        done = await cancel(desk, symbol, client_order_ids, actor(), wait_seconds, with_stops=with_stops)
        await show_done("cancel-orders", account, done)
        return done


@flow(name="close-position", timeout_seconds=330, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def close_position(symbol: str, account: str = "paper", wait_seconds: Seconds = 15) -> dict[str, Any]:
    """Close what the venue says is open on a symbol with a reduce-only market order.

    Orders that rest to close it are canceled before, stops stand until it is flat.

    A residue below the venue's minimum cannot be traded; it is reported.
    """
    async with open_desk(account) as desk:
        said, order = await close(desk, symbol, run_id(), actor(), wait_seconds)
        await show_done("close-position", account, said)
        raise_if_refused(order)
    return said


@flow(name="set-leverage", timeout_seconds=60, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def set_leverage(symbol: str, leverage: Leverage, account: str = "paper") -> dict[str, Any]:
    """Set the leverage of a swap at the venue, and see that it is so. Safe to repeat.

    Args:
        symbol: A swap, such as BTC/USD:USD.
        leverage: How many times the margin the position may be worth.
        account: The ExchangeAccount block to set it for.

    """
    async with open_desk(account) as desk:
        done = await change_leverage(desk, symbol, leverage)
        await show_done("set-leverage", account, done)
        return done


@flow(name="halt-trading", timeout_seconds=60, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def halt_trading(
    reason: str = "halted by hand", account: str = "paper", cancel_orders: bool = True
) -> dict[str, Any]:
    """Refuse new risk until a person resumes it: only reduce-only orders and cancels go out. Safe to repeat.

    Args:
        reason: What is told to people, and with every order that is refused.
        account: The ExchangeAccount block to halt.
        cancel_orders: Cancel open orders that could still take risk, for as long as the halt lasts; stops, reduce-only
            orders and sales on spot stay. The executor does it, and monitor-risk asks again.

    """
    async with open_desk(account, gated=False, with_exchange=False) as desk:
        done = await halt(desk, reason, actor(), cancel_orders=cancel_orders)
        await show_done("halt-trading", account, done)
        return done


@flow(name="resume-trading", timeout_seconds=60, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def resume_trading(account: str = "paper") -> dict[str, Any]:
    """End a halt, whoever or whatever called it. Safe to repeat."""
    async with open_desk(account, gated=False, with_exchange=False) as desk:
        done = await resume(desk, actor())
        await show_done("resume-trading", account, done)
        return done


@flow(name="resolve-order", timeout_seconds=60, on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
@by_hand
async def resolve_order(
    client_order_id: str,
    verdict: Literal["absent", "resend", "placed"],
    venue_order_id: str | None = None,
    account: str = "paper",
) -> dict[str, Any]:
    """Decide an order whose outcome the venue cannot tell, after a look at the venue's own page.

    absent: it never got there and is no longer wanted. resend: it never got there, send it unless its time is over.
    placed: it is there, under the venue order id given.
    """
    async with open_desk(account, gated=False) as desk:
        return await resolve(desk, client_order_id, verdict, venue_order_id, actor())


def run_id() -> str:
    """This flow run's id, which stays the same when the run is retried."""
    return str(flow_run.id)


def wanted_at() -> datetime:
    """When this flow run was due, which is what its order's time counts from, however late a worker takes it."""
    return datetime.fromtimestamp(flow_run.scheduled_start_time.timestamp(), UTC)  # Prefect's is a type of its own


def actor() -> str:
    """Who wants it, for the order's history."""
    return f"flow run {flow_run.name}"


if __name__ == "__main__":
    run_named_flow(globals())
