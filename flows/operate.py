"""Operating the desk: initialize, restart the exchange session, check the system's status."""

from datetime import timedelta
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from flows.shell import run_named_flow
from kontor.desk import Desk
from kontor.errors import KontorError
from kontor.execution.clock_drift import check_clock
from kontor.execution.quiesce import end_of_shutdown
from kontor.updaters.step import Step
from tasks.account import refresh_balance, refresh_open_orders, refresh_positions
from tasks.artifacts import prune_artifacts, show_account
from tasks.desk import by_hand, open_desk, updater
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
from tasks.orders import check_setup, reconcile, show_done
from tasks.session import missing_capabilities, open_gate, renew_session
from tasks.session import reset_breakers as close_breakers
from tasks.status import judge_updaters, send_capital_message, show_updaters, tell_changes
from tasks.stopping import quiet_account, stop_long_running, tell_problems
from tasks.trading import first_look_at_limits
from tasks.updater import forget_ranges, take_steps

INITIALIZE_SECONDS = 180
INITIALIZE_OVERLAP = timedelta(seconds=INITIALIZE_SECONDS + 15)

Seconds = Annotated[float, Field(ge=1, le=60)]
Minutes = Annotated[int, Field(ge=0, le=7 * 24 * 60)]


@flow(
    name="initialize",
    timeout_seconds=INITIALIZE_SECONDS,
    retries=5,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def initialize(account: str = "paper", steps: list[Step] | None = None) -> dict[str, Any]:
    """Load watchlist, candles, ranges, prices and account, in this order, reconcile the orders, and open the gate.

    With `steps`, those are taken instead of the standard ones for watchlist, candles, ranges and prices; the account
    is loaded and reconciled in any case. Every other flow waits for the gate. A failed initialization is retried,
    and then reported; the gate stays closed.
    """
    async with open_desk(account, updater="initialize", gated=False, overlap=INITIALIZE_OVERLAP) as desk:
        lacking = await missing_capabilities(desk)
        for sentence in lacking:
            get_run_logger().warning(sentence)
        await check_restricted(desk)
        if steps:
            await forget_ranges(desk)
            told = {"steps": await take_steps(desk, steps, seconds=INITIALIZE_SECONDS)}
        else:
            told = {"without_range": await _load_market(desk)}
        symbols = await watched(desk)
        balance = await refresh_balance(desk)
        positions = await refresh_positions(desk)
        await refresh_open_orders(desk)
        await reconcile(desk)
        set_up = await check_setup(desk)
        for sentence in (*set_up["problems"], *set_up["unknown"]):
            get_run_logger().warning(sentence)
        await first_look_at_limits(desk)
        await end_of_shutdown(desk)
        # After that: a halt for the clock gives way to one by a shutdown.
        await check_clock(desk)
        await open_gate(desk)
    return {
        "symbols": len(symbols),
        **told,
        "total": str(balance.total),
        "positions": len(positions),
        "exchange_lacks": list(lacking),
        "set_up_problems": list(set_up["problems"]),
    }


@flow(
    name="restart-exchange",
    timeout_seconds=60,
    retries=1,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
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
        await check_clock(desk)
    return {"generation": generation}


@flow(
    name="shutdown",
    # Three and a half times the longest wait for the orders, and once for the flows.
    timeout_seconds=300,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@by_hand
async def shutdown(
    account: str = "paper",
    cancel_orders: bool = True,
    stop_flows: bool = True,
    wait_seconds: Seconds = 30,
) -> dict[str, Any]:
    """Stop trading in good order: refuse new orders, cancel open ones and verify it, end the long-running flows.

    Protective stops stay, everything else goes. What could not be canceled or stopped fails the run, after
    everything else has been done, and is told as an alert. Running it again does nothing twice. `initialize` and a new
    start of the long-running flows (`kontor up` does both) take the account up again.

    Args:
        account: The ExchangeAccount block to stop.
        cancel_orders: Cancel open orders, all but stops; without, they rest at the venue. `orders.cancel_on_stop` in
            kontor.yaml is about the end of the desk (`kontor down`, Ctrl-C) and does not count here.
        stop_flows: End streams and executor too; without, only trading stops.
        wait_seconds: How long cancels, and then flows, may take.

    """
    async with open_desk(account, gated=False) as desk:
        report = await quiet_account(desk, cancel_orders, wait_seconds)
        stopped = await stop_long_running(desk, report, wait_seconds) if stop_flows else []
        await tell_problems(desk, report)
        figures = {
            "canceled": report.canceled,
            "filled": report.filled,
            "kept": report.kept,
            "stopped": stopped,
        }
        await show_done("shutdown", account, figures | {"problems": report.problems})
    if report.problems:
        raise KontorError("; ".join(report.problems))
    return figures


@flow(
    name="check-system-status",
    timeout_seconds=60,
    retries=1,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def check_system_status(account: str = "paper", capital_every_minutes: Minutes = 60) -> dict[str, Any]:
    """Judge every updater against its own interval, and tell what went down or came back.

    Updaters, positions, open orders, last fills and the equity curve are shown under Artifacts.
    The capital message comes at most every `capital_every_minutes`; 0 is with each run.
    """
    async with open_desk(account, updater="check-system-status") as desk:
        verdicts = await judge_updaters(desk, await updater_intervals(account))
        # This run is the status check's own sign of life.
        verdicts = tuple(verdict for verdict in verdicts if verdict.updater != "check-system-status")
        await tell_changes(desk, verdicts)
        await check_clock(desk)
        capital = await send_capital_message(desk, timedelta(minutes=capital_every_minutes))
        await show_updaters(account, verdicts)
        await show_account(desk)
        await prune_artifacts(account)
    return {
        "down": {verdict.updater: verdict.reason for verdict in verdicts if not verdict.ok},
        "capital": {name: str(figure) for name, figure in capital.items()},
    }


async def _load_market(desk: Desk) -> list[str]:
    """The standard steps: watchlist, candles, ranges, prices; returns the symbols without a range."""
    passed = await select_watchlist(desk)
    await save_watchlist(desk, passed)
    # The ranges look at the same candles: fetched once, stored, and not asked for again a moment later.
    await refresh_candles(desk, passed)
    ranges, _ = await find_ranges(desk, passed)
    without = await save_ranges(desk, ranges, passed)
    await refresh_tickers(desk, await watched(desk))
    return list(without)


if __name__ == "__main__":
    run_named_flow(globals())
