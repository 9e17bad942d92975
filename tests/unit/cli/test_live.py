"""Going live: the account's name typed back, and nothing of it when a check has failed."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from deployments import going_live
from kontor.config import KontorConfig
from kontor.desk import accept_live, require_accepted
from kontor.domain.setup import AccountLevel, AccountSetup, PositionMode
from kontor.errors import ConfigError
from kontor.exchange.account_setup import ACCOUNT_SETUP
from kontor.ports import ExchangeSettings
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.virtual_time import in_virtual_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = ExchangeSettings("okx", "main", mode="live")
STRATEGY = {"use": "sma_cross", "symbols": [BTC]}


def config(**risk: Any) -> KontorConfig:
    return KontorConfig.model_validate({"risk": risk, "strategies": {"one": STRATEGY}})


@in_virtual_time
async def test_a_live_account_is_not_initialized_before_somebody_has_said_its_name() -> None:
    state = FakeDesk().store.desk
    with pytest.raises(ConfigError, match=r"account main: it trades real money at okx.*'kontor live main'"):
        await require_accepted(state, LIVE)
    await accept_live(state, "main", "okx", NOW)
    await require_accepted(state, LIVE)
    # The same name at another exchange is another account.
    with pytest.raises(ConfigError, match="real money at binance"):
        await require_accepted(state, replace(LIVE, exchange_id="binance"))
    await require_accepted(state, replace(LIVE, account="paper", mode="paper"))


def test_a_paper_account_does_not_go_live_and_missing_limits_are_named() -> None:
    assert going_live.mode(replace(LIVE, mode="paper")).health == "failed"
    assert going_live.mode(LIVE).health == "ok"
    orders, losses = going_live.limits(config())
    assert (orders.health, orders.finding) == ("failed", "not set: max_order_value, max_position_value, max_exposure")
    assert losses.health == "warning"
    full = {"max_order_value": 10, "max_position_value": 10, "max_exposure": 10, "max_daily_loss": 5}
    assert [each.health for each in going_live.limits(config(**full))] == ["ok", "ok"]


@in_virtual_time
async def test_paper_comes_first_and_the_venues_smallest_orders_must_fit() -> None:
    desk = FakeDesk()
    assert (await going_live.practice(desk.store, desk.account)).health == "failed"
    async with desk.executing():
        await desk.until_state(await desk.want())
    assert (await going_live.practice(desk.store, desk.account)).finding == "1 orders filled on paper"
    found = await going_live.smallest_orders(desk.exchange, config(max_order_value=Decimal("0.5")))
    assert (found.health, found.finding) == ("failed", f"above max_order_value 0.5: {BTC} 1.00")
    assert (await going_live.smallest_orders(desk.exchange, config(max_order_value=2))).health == "ok"


@in_virtual_time
async def test_the_accounts_set_up_is_looked_at() -> None:
    desk = FakeDesk()
    assert (await going_live.set_up(desk.exchange, config())).health == "warning"
    desk.exchange.answers[ACCOUNT_SETUP] = AccountSetup(AccountLevel.SPOT, PositionMode.NET)
    assert "set the account mode to futures" in (await going_live.set_up(desk.exchange, config())).finding
    desk.exchange.answers[ACCOUNT_SETUP] = AccountSetup(AccountLevel.FUTURES, PositionMode.NET)
    assert (await going_live.set_up(desk.exchange, config())).health == "ok"
