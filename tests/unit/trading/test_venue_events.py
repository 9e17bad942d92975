"""What the venue does of itself: delisting, suspension, maintenance. No entries, told once, exits by a deadline."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kontor.domain.order import OrderState
from kontor.errors import ExchangeError, OnMaintenance
from kontor.trading.venue_events import watch_venue
from tests.fakes.desk import BTC, ETH
from tests.fakes.trading import TradingDesk
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
