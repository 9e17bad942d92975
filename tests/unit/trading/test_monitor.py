"""The portfolio's limits: what breaks one halts, told with figures; transfers and resuming do what they should."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kontor.domain.account import Balance, CurrencyBalance
from kontor.domain.order import OrderState, Side
from kontor.domain.outside import Transfer
from kontor.domain.portfolio import PortfolioLimits, breaches, equity_of, marked
from kontor.execution.halt import halted, resume
from kontor.trading.monitor import monitor_risk, start_anew
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time

D = Decimal
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
START = marked(None, D(1000), NOW, UTC, {})

RULES: list[tuple[dict[str, Any], D, dict[str, D], str]] = [
    ({"max_drawdown_percent": D(10)}, D(900), {}, "equity 900.00 is 10.00 % below its peak 1000.00"),
    ({"max_daily_loss": D(100)}, D(900), {}, "the day of 2026-03-01 has lost 100.00 since 1000.00"),
    ({"max_exposure": D(99)}, D(1000), {"A": D(50), "B": D(50)}, "all positions together are worth 100.00"),
    ({"max_position_value": D(49)}, D(1000), {"A": D(50)}, "A is worth 50.00, above its limit of 49"),
    ({"position_values": {"A": D(49)}}, D(1000), {"A": D(50), "B": D(99)}, "A is worth 50.00, above its limit of 49"),
]


@pytest.mark.parametrize(("limits", "equity", "values", "sentence"), RULES)
def test_every_rule_breaks_at_its_limit_and_says_so(
    limits: dict[str, Any], equity: D, values: dict[str, D], sentence: str
) -> None:
    [breach] = breaches(PortfolioLimits(**limits), START, equity, values)
    assert breach.sentence.startswith(sentence)
    gentler: dict[str, Any] = {name: {"A": D("1e9")} if name == "position_values" else D("1e9") for name in limits}
    assert not breaches(PortfolioLimits(**gentler), START, equity, values)
    assert not breaches(PortfolioLimits(), START, equity, values)


def test_the_peak_only_rises_and_the_day_turns_at_its_zones_midnight() -> None:
    higher = marked(START, D(1200), NOW, UTC, {})
    assert (higher.peak, higher.day_start) == (1200, 1000)
    lower = marked(higher, D(900), NOW + timedelta(minutes=29), UTC, {})
    assert (lower.peak, lower.day_start) == (1200, 1000)
    assert marked(lower, D(900), NOW + timedelta(minutes=30), UTC, {}).day_start == 900
    berlin = marked(None, D(1000), NOW, ZoneInfo("Europe/Berlin"), {})
    assert berlin.day == "2026-03-02"


def test_transfers_move_neither_drawdown_nor_the_days_loss_and_count_once() -> None:
    out = marked(START, D(400), NOW, UTC, {"t1": D(-600)})
    assert (out.peak, out.day_start) == (400, 400)
    again = marked(out, D(400), NOW, UTC, {"t1": D(-600)})
    assert again == out
    back = marked(out, D(1400), NOW, UTC, {"t1": D(-600), "t2": D(1000)})
    assert (back.peak, back.day_start) == (1400, 1400)


def test_coins_count_at_their_price_and_one_without_a_price_is_named() -> None:
    def held(total: int) -> CurrencyBalance:
        return CurrencyBalance(D(total), D(0), D(total))

    balance = Balance("USD", D(100), D(100), D(0), NOW, {"USD": held(100), "BTC": held(2)})
    assert equity_of(balance, {"BTC": D(50)}) == 200
    assert equity_of(balance, {}) == "BTC"


@in_virtual_time
async def test_a_loss_beyond_the_limit_halts_until_a_person_resumes() -> None:
    desk = TradingDesk({}, risk={"max_daily_loss": 500})
    assert (await monitor_risk(desk)).halted is None
    desk.venue.cash -= 499
    assert (await monitor_risk(desk)).halted is None
    desk.venue.cash -= 1
    report = await monitor_risk(desk)
    assert report.halted_now
    assert "has lost 500.00 since 100000.00; max_daily_loss is 500" in str(report.halted)
    again = await monitor_risk(desk)
    assert (again.halted_now, again.halted) == (False, report.halted)
    desk.venue.cash += 500
    assert (await monitor_risk(desk)).halted == report.halted
    desk.venue.cash -= 500
    await resume(desk.store.desk, desk.account, actor="a person", at=desk.clock.now())
    await start_anew(desk.store.desk, desk.account, desk.clock.now())
    assert (await monitor_risk(desk)).halted is None
    assert await halted(desk.store.desk, desk.account) is None


@in_virtual_time
async def test_every_look_adds_a_point_to_the_equity_curve_with_coins_at_their_price() -> None:
    """Buying a coin is no loss in the picture: the capital currency's total alone would drop."""
    desk = TradingDesk({})
    await monitor_risk(desk)
    await desk.clock.sleep(30)
    desk.venue.cash -= 499
    await monitor_risk(desk)
    history = await desk.store.account.equity_history(desk.account)
    assert [each.value for each in history] == [D(100_000), D(99_501)]
    assert (history[1].at - history[0].at).total_seconds() >= 30


@in_virtual_time
async def test_a_withdrawal_is_no_loss_even_when_it_is_listed_late() -> None:
    """The balance shows it at once, the list of transfers a second later."""
    desk = TradingDesk({}, risk={"max_daily_loss": 500, "max_drawdown_percent": 1})
    desk.venue.transfers = []
    await monitor_risk(desk)
    desk.venue.cash -= 50_000
    listed = Transfer("w1", "USD", D(-50_000), desk.clock.now())
    asyncio.get_running_loop().call_later(1, desk.venue.transfers.append, listed)
    report = await monitor_risk(desk)
    assert (report.breaches, report.halted) == ([], None)
    assert report.peak == report.day_start == 50_000


@in_virtual_time
async def test_orders_beyond_the_rate_are_denied_and_then_trading_is_halted() -> None:
    desk = TradingDesk({}, risk={"max_orders_per_minute": 3})
    desk.move(BTC, "100")
    await desk.refresh()
    orders = [await desk.want(BTC, Side.BUY, "1", "99") for _ in range(5)]
    assert [order.state for order in orders].count(OrderState.INITIALIZED) == 3
    assert (orders[3].reason or "").startswith("max_orders_per_minute: 3 orders were wanted within a minute")
    report = await monitor_risk(desk)
    assert "2 orders were denied within a minute, because more than 3 a minute were wanted" in str(report.halted)


@in_virtual_time
async def test_a_symbols_own_limit_goes_before_the_general_one() -> None:
    config: dict[str, Any] = {"max_position_value": 1000, "position_values": {BTC: 150}}
    desk: FakeDesk = TradingDesk({}, risk=config)
    denied = await desk.want(BTC, Side.BUY, "2", "100")
    assert "above its limit of 150" in str(denied.reason)
    assert (await desk.want(BTC, Side.BUY, "1", "100")).state is OrderState.INITIALIZED
