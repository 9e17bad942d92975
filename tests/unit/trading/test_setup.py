"""The account's set-up: what does not fit refuses new risk, names its remedy, and is told once."""

from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.order import OrderState, Side
from kontor.domain.setup import AccountLevel, AccountSetup, PositionMode
from kontor.errors import ConfigError
from kontor.trading.setup import ACCOUNT_SETUP, check_setup, set_leverage
from tests.fakes.desk import BTC
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.test_exits import holder

GOOD = AccountSetup(AccountLevel.FUTURES, PositionMode.NET)
S = OrderState


def a_desk(account: AccountSetup | None = GOOD, /, **sections: Any) -> TradingDesk:
    desk = TradingDesk({"one": holder(2)}, **sections)
    desk.exchange.leverage = {BTC: Decimal(3)}
    if account is not None:
        desk.exchange.answers[ACCOUNT_SETUP] = account
    return desk


CASES: list[tuple[AccountSetup, dict[str, Any], str]] = [
    (AccountSetup(AccountLevel.SPOT, PositionMode.NET), {}, "set the account mode to futures at the venue"),
    (AccountSetup(AccountLevel.FUTURES, PositionMode.HEDGED), {}, "set the position mode to net at the venue"),
    (
        GOOD,
        {"leverage": {BTC: 5}},
        "the venue has leverage 3 on BTC/USD:USD, setup.leverage says 5; run the flow set-lev",
    ),
]


@pytest.mark.parametrize(("found", "wanted", "sentence"), CASES)
def test_a_mismatch_refuses_new_risk_and_names_the_remedy(
    found: AccountSetup, wanted: dict[str, Any], sentence: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = a_desk(found, setup=wanted)
        for _ in range(2):
            [problem] = (await check_setup(desk, desk.alerts)).problems
            assert sentence in problem
        assert [alert.severity for alert in desk.alerts.sent] == ["critical"]
        order = await desk.want()
        assert order.state is S.DENIED
        assert (order.reason or "").startswith("account_setup: ")
        assert sentence in (order.reason or "")
        desk.exchange.answers[ACCOUNT_SETUP] = GOOD
        desk.reconfigure(setup={})
        assert (await check_setup(desk, desk.alerts)).problems == ()
        assert [alert.severity for alert in desk.alerts.sent] == ["critical", "info"]
        assert (await desk.want()).state is S.INITIALIZED

    run()


@in_virtual_time
async def test_a_position_with_another_margin_mode_refuses_new_risk_but_not_its_exit() -> None:
    desk = a_desk(setup={"margin_mode": "isolated"})
    async with desk.executing():
        held = await desk.want()
        await desk.booked(held.client_order_id)
        [problem] = (await check_setup(desk)).problems
        assert "is held with cross margin, setup.margin_mode is isolated" in problem
        assert (await desk.want()).state is S.DENIED
        await desk.refresh()
        out = await desk.want(BTC, Side.SELL, "1", reduce_only=True)
        await desk.booked(out.client_order_id)


@in_virtual_time
async def test_what_the_venue_does_not_tell_is_said_and_forbids_nothing() -> None:
    desk = a_desk(None, setup={"leverage": {BTC: 5}})
    desk.exchange.leverage = None
    report = await check_setup(desk)
    assert report.problems == ()
    assert len(report.unknown) == 2


@in_virtual_time
async def test_setting_the_leverage_twice_asks_the_venue_once_and_says_what_it_was() -> None:
    desk = a_desk()
    assert await set_leverage(desk, BTC, Decimal(5)) == (3, 5)
    assert await set_leverage(desk, BTC, Decimal(5)) == (5, 5)
    assert desk.exchange.requests["leverage"] == 1
    with pytest.raises(ConfigError, match="is not a swap of this venue"):
        await set_leverage(desk, "BTC/USD", Decimal(5))


@in_virtual_time
async def test_a_leverage_for_a_market_that_is_none_is_a_mistake_in_the_file() -> None:
    with pytest.raises(ConfigError, match=r"setup.leverage: ABC/USD:USD is not a market"):
        await check_setup(a_desk(setup={"leverage": {"ABC/USD:USD": 5}}))
