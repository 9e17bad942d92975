"""A halt also ends the risk that rests already: entries at the venue are canceled, what protects or closes stays."""

from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.identity import EXTERNAL, client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side
from kontor.errors import OutcomeUnknown
from kontor.execution.halt import halt, halted, resume
from kontor.execution.reconcile import reconcile
from kontor.execution.submit import place
from kontor.trading.monitor import monitor_risk
from tests.fakes.desk import BTC, ETH, SOL
from tests.fakes.exchange import Fault
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time

S = OrderState
GRID: dict[str, Any] = {
    "use": "grid",
    "symbols": [BTC],
    "capital_share_percent": 50,
    "parameters": {"lower": 80, "upper": 120, "lines": 11},
}
LIMITS: dict[str, Any] = {"max_daily_loss": 500}


async def resting_grid(desk: TradingDesk) -> list[Order]:
    """The grid's buys, once they rest at the venue."""
    await monitor_risk(desk)
    desk.move(BTC, "100", closes=[100.0] * 5)
    placed = (await desk.run())["grid"].placed
    orders = [await desk.until_state(await desk.order(name), S.ACCEPTED) for name in placed]
    assert len(orders) >= 5
    assert {order.side for order in orders} == {Side.BUY}
    return orders


async def states(desk: TradingDesk, orders: list[Order]) -> set[OrderState]:
    return {(await desk.order(order)).state for order in orders}


@in_virtual_time
async def test_a_grid_that_rests_at_the_venue_is_canceled_when_the_days_loss_halts() -> None:
    """Five buys would go on filling while the price falls: the very thing that the limit is for."""
    desk = TradingDesk({"grid": GRID}, risk=LIMITS)
    async with desk.executing():
        orders = await resting_grid(desk)
        desk.venue.cash -= 500
        report = await monitor_risk(desk)
        assert report.halted_now
        assert sorted(report.canceled) == sorted(order.client_order_id for order in orders)
        for order in orders:
            await desk.until_state(order, S.CANCELED)
        assert desk.venue.open_orders() == []
        assert (await monitor_risk(desk)).canceled == []


@in_virtual_time
async def test_what_protects_or_closes_stays_and_so_does_what_others_placed() -> None:
    desk = TradingDesk({}, risk=LIMITS)
    desk.move(BTC, "100")
    desk.move("BTC/USD", "100")
    await desk.refresh()
    await monitor_risk(desk)
    async with desk.executing():
        for symbol in (BTC, "BTC/USD"):
            await desk.booked((await desk.want(symbol)).client_order_id)
        await desk.refresh()
        target = await desk.want(BTC, Side.SELL, "1", "105", reduce_only=True)
        sale = await desk.want("BTC/USD", Side.SELL, "1", "105")
        entry = await desk.want(SOL, Side.BUY, "1", "95")
        stop = await stop_order(desk)
        for order in (target, sale, entry, stop):
            await desk.until_state(order, S.ACCEPTED)
        theirs = OrderReport(ETH, Side.BUY, OrderType.LIMIT, S.ACCEPTED, Decimal(1), Decimal(0), "77", desk.clock.now())
        desk.venue.put(theirs)
        await reconcile(desk)
        assert [order.strategy for order in await desk.store.orders.find(desk.account, symbol=ETH)] == [EXTERNAL]
        desk.venue.cash -= 600
        report = await monitor_risk(desk)
        assert report.canceled == [entry.client_order_id]
        await desk.until_state(entry, S.CANCELED)
        await desk.clock.sleep(60)
        assert await states(desk, [target, sale, stop]) == {S.ACCEPTED}
        assert "77" in {report.venue_order_id for report in desk.venue.open_orders()}


async def stop_order(desk: TradingDesk) -> Order:
    intent = OrderIntent(BTC, Side.SELL, OrderType.STOP, Decimal(1), trigger_price=Decimal(90), reduce_only=True)
    return await place(desk, intent, client_order_id=client_order_id("desk", "stop"), actor="test")


@in_virtual_time
async def test_an_entry_that_was_unknown_when_trading_halted_is_canceled_once_it_is_found() -> None:
    """Its cancel is asked for again with every look, whatever the look itself comes to."""
    desk = TradingDesk({}, risk=LIMITS)
    desk.move(BTC, "100")
    await desk.refresh()
    await monitor_risk(desk)
    desk.exchange.faults["create"].append(Fault.LATE)
    async with desk.executing():
        entry = await desk.want(BTC, Side.BUY, "1", "95")
        await desk.until_state(entry, S.SUBMITTED)
        desk.venue.cash -= 500
        assert (await monitor_risk(desk)).halted_now
        await desk.until_state(entry, S.CANCELED)
    assert desk.venue.open_orders() == []


@in_virtual_time
async def test_entries_are_canceled_while_halted_also_when_the_look_at_the_account_fails() -> None:
    """An order may come to light after the halt, and on that day the venue may be slow to tell the balance."""
    desk = TradingDesk({}, risk=LIMITS)
    desk.move(BTC, "100")
    await desk.refresh()
    await monitor_risk(desk)
    async with desk.executing():
        entry = await desk.want(BTC, Side.BUY, "1", "95")
        await desk.until_state(entry, S.ACCEPTED)
        await halt(desk.store.desk, desk.account, "lost", actor="monitor-risk", at=desk.clock.now(), cancels=True)
        desk.exchange.faults["balance"].append(Fault.DROPPED_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await monitor_risk(desk)
        await desk.until_state(entry, S.CANCELED)


@in_virtual_time
async def test_a_halt_by_hand_leaves_what_rests_when_it_was_told_to() -> None:
    desk = TradingDesk({"grid": GRID}, risk=LIMITS)
    async with desk.executing():
        orders = await resting_grid(desk)
        await halt(desk.store.desk, desk.account, "lunch", actor="a person", at=desk.clock.now())
        assert (await monitor_risk(desk)).canceled == []
        assert await states(desk, orders) == {S.ACCEPTED}
        # A limit that breaks meanwhile is another matter; the first reason stays.
        desk.venue.cash -= 500
        report = await monitor_risk(desk)
        assert len(report.canceled) == len(orders)
        known = await halted(desk.store.desk, desk.account)
        assert known is not None
        assert (known.reason, known.actor, known.cancels) == ("lunch", "a person", True)


@in_virtual_time
async def test_a_halt_that_ends_by_itself_gives_way_to_one_that_only_a_person_ends() -> None:
    """The clock is right again: that must not end the halt of a person, or of a limit."""
    desk = TradingDesk({}, risk=LIMITS)
    await monitor_risk(desk)
    for passing in ("clock check", "shutdown"):
        state, now = desk.store.desk, desk.clock.now()
        await halt(state, desk.account, "for a while", actor=passing, at=now)
        await halt(state, desk.account, "also this", actor="clock check", at=now)
        known = await halted(state, desk.account)
        assert known is not None
        assert known.reason == "for a while"
        desk.venue.cash -= 500
        assert (await monitor_risk(desk)).halted_now
        known = await halted(state, desk.account)
        assert known is not None
        assert known.actor == "monitor-risk"
        await resume(state, desk.account, actor="a person", at=now)
        desk.venue.cash += 500
