"""Capital is one figure: what limits count is what messages, pages and metrics say; transfers are no profit."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from deployments.desk_status import status_of
from deployments.home import Ports
from kontor.capital import BEGINNING, capital_of
from kontor.desk import Desk
from kontor.domain.capital import REMEMBERED, Beginning, Capital, Change
from kontor.domain.outside import Transfer
from kontor.notify.commands import Command
from kontor.notify.confirmations import Asked
from kontor.notify.summary import summary_of
from kontor.notify.told import Told
from kontor.ports import HistoryMark
from kontor.trading.monitor import monitor_risk, start_anew
from kontor.updaters.shared import RESERVED
from tasks.commands import _balance
from tasks.status import send_capital_message
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import START, in_virtual_time

D = Decimal
SPOT = "BTC/USD"


def desk_of(**risk: Any) -> TradingDesk:
    desk = TradingDesk({}, risk=risk)
    desk.venue.transfers = []
    return desk


def transfer(desk: TradingDesk, money: int, number: int = 1) -> None:
    desk.venue.cash += money
    assert desk.venue.transfers is not None
    desk.venue.transfers.append(Transfer(f"d{number}", "USD", D(money), desk.clock.now()))


async def capital(desk: TradingDesk) -> Capital:
    found = await capital_of(desk.store, desk.account, desk.clock.now(), desk.clock.now().tzinfo)
    assert found is not None
    return found


async def said(desk: TradingDesk) -> dict[str, str]:
    """What the capital message and the daily summary say."""
    seen = Desk(desk.account, desk.config, cast("Any", None), desk.store, desk.clock, desk.alerts)
    await send_capital_message.fn(seen)
    message = dict(desk.alerts.sent[-1].fields)
    told = Told(HistoryMark(0, 0))
    summary = dict((await summary_of(desk.store, desk.account, desk.clock.now(), told, mode="paper")).fields)
    return {**message, "Capital": summary["Capital"], "Change": summary["Change"]}


@in_virtual_time
async def test_buying_coins_is_no_loss_in_any_message() -> None:
    """A tenth of the money became a coin: the limits saw no loss, and people were told that a tenth was lost."""
    desk = desk_of(max_daily_loss=5000)
    await monitor_risk(desk)
    async with desk.executing():
        await desk.until_state(await desk.want(SPOT, quantity="100"))
    await asyncio.sleep(60)
    report = await monitor_risk(desk)
    assert (report.equity, report.breaches) == (100_000, [])
    told = await said(desk)
    assert told["Total"] == told["Capital"] == "100,000.00 USD"
    none = "+0.00 USD (+0.00 %)"
    assert (told["Today"], told["Since the start"], told["Change"]) == (none, none, none)
    # What the venue calls the total of the capital currency is told by its name.
    seen = Desk(desk.account, desk.config, cast("Any", None), desk.store, desk.clock, desk.alerts)
    answer = await _balance(seen, Asked(Command("balance"), "k", 0.0), "me")
    assert answer.startswith("worth 100,000.00 USD, coins at their price\ntotal 90,000.00, free 90,000.00")


@in_virtual_time
async def test_a_deposit_is_no_profit_and_a_loss_is_told_as_the_limit_counts_it() -> None:
    """The same loss halts and is read: 600 of what was put in, however often the transfer is listed."""
    desk = desk_of(max_daily_loss=500)
    await monitor_risk(desk)
    await asyncio.sleep(30)
    transfer(desk, 20_000)
    for _ in range(3):
        assert (await monitor_risk(desk)).breaches == []
        await asyncio.sleep(30)
    found = await capital(desk)
    assert (found.gain, found.day_gain) == (Change(D(0), D(120_000)), Change(D(0), D(120_000)))
    desk.venue.cash -= 600
    report = await monitor_risk(desk)
    [breach] = report.breaches
    assert breach.figure == 600
    told = await said(desk)
    assert told["Total"] == "119,400.00 USD"
    lost = "-600.00 USD (-0.50 %)"
    assert (told["Today"], told["Since the start"], told["Change"]) == (lost, lost, lost)


@in_virtual_time
async def test_resuming_begins_the_day_anew_and_leaves_the_start_alone() -> None:
    """Who resumes accepts the day's loss; since the start it is lost all the same, and no transfer counts twice."""
    desk = desk_of(max_daily_loss=500)
    await monitor_risk(desk)
    await asyncio.sleep(30)
    transfer(desk, 1000)
    await monitor_risk(desk)
    desk.venue.cash -= 600
    await monitor_risk(desk)
    await start_anew(desk.store.desk, desk.account, desk.clock.now())
    assert (await capital(desk)).day_gain is None
    await asyncio.sleep(30)
    await monitor_risk(desk)
    found = await capital(desk)
    assert (found.gain, found.day_gain) == (Change(D(-600), D(101_000)), Change(D(0), D(100_400)))


@in_virtual_time
async def test_coins_that_were_there_in_the_beginning_are_no_profit() -> None:
    """Whoever comes with coins began with them; the first total is of one currency only."""
    desk = desk_of()
    desk.venue.coins = {"BTC": D(10)}
    await desk.refresh()
    await monitor_risk(desk)
    found = await capital(desk)
    assert (found.equity, found.gain) == (101_000, Change(D(0), D(101_000)))


@in_virtual_time
async def test_an_account_whose_risk_is_watched_only_later_keeps_its_first_total() -> None:
    """What was earned until then would vanish."""
    desk = desk_of()
    await desk.refresh()
    await asyncio.sleep(timedelta(hours=1).total_seconds())
    desk.venue.cash += 500
    await monitor_risk(desk)
    assert (await capital(desk)).gain == Change(D(500), D(100_000))


@in_virtual_time
async def test_while_nobody_watches_the_last_balance_counts_at_the_last_prices() -> None:
    """monitor-risk is paused: no message may say that the coins are gone."""
    desk = desk_of()
    await desk.refresh()
    await monitor_risk(desk)
    await asyncio.sleep(3600)
    desk.venue.coins = {"BTC": D(2), "XYZ": D(1)}
    desk.move(SPOT, "150")
    await desk.refresh()
    balance, found = await desk.store.account.balance(desk.account), await capital(desk)
    assert balance is not None
    assert (found.equity, found.unpriced, found.at) == (100_300, {"XYZ"}, balance.at)
    assert "without a price, and not counted: XYZ" in (await told_text(desk))


async def told_text(desk: TradingDesk) -> str:
    seen = Desk(desk.account, desk.config, cast("Any", None), desk.store, desk.clock, desk.alerts)
    await send_capital_message.fn(seen)
    return desk.alerts.sent[-1].text


@in_virtual_time
async def test_status_and_metrics_say_the_same() -> None:
    desk = desk_of()
    await monitor_risk(desk)
    await asyncio.sleep(30)
    transfer(desk, 1000)
    await monitor_risk(desk)
    status = await status_of(desk.store, desk.account, Ports(), {})
    assert (status.initial_capital, status.transferred) == (100_000, 1000)


def test_a_transfer_counts_once_for_as_long_as_venues_list_it() -> None:
    begun = Beginning(D(1000)).seen({"a": D(100)}, START)
    assert (begun.moved, begun.moved_since(START), begun.moved_since(START - timedelta(1))) == (100, 0, 100)
    again = begun.seen({"a": D(100), "b": D(-30)}, START + timedelta(hours=26))
    assert again.moved == 70
    later = again.seen({"a": D(100)}, START + timedelta(hours=26) + REMEMBERED)
    assert (later.moved, set(later.moves)) == (70, {"a", "b"})
    assert set(later.seen({}, START + timedelta(days=9)).moves) == set()
    assert Beginning.from_json(later.to_json()) == later
    assert not begun.has_seen({"a", "b"}, START)
    assert not begun.has_seen({"a"}, START + timedelta(hours=2))


def test_a_gain_has_no_percentage_of_nothing() -> None:
    """More was taken out than ever put in: all that is left is profit."""
    found = Capital("USD", D(50), START, beginning=Beginning(D(100), D(-150)))
    assert found.gain is not None
    assert found.gain.words("USD") == "+100.00 USD"
    assert BEGINNING in RESERVED
