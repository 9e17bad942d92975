"""Live data: long-running flows that keep the store as new as the exchange is; updaters step in where they cannot."""

from prefect import flow
from prefect.runtime import flow_run

from flows.shell import run_named_flow
from kontor.streams.account import AccountStreamer
from kontor.streams.market import MarketStreamer
from tasks.desk import open_desk
from tasks.hooks import alert
from tasks.streams import stream


@flow(name="stream-market", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
async def stream_market(account: str = "paper") -> None:
    """Stream tickers, candles and trades of the watchlist into the store for as long as the desk runs.

    While a channel is fresh, update-tickers and update-candles fetch nothing. It has no timeout and no schedule: its
    deployment's trigger starts the next run when this one fails, times out or crashes.
    """
    async with open_desk(account, gated=False, wait=True) as desk:
        await stream(desk, MarketStreamer, f"stream-market {flow_run.name}")


@flow(name="stream-account", on_failure=[alert], on_crashed=[alert], on_cancellation=[alert])
async def stream_account(account: str = "paper") -> None:
    """Apply orders, fills, positions and balance of the account as the exchange tells them.

    After every reconnect it asks by REST what happened meanwhile. While a channel is fresh, update-open-orders,
    update-positions and update-balance fetch nothing; track-orders and reconcile-orders go on as the safety net.
    """
    async with open_desk(account, gated=False, wait=True) as desk:
        await stream(desk, AccountStreamer, f"stream-account {flow_run.name}")


if __name__ == "__main__":
    run_named_flow(globals())
