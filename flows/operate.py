"""Operating the desk: initialize, restart the exchange session, check the system's status."""

from typing import Any

from prefect import flow, get_run_logger

from flows.shell import run_named_flow
from tasks.account import refresh_balance, refresh_open_orders, refresh_positions
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.intervals import updater_intervals
from tasks.market_data import (
    check_restricted,
    find_ranges,
    refresh_candles,
    refresh_tickers,
    save_ranges,
    save_watchlist,
    select_watchlist,
    watched,
)
from tasks.orders import reconcile
from tasks.session import missing_capabilities, open_gate, renew_session
from tasks.session import reset_breakers as close_breakers
from tasks.status import judge_updaters, send_capital_message, show_updaters, tell_changes


@flow(
    name="initialize",
    timeout_seconds=180,
    retries=5,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
)
@updater
async def initialize(account: str = "paper") -> dict[str, Any]:
    """Load watchlist, candles, ranges, prices and account, in this order, reconcile the orders, and open the gate.

    Every other flow waits for the gate. A failed initialization is retried, and then reported; the gate stays closed.
    """
    async with open_desk(account, updater="initialize", gated=False) as desk:
        lacking = await missing_capabilities(desk)
        for sentence in lacking:
            get_run_logger().warning(sentence)
        await check_restricted(desk)
        passed = await select_watchlist(desk)
        await save_watchlist(desk, passed)
        # The ranges look at the same candles: fetched once, stored, and not asked for again a moment later.
        await refresh_candles(desk, passed)
        ranges, _ = await find_ranges(desk, passed)
        without = await save_ranges(desk, ranges, passed)
        symbols = await watched(desk)
        await refresh_tickers(desk, symbols)
        balance = await refresh_balance(desk)
        positions = await refresh_positions(desk)
        await refresh_open_orders(desk)
        await reconcile(desk)
        await open_gate(desk)
    return {
        "symbols": len(symbols),
        "without_range": list(without),
        "total": str(balance.total),
        "positions": len(positions),
        "exchange_lacks": list(lacking),
    }


@flow(
    name="restart-exchange",
    timeout_seconds=60,
    retries=1,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
)
@updater
async def restart_exchange(
    account: str = "paper",
    reset_breakers: bool = False,
) -> dict[str, Any]:
    """Swap the exchange session for a new one in every process; when that fails the old ones go on working.

    With `reset_breakers` every circuit breaker of the account is closed first.
    """
    async with open_desk(account, updater="restart-exchange") as desk:
        if reset_breakers:
            await close_breakers(desk)
        generation = await renew_session(desk)
    return {"generation": generation}


@flow(
    name="check-system-status",
    timeout_seconds=30,
    retries=1,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
)
@updater
async def check_system_status(account: str = "paper") -> dict[str, Any]:
    """Judge every updater against its own interval, tell what went down or came back, and send the capital message."""
    async with open_desk(account, updater="check-system-status") as desk:
        verdicts = await judge_updaters(desk, await updater_intervals(account))
        # This run is the status check's own sign of life.
        verdicts = tuple(verdict for verdict in verdicts if verdict.updater != "check-system-status")
        await tell_changes(desk, verdicts)
        capital = await send_capital_message(desk)
        await show_updaters(account, verdicts)
    return {
        "down": {verdict.updater: verdict.reason for verdict in verdicts if not verdict.ok},
        "capital": {name: str(figure) for name, figure in capital.items()},
    }


if __name__ == "__main__":
    run_named_flow(globals())
