"""The portfolio's limits: what breaks one halts, told with figures; transfers and resuming do what they should."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kontor.domain.account import Balance, CurrencyBalance
from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState, Side
from kontor.domain.outside import Transfer
from kontor.domain.portfolio import CoinPrice, Equity, PortfolioLimits, RiskMarks, breaches, equity_of, marked
from kontor.execution.halt import halted, resume
from kontor.trading.monitor import monitor_risk, start_anew
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.trading import TradingDesk
from tests.fakes.venue import market
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
    assert equity_of(balance, {"BTC": D(50)}) == Equity(D(200))
    assert equity_of(balance, {}) == Equity(D(100), frozenset({"BTC"}))


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


def spot(desk: TradingDesk, *coins: str) -> None:
    """The venue lists these coins; they trade at its one price, unless `unpriced` says otherwise."""
    more = {f"{coin}/USD": market(f"{coin}/USD", MarketKind.SPOT) for coin in coins}
    desk.venue.markets = {**desk.venue.markets, **more}


def hold(desk: TradingDesk, coin: str, quantity: str) -> None:
    """The account has come by a coin: nothing that a fill tells."""
    desk.venue.coins[coin] = D(quantity)


LOSSES: dict[str, Any] = {"max_daily_loss": 500, "max_drawdown_percent": 1}


@in_virtual_time
async def test_a_coin_that_never_had_a_price_counts_nothing_and_stops_nothing() -> None:
    """Anybody can send dust of a coin that nobody trades; that must not end the watching of losses."""
    desk = TradingDesk({}, risk=LOSSES)
    hold(desk, "DUST", "1000000")
    report = await monitor_risk(desk)
    assert (report.equity, report.unpriced, report.unjudged) == (D(100_000), ["DUST"], None)
    assert (await desk.want()).state is OrderState.INITIALIZED
    desk.venue.cash -= 500
    assert (await monitor_risk(desk)).halted_now


@in_virtual_time
async def test_a_price_that_comes_or_goes_is_neither_gain_nor_loss() -> None:
    desk = TradingDesk({}, risk=LOSSES)
    spot(desk, "NEW")
    hold(desk, "NEW", "20")
    desk.venue.unpriced.add("NEW/USD")
    assert (await monitor_risk(desk)).equity == 100_000
    # It is quoted at 100 from now on. A gain of 2000 would hide a loss of 499, and later one of 2498.
    desk.venue.unpriced.clear()
    desk.venue.cash -= 499
    report = await monitor_risk(desk)
    assert (report.equity, report.peak, report.day_start) == (D(101_501), D(102_000), D(102_000))
    assert report.unpriced == []
    # The market is suspended: its last price stands in, the drawdown of 2 % is none.
    desk.venue.unpriced.add("NEW/USD")
    await desk.clock.sleep(200)
    report = await monitor_risk(desk)
    assert (report.equity, report.breaches, report.unjudged) == (D(101_501), [], None)
    desk.venue.cash -= 1
    assert (await monitor_risk(desk)).halted_now


@in_virtual_time
async def test_a_significant_holding_without_a_price_for_long_leaves_losses_unjudged_and_refuses_new_risk() -> None:
    """The last price of a market that stands still tells nothing: it is said, and no new risk is taken on a guess."""
    desk = TradingDesk({}, risk={**LOSSES, "max_exposure": 50_000})
    spot(desk, "NEW")
    hold(desk, "NEW", "20")
    await monitor_risk(desk)
    desk.venue.unpriced.add("NEW/USD")
    await desk.clock.sleep(301)
    desk.venue.cash -= 5000
    report = await monitor_risk(desk)
    assert "NEW (last worth 2000.00, at 2026-01-01 00:00 UTC)" in str(report.unjudged)
    assert (report.breaches, report.halted) == ([], None)
    desk.move(BTC, "100")
    await desk.refresh()
    denied = await desk.want()
    assert (denied.reason or "").startswith("unwatched_losses")
    # What needs no equity is judged all the same.
    hold(desk, "NEW", "501")
    assert [breach.rule for breach in (await monitor_risk(desk)).breaches] == ["max_exposure"]
    # A small holding is carried at its last price.
    await resume(desk.store.desk, desk.account, actor="a person", at=desk.clock.now())
    hold(desk, "NEW", "1")
    desk.venue.cash += 5000 - 1900 + 3800
    assert (await monitor_risk(desk)).unjudged is None


@in_virtual_time
async def test_a_transfer_while_the_desk_was_down_for_days_is_no_loss() -> None:
    """The peak outlives the desk; so must the look back at what left the account."""
    desk = TradingDesk({}, risk={"max_drawdown_percent": 5})
    desk.venue.transfers = []
    await monitor_risk(desk)
    await desk.clock.sleep(timedelta(hours=1).total_seconds())
    desk.venue.cash -= 50_000
    desk.venue.transfers.append(Transfer("w1", "USD", D(-50_000), desk.clock.now()))
    await desk.clock.sleep(timedelta(days=5).total_seconds())
    report = await monitor_risk(desk)
    assert (report.breaches, report.peak) == ([], D(50_000))
    # Nor does one hide a loss.
    desk.venue.cash += 50_000 - 5000
    desk.venue.transfers.append(Transfer("d1", "USD", D(50_000), desk.clock.now()))
    await desk.clock.sleep(timedelta(days=3).total_seconds())
    report = await monitor_risk(desk)
    assert report.peak == 100_000
    assert [breach.rule for breach in report.breaches] == ["max_drawdown_percent"]


@in_virtual_time
async def test_a_coin_that_was_withdrawn_to_the_last_is_no_loss() -> None:
    """It is not in the balance any more, yet what left is worth what it was."""
    desk = TradingDesk({}, risk=LOSSES)
    desk.venue.transfers = []
    hold(desk, "BTC", "30")
    assert (await monitor_risk(desk)).equity == 103_000
    hold(desk, "BTC", "0")
    desk.venue.transfers.append(Transfer("w1", "BTC", D(-30), desk.clock.now()))
    report = await monitor_risk(desk)
    assert (report.equity, report.peak, report.breaches) == (D(100_000), D(100_000), [])


@in_virtual_time
async def test_the_gate_refuses_new_risk_from_the_moment_of_the_breach_and_lets_exits_pass() -> None:
    """monitor-risk looks every 30 seconds; a strategy decides more often."""
    desk = TradingDesk({}, risk=LOSSES)
    desk.move(BTC, "100")
    await desk.refresh()
    await monitor_risk(desk)
    async with desk.executing():
        await desk.booked((await desk.want()).client_order_id)
        desk.venue.cash -= 500
        await desk.refresh()
        denied = await desk.want()
        assert denied.state is OrderState.DENIED
        assert "max_daily_loss: the day of 2026-01-01 has lost 500.00 since 100000.00" in str(denied.reason)
        assert await halted(desk.store.desk, desk.account) is None
        way_out = await desk.want(BTC, Side.SELL, "1", reduce_only=True)
        await desk.booked(way_out.client_order_id)
        assert (await monitor_risk(desk)).halted_now


@in_virtual_time
async def test_a_day_that_begins_between_two_looks_has_lost_nothing_yet() -> None:
    desk = TradingDesk({}, risk={"max_daily_loss": 500})
    desk.move(BTC, "100")
    await desk.clock.sleep(timedelta(hours=23, minutes=59, seconds=50).total_seconds())
    await desk.refresh()
    await monitor_risk(desk)
    desk.venue.cash -= 600
    await desk.clock.sleep(20)
    await desk.refresh()
    assert (await desk.want()).state is OrderState.INITIALIZED


def test_marks_of_an_earlier_version_are_read_and_prices_are_kept_exactly() -> None:
    old = {"peak": "10", "day": "2026-03-01", "day_start": "9", "transfers": ["t"]}
    assert RiskMarks.from_json(old) == RiskMarks(D(10), "2026-03-01", D(9), frozenset({"t"}))
    marks = replace(START, prices={"BTC": CoinPrice(D("0.10"), NOW)}, unpriced=frozenset({"DUST"}))
    assert RiskMarks.from_json(marks.to_json()) == marks


@in_virtual_time
async def test_an_empty_account_has_lost_nothing_and_is_judged() -> None:
    desk = TradingDesk({}, risk=LOSSES)
    desk.venue.cash = D(0)
    report = await monitor_risk(desk)
    assert (report.equity, report.unjudged, report.breaches) == (D(0), None, [])
