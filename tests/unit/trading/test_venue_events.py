"""What the venue does of itself: delisting, suspension, maintenance. No entries, told once, exits by a deadline."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState
from kontor.errors import ExchangeError, KontorError, OnMaintenance
from kontor.trading.venue_events import watch_venue
from tests.fakes.desk import BTC, ETH
from tests.fakes.trading import TradingDesk
from tests.fakes.venue import market
from tests.fakes.virtual_time import START, in_virtual_time
from tests.unit.trading.test_exits import holder, holding, look

S = OrderState


def change(desk: TradingDesk, symbol: str, **changes: Any) -> None:
    desk.venue.markets = {**desk.venue.markets, symbol: replace(desk.venue.markets[symbol], **changes)}


def told(desk: TradingDesk) -> list[tuple[str, str]]:
    return [(alert.title, alert.severity) for alert in desk.alerts.sent]


async def denial(desk: TradingDesk) -> str:
    order = await desk.want()
    return (order.reason or "").partition(":")[0]


@in_virtual_time
async def test_a_delisting_is_told_once_refuses_entries_and_closes_before_its_deadline() -> None:
    desk = TradingDesk({"one": holder(2)})
    ends: datetime = START + timedelta(hours=30)
    async with desk.executing():
        await holding(desk)
        change(desk, BTC, delists_at=ends)
        for _ in range(2):
            report = await watch_venue(desk, desk.alerts)
            assert report.markets == {
                BTC: "it is delisted at 2026-01-02 06:00 UTC: no entries, exits before that; held by one"
            }
        assert told(desk) == [(f"Market: {BTC}", "critical")]
        assert await denial(desk) == "delisting"
        assert (await look(desk)).closing == {}
        await asyncio.sleep(timedelta(hours=6).total_seconds())
        desk.move(BTC, "100")
        report = await look(desk)
        assert report.closing == {f"one {BTC}": f"delisting: {BTC} ends at 2026-01-02 06:00 UTC"}
        await desk.booked(report.orders[0])
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_suspension_and_its_end_are_told_once_each() -> None:
    desk = TradingDesk({"one": holder(2)})
    await desk.refresh()
    change(desk, BTC, active=False)
    change(desk, ETH, active=False)
    for _ in range(2):
        report = await watch_venue(desk, desk.alerts)
        # Nobody trades the other one here.
        assert list(report.markets) == [BTC]
    assert await denial(desk) == "inactive_symbol"
    change(desk, BTC, active=True)
    for _ in range(2):
        assert (await watch_venue(desk, desk.alerts)).markets == {}
    assert told(desk) == [(f"Market: {BTC}", "critical"), (f"Market: {BTC}", "info")]
    assert (await desk.want()).state is S.INITIALIZED


@in_virtual_time
async def test_a_market_that_is_gone_is_an_error_of_its_position_alone() -> None:
    half: dict[str, Any] = {"capital_share_percent": 50}
    desk = TradingDesk(
        {"one": {**holder(2, {"stop_loss_percent": 5}), **half}, "two": {**holder(1), **half, "symbols": [ETH]}}
    )
    async with desk.executing():
        desk.move(ETH, "100", closes=[100.0] * 5)
        await holding_both(desk)
        markets = dict(desk.venue.markets)
        del markets[BTC]
        desk.venue.markets = markets
        report = await watch_venue(desk, desk.alerts)
        assert "does not have this market any more" in report.markets[BTC]
        desk.move(BTC, "90")
        exits = await look(desk)
        assert list(exits.errors) == [f"one {BTC}"]
        assert exits.watched == 2


async def holding_both(desk: TradingDesk) -> None:
    desk.move(BTC, "100", closes=[100.0] * 5)
    for run in (await desk.run()).values():
        await desk.booked(run.placed[0])


@in_virtual_time
async def test_maintenance_pauses_entries_with_one_alert_and_its_end_is_told() -> None:
    desk = TradingDesk({"one": holder(2)})
    await desk.refresh()
    desk.exchange.answers["fetch_status"] = {"status": "maintenance", "eta": "2026-01-01T01:00:00Z"}
    for _ in range(3):
        report = await watch_venue(desk, desk.alerts)
        assert report.maintenance == "fake is on maintenance until 2026-01-01T01:00:00Z"
    assert await denial(desk) == "maintenance"
    # No answer is no news.
    desk.exchange.answers["fetch_status"] = ExchangeError("no answer")
    await watch_venue(desk, desk.alerts)
    assert await denial(desk) == "maintenance"
    desk.exchange.answers["fetch_status"] = OnMaintenance("system upgrade")
    assert (await watch_venue(desk, desk.alerts)).maintenance == "system upgrade"
    desk.exchange.answers["fetch_status"] = {"status": "ok"}
    assert (await watch_venue(desk, desk.alerts)).maintenance is None
    assert told(desk) == [("The venue is on maintenance", "warning"), ("The venue is open again", "info")]
    assert (await desk.want()).state is S.INITIALIZED


@in_virtual_time
async def test_what_is_held_by_hand_is_told_of_as_well_and_dust_is_not() -> None:
    """Nobody's rules close it: all the more somebody must know that its market ends."""
    desk = TradingDesk({})
    ends: datetime = START + timedelta(hours=30)
    async with desk.executing():
        for symbol in (ETH, "BTC/USD"):
            await desk.booked((await desk.want(symbol)).client_order_id)
        await desk.refresh()
        for symbol in (BTC, ETH, "BTC/USD"):
            change(desk, symbol, delists_at=ends)
        report = await watch_venue(desk, desk.alerts)
        assert sorted(report.markets) == ["BTC/USD", ETH]
        assert report.markets[ETH].endswith("; held by manual (what is held by hand is yours to close)")
        assert told(desk) == [("Market: BTC/USD", "critical"), (f"Market: {ETH}", "critical")]
        # The coin can be sold elsewhere; and less than the venue trades is nobody's business.
        desk.venue.markets = {**desk.venue.markets, "BTC/EUR": market("BTC/EUR", MarketKind.SPOT)}
        change(desk, ETH, min_quantity=Decimal(2))
        assert (await watch_venue(desk, desk.alerts)).markets == {}


@in_virtual_time
async def test_the_end_of_maintenance_is_seen_though_the_account_cannot_be_read() -> None:
    """Else every entry stays refused for as long as something quite different is wrong."""
    desk = TradingDesk({})
    await desk.refresh()
    desk.exchange.answers["fetch_status"] = {"status": "maintenance", "eta": None}
    await watch_venue(desk)
    assert await denial(desk) == "maintenance"
    desk.exchange.answers["fetch_status"] = {"status": "ok"}
    balance = desk.store.account.balance

    async def unknown(account: str) -> None:
        del account

    desk.store.account.balance = unknown  # type: ignore[assignment, method-assign]
    with pytest.raises(KontorError, match="balance is not known"):
        await watch_venue(desk)
    desk.store.account.balance = balance  # type: ignore[method-assign]
    assert (await desk.want()).state is S.INITIALIZED
