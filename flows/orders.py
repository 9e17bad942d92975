"""The orders' own flows: execute (long-running), track, reconcile."""

import asyncio
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.shell import run_named_flow
from kontor.execution.executor import Executor
from kontor.trading.stop_keeper import StopKeeper
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.orders import book_ledger, check_setup, reconcile, track


@flow(name="execute-orders", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
async def execute_orders(account: str = "paper") -> None:
    """Send the account's orders for as long as the desk runs; a second executor waits for the first one's lease.

    It has no timeout and no schedule: its deployment's trigger starts the next run when this one fails, times out or
    crashes. A run that a person cancels stays canceled.
    """
    async with open_desk(account, gated=False, wait=True) as desk:
        owner = f"execute-orders {flow_run.name}"
        executor = Executor(
            account,
            desk.store,
            desk.exchange,
            desk.clock,
            desk.config.orders,
            owner,
            notifier=desk.notifier,
            beat_as="execute-orders",
        )
        # In the executor's own process: what is filled here is protected a moment later.
        keeper = asyncio.create_task(StopKeeper(desk, desk.notifier).run(), name="stop keeper")
        try:
            await executor.run()
        finally:
            keeper.cancel()


@flow(
    name="track-orders",
    timeout_seconds=25,
    retries=1,
    retry_delay_seconds=2,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def track_orders(account: str = "paper") -> dict[str, Any]:
    """Ask the venue what became of tracked orders that are missing from its open orders, and collect their fills."""
    async with open_desk(account, updater="track-orders") as desk:
        return await track(desk)


@flow(
    name="reconcile-orders",
    timeout_seconds=60,
    retries=1,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def reconcile_orders(account: str = "paper") -> dict[str, Any]:
    """Hold our orders, fills, positions and balance against the venue's; report what differs, adopt what is unknown."""
    async with open_desk(account, updater="reconcile-orders") as desk:
        found = await reconcile(desk)
        return {**found, "ledger": await book_ledger(desk), "set_up": await check_setup(desk)}


if __name__ == "__main__":
    run_named_flow(globals())
