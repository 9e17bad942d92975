"""Steps of the account updaters: balance, positions, open orders."""

from collections.abc import Sequence
from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from kontor.desk import Desk
from kontor.domain.account import Balance, Position
from kontor.domain.order import OrderReport


@task(cache_policy=NO_CACHE)
async def refresh_balance(desk: Desk) -> Balance:
    """Fetch and store the balance; the first total ever seen becomes the initial capital."""
    balance = await desk.exchange.fetch_balance()
    await desk.store.account.save_balance(desk.account, balance)
    oldest = desk.clock.now() - timedelta(days=desk.config.history.balances_days)
    await desk.store.account.prune_balances(desk.account, before=oldest)
    return balance


@task(cache_policy=NO_CACHE)
async def refresh_positions(desk: Desk) -> Sequence[Position]:
    """Fetch and store the open positions, with the moment they were asked for."""
    asked_at = desk.clock.now()
    positions = await desk.exchange.fetch_positions()
    await desk.store.account.save_positions(desk.account, positions, asked_at)
    return positions


@task(cache_policy=NO_CACHE)
async def refresh_open_orders(desk: Desk) -> Sequence[OrderReport]:
    """Fetch and store the live orders of the account, ours and others, with the moment they were asked for.

    The moment before the request counts: an order sent while the answer was under way may be missing from it.
    """
    asked_at = desk.clock.now()
    orders = await desk.exchange.fetch_open_orders()
    await desk.store.account.save_open_orders(desk.account, orders, asked_at)
    return orders
