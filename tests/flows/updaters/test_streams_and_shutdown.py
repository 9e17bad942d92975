"""Streams and the graceful stop as flows: updaters that need not fetch say so, a stopped account takes no orders."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import Any

from prefect.client.schemas.objects import State

from flows.account import update_open_orders, update_positions
from flows.market_data import update_tickers
from flows.operate import initialize, restart_exchange, shutdown
from flows.orders import execute_orders
from flows.streams import stream_account, stream_market
from flows.trade import place_order
from kontor.domain.order import OrderState
from kontor.resilience.circuit_breaker import BreakerState, Verdict
from kontor.resilience.rate_budget import Priority
from kontor.streams.freshness import load_channels
from tasks.resources import Resources
from tests.flows.updaters.conftest import Account


async def run(flow: Any, account: Account, *args: Any, **parameters: Any) -> State[Any]:
    return await flow(*args, account=account.name, return_state=True, **parameters)


async def until_fresh(account: Account, *channels: str) -> None:
    clock = Resources.here().clock
    async with asyncio.timeout(40):
        while True:
            found = await load_channels(account.store.desk, account.name, clock.now())
            if all(name in found and found[name].is_fresh for name in channels):
                return
            await asyncio.sleep(0.1)


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_while_streams_deliver_the_updaters_fetch_nothing_and_say_so(account: Account) -> None:
    """And the moment the streams stop, the updaters fetch again."""
    assert (await run(initialize, account)).is_completed()
    streams = [asyncio.create_task(flow(account=account.name)) for flow in (stream_market, stream_account)]
    await until_fresh(account, "tickers", "orders", "positions")
    for flow in (update_tickers, update_positions, update_open_orders):
        state = await run(flow, account)
        assert state.name == "Streamed", f"{flow.name}: {state.name} {state.message}"
        assert state.is_completed()
    beat = (await account.store.desk.heartbeats(account.name))["update-tickers"]
    assert beat.last_success_at is not None
    await ended(*streams)
    assert (await run(update_tickers, account)).name == "Completed"


async def test_shutdown_cancels_refuses_and_can_be_repeated(account: Account) -> None:
    """It cancels of itself, though kontor.yaml says that the end of the desk does not."""
    assert (await run(initialize, account)).is_completed()
    executor = asyncio.create_task(execute_orders(account=account.name))
    placed = await run(place_order, account, "BTC/USD:USD", "buy", Decimal("0.1"), "limit", Decimal(59000))
    figures = await placed.result()
    assert figures["state"] == "ACCEPTED", figures
    state = await run(shutdown, account, wait_seconds=20)
    assert state.is_completed(), state.message
    assert (await state.result())["canceled"] == 1
    order = await account.store.orders.get(figures["client_order_id"])
    assert order is not None
    assert order.state is OrderState.CANCELED
    again = await run(shutdown, account, wait_seconds=5)
    assert (await again.result())["canceled"] == 0
    refused = await run(place_order, account, "BTC/USD:USD", "buy", Decimal("0.1"), "market")
    assert refused.is_failed()
    await ended(executor)
    assert (await run(initialize, account)).is_completed()
    assert await account.store.desk.attribute(account.name, "halted") is not None
    halted = await account.store.desk.attribute(account.name, "halted")
    assert halted is not None
    assert halted.value is None


async def test_breakers_are_reset_by_a_parameter_of_restart_exchange(account: Account) -> None:
    """A person who knows that the venue is back need not wait; the state is in the store meanwhile."""
    assert (await run(initialize, account)).is_completed()
    resources = Resources.here()
    breaker = resources.sessions.breakers(account.name, "okx")[Priority.CREATE]
    for _ in range(5):
        breaker.admit().end(Verdict.FAILURE, "502")
    assert breaker.state is BreakerState.OPEN

    async def stored() -> bool:
        found = await account.store.desk.attribute(account.name, "breakers")
        return found is not None and any(found.value.values())

    async with asyncio.timeout(20):
        while not await stored():  # noqa: ASYNC110 - the reporter sets no event of ours
            await asyncio.sleep(0.05)
    assert (await run(restart_exchange, account, reset_breakers=True)).name == "Completed"
    assert breaker.state is BreakerState.CLOSED
    async with asyncio.timeout(20):
        while await stored():  # noqa: ASYNC110 - the reporter sets no event of ours
            await asyncio.sleep(0.05)
