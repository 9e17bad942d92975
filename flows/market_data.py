"""Updaters of market data: watchlist, tickers, candles, ranges."""

from typing import Any

from prefect import flow

from flows.shell import run_named_flow
from tasks.desk import open_desk, updater
from tasks.hooks import alert
from tasks.market_data import (
    candidates,
    find_ranges,
    late_candles,
    refresh_candles,
    refresh_tickers,
    save_ranges,
    save_watchlist,
    select_watchlist,
    watched,
)
from tasks.streams import not_streamed


@flow(
    name="update-watchlist",
    timeout_seconds=60,
    retries=2,
    retry_delay_seconds=5,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_watchlist(account: str = "paper") -> dict[str, Any]:
    """Watch the markets that pass kontor.yaml's filter, without restricted ones, plus those with an open position."""
    async with open_desk(account, updater="update-watchlist") as desk:
        passed = await select_watchlist(desk)
        symbols = await save_watchlist(desk, passed)
    return {"symbols": len(symbols), "without_range": sorted(set(passed) - set(symbols))}


@flow(
    name="update-tickers",
    timeout_seconds=10,
    retries=2,
    retry_delay_seconds=1,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_tickers(account: str = "paper") -> dict[str, Any]:
    """Store the last price of every watched market with its time; a missing price keeps the old one."""
    async with open_desk(account, updater="update-tickers") as desk:
        symbols = await not_streamed(desk, "tickers", await watched(desk))
        missing = await refresh_tickers(desk, symbols)
    return {"tickers": len(symbols) - len(missing), "without_price": list(missing)}


@flow(
    name="update-candles",
    timeout_seconds=55,
    retries=1,
    retry_delay_seconds=3,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_candles(account: str = "paper") -> dict[str, Any]:
    """Store the finished candles of every watched market, only what is missing after the first fetch."""
    async with open_desk(account, updater="update-candles") as desk:
        symbols = await watched(desk)
        if not await late_candles(desk, symbols):
            symbols = await not_streamed(desk, "candles", symbols)
        updated, failed = await refresh_candles(desk, symbols)
    return {"updated": updated, "failed": failed}


@flow(
    name="update-ranges",
    timeout_seconds=60,
    retries=1,
    retry_delay_seconds=10,
    on_failure=[alert],
    on_crashed=[alert],
    on_cancellation=[alert],
)
@updater
async def update_ranges(account: str = "paper") -> dict[str, Any]:
    """Find each candidate's range; symbols without one leave the watchlist, and are listed."""
    async with open_desk(account, updater="update-ranges") as desk:
        symbols = await candidates(desk)
        ranges, failed = await find_ranges(desk, symbols)
        without = await save_ranges(desk, ranges, symbols)
    return {"ranges": len(ranges) - len(without), "without_range": list(without), "failed": failed}


if __name__ == "__main__":
    run_named_flow(globals())
