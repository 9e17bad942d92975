"""Updaters of the account: balance, positions, open orders."""

from typing import Any

from prefect import flow

from flows.shell import run_named_flow
from kontor.domain.order import Side
from tasks.account import refresh_balance, refresh_open_orders, refresh_positions
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.streams import skip_if_streamed


@flow(
    name="update-balance",
    timeout_seconds=20,
    retries=2,
    retry_delay_seconds=2,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_balance(account: str = "paper") -> dict[str, Any]:
    """Store the account's balance; the first total ever seen becomes the initial capital."""
    async with open_desk(account, updater="update-balance") as desk:
        await skip_if_streamed(desk, "balance")
        balance = await refresh_balance(desk)
    return {"currency": balance.currency, "total": str(balance.total), "free": str(balance.free)}


@flow(
    name="update-positions",
    timeout_seconds=20,
    retries=2,
    retry_delay_seconds=2,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_positions(account: str = "paper") -> dict[str, Any]:
    """Store the open positions as the venue has them now."""
    async with open_desk(account, updater="update-positions") as desk:
        await skip_if_streamed(desk, "positions")
        positions = await refresh_positions(desk)
    return {position.symbol: str(position.signed_quantity) for position in positions}


@flow(
    name="update-open-orders",
    timeout_seconds=20,
    retries=2,
    retry_delay_seconds=2,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_open_orders(account: str = "paper") -> dict[str, Any]:
    """Store the live orders of the account as the venue has them now; returns counts of buys and sells by symbol."""
    async with open_desk(account, updater="update-open-orders") as desk:
        await skip_if_streamed(desk, "orders")
        orders = await refresh_open_orders(desk)
    counts: dict[str, dict[str, int]] = {}
    for order in orders:
        sides = counts.setdefault(order.symbol, {"buys": 0, "sells": 0})
        sides["buys" if order.side is Side.BUY else "sells"] += 1
    return counts


if __name__ == "__main__":
    run_named_flow(globals())
