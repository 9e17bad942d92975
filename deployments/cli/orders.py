"""`kontor orders`: the orders of an account, and the history of one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cyclopts import App
from rich.console import Console
from rich.table import Table

from deployments.home import Home
from kontor.errors import KontorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kontor.domain.fill import Fill
    from kontor.domain.order import Order, OrderEvent
    from kontor.ports import Store

T = TypeVar("T")

UNCUT = 1000

app = App(name="orders", help="The orders of an account, and what became of each.")


@app.default
def list_orders(*, account: str = "paper", limit: int = 20) -> None:
    """List the newest orders.

    Parameters
    ----------
    account
        The account they belong to.
    limit
        How many to list.

    """
    orders = _with_store(lambda store: store.orders.find(account, limit=limit))
    if not orders:
        Console().print(f"{account} has no orders yet")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    # What a program reads is not cut to the width of a terminal it does not have.
    console = Console(width=None if sys.stdout.isatty() else UNCUT)
    for title in ("client order id", "symbol", "side", "type", "quantity", "filled", "price", "state", "made at (UTC)"):
        table.add_column(title, no_wrap=title != "client order id", overflow="fold")
    for order in orders:
        price = order.average_price or order.price
        table.add_row(
            order.client_order_id,
            order.symbol,
            order.side.value,
            order.order_type.value,
            str(order.quantity),
            str(order.filled_quantity),
            "-" if price is None else str(price),
            order.state.value,
            f"{order.created_at:%Y-%m-%d %H:%M:%S}",
        )
    console.print(table)


@app.command
def show(client_order_id: str) -> None:
    """Show one order: every change of its state, who made it, and its fills.

    Parameters
    ----------
    client_order_id
        The order's id, as `kontor orders` lists it.

    """
    order, events, fills = _with_store(lambda store: _history(store, client_order_id))
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(
        f"{order.client_order_id}: {order.side.value} {order.quantity} {order.symbol} ({order.order_type.value}), "
        f"{order.state.value}, {order.filled_quantity} filled{f', {order.reason}' if order.reason else ''}"
    )
    for event in events:
        change = f"{event.old_state.value} -> {event.new_state.value}" if event.old_state else event.new_state.value
        console.print(
            f"{event.at:%Y-%m-%d %H:%M:%S.%f}  {change}  by {event.actor}{f': {event.detail}' if event.detail else ''}"
        )
    for fill in fills:
        fee = f", fee {fill.fee} {fill.fee_currency}" if fill.fee is not None else ""
        console.print(
            f"{fill.filled_at:%Y-%m-%d %H:%M:%S.%f}  fill {fill.trade_id}: {fill.quantity} at {fill.price}{fee}"
        )


@app.command
def outside(*, account: str = "paper", limit: int = 20) -> None:
    """List what moved the account from outside the desk: trades by hand, liquidations, transfers, and the unexplained.

    Parameters
    ----------
    account
        The account that was moved.
    limit
        How many to list.

    """
    moves = _with_store(lambda store: store.account.outside_moves(account, limit=limit))
    if not moves:
        Console().print(f"nothing has moved {account} from outside")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    console = Console(width=None if sys.stdout.isatty() else UNCUT)
    for title in ("at (UTC)", "kind", "of", "quantity", "price", "source"):
        table.add_column(title, no_wrap=title != "source", overflow="fold")
    for move in reversed(moves):
        table.add_row(
            f"{move.at:%Y-%m-%d %H:%M:%S}",
            move.kind.value,
            move.symbol or move.currency,
            f"{move.quantity:+f}",
            "-" if move.price is None else f"{move.price:f}",
            move.source_id,
        )
    console.print(table)


async def _history(store: Store, client_order_id: str) -> tuple[Order, Sequence[OrderEvent], Sequence[Fill]]:
    order = await store.orders.get(client_order_id)
    if order is None:
        raise KontorError(f"there is no order {client_order_id}; 'kontor orders' lists them")
    fills = await store.orders.fills(order.account, client_order_id=client_order_id)
    return order, await store.orders.events(client_order_id), fills


def _with_store(read: Callable[[Store], Awaitable[T]]) -> T:
    from deployments.desk_status import desk_store

    async def run() -> T:
        async with desk_store(Home.from_environment()) as store:
            return await read(store)

    return asyncio.run(run())
