"""Strategies through Prefect: asked by a flow, in processes of their own, their orders filled by the paper exchange."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.account import update_balance, update_positions
from flows.operate import initialize
from flows.orders import execute_orders
from flows.trading import run_strategies
from kontor.domain.order import OrderState
from tests.flows.updaters.conftest import Account

SWAP = "BTC/USD:USD"
OWN = """
from kontor.strategies import DataNeed, Decision, MarketView, Strategy, StrategyParameters

class Parameters(StrategyParameters):
    fails: bool = False

class Holder(Strategy[Parameters]):
    def needs(self):
        return DataNeed("1m", 5)
    def decide(self, view: MarketView) -> Decision:
        if self.parameters.fails:
            raise ValueError("no idea")
        return Decision.of(o for m in view.values() for o in m.target(m.quantity_for(view.share), "hold"))
"""
STRATEGIES = f"""
strategies:
  own: {{use: "own_strategy:Holder", symbols: ["{SWAP}"], capital_share_percent: 10, timeout_seconds: 20}}
  bad: {{use: "own_strategy:Holder", symbols: ["{SWAP}"], capital_share_percent: 10, timeout_seconds: 20,
         parameters: {{fails: true}}}}
"""


async def test_a_users_own_strategy_trades_and_a_failing_one_beside_it_is_told(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_strategy.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    account.config.write_text(account.config.read_text() + STRATEGIES)
    assert (await run(initialize, account)).is_completed()
    executor = asyncio.create_task(execute_orders(account=account.name))
    state = await run(run_strategies, account)
    assert state.name == "Completed", state.message
    told = await state.result()
    assert "ValueError: no idea" in told["bad"]["error"]
    [name] = told["own"]["placed"]
    async with asyncio.timeout(30):
        while not await filled(account, name):  # noqa: ASYNC110 - the store is asked, as a process beside it would
            await asyncio.sleep(0.05)
    await update_balance(account=account.name)
    held = await update_positions(account=account.name)
    order = await account.store.orders.get(name)
    assert order is not None
    assert (order.strategy, Decimal(held[SWAP])) == ("own", order.quantity)
    # Held as wanted: the next run wants nothing more, whatever the candle.
    assert "placed" not in (await (await run(run_strategies, account)).result())["own"]
    units = await account.store.desk.attribute(account.name, "units")
    assert units is not None
    assert units.value["open_units"] == "1"
    executor.cancel()
    with suppress(asyncio.CancelledError):
        await executor


async def filled(account: Account, name: str) -> bool:
    order = await account.store.orders.get(name)
    short = await account.store.orders.short_of_fills(account.name)
    return order is not None and order.state is OrderState.FILLED and not short


async def run(flow: Any, account: Account) -> Any:
    return await flow(account=account.name, return_state=True)
