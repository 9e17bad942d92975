"""Exits: each rule closes, once, what the strategy holds; across restarts, by-hand trades and refusals."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.order import OrderState, Side
from kontor.execution.halt import halt
from kontor.execution.reconcile import reconcile
from kontor.trading.exits import check_exits
from tests.fakes.desk import BTC
from tests.fakes.exchange import Fault
from tests.fakes.trading import TradingDesk
from tests.fakes.venue import LockingVenue
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.scripted import CROSSING

S, D = OrderState, Decimal
SPOT = "BTC/USD"


def holder(quantity: int = 2, exits: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"use": CROSSING, "symbols": [BTC], "parameters": {"quantity": quantity}, "exits": exits or {}}


async def holding(desk: TradingDesk, symbol: str = BTC) -> None:
    """Let the strategy open its position."""
    desk.move(symbol, "100", closes=[100.0] * 5)
    [name] = (await desk.run())["one"].placed
    await desk.booked(name)


async def look(desk: TradingDesk) -> Any:
    await desk.refresh()
    return await check_exits(desk)


CASES: list[tuple[int, dict[str, Any], list[str], str]] = [
    (2, {"stop_loss_percent": 5}, ["96", "95"], "stop loss: 95 is 5.00 % against the entry 100"),
    (-2, {"stop_loss_percent": 5}, ["104", "105"], "stop loss: 105 is 5.00 % against the entry 100"),
    (2, {"take_profit_percent": 10}, ["109", "110"], "take profit: 110 is 10.00 %"),
    (2, {"trailing_percent": 5}, ["120", "115", "114"], "trailing stop: 114 is 5.00 % back from the best price 120"),
    (-2, {"trailing_percent": 5}, ["80", "83", "84"], "trailing stop: 84 is 5.00 % back from the best price 80"),
]


@pytest.mark.parametrize(("quantity", "exits", "prices", "reason"), CASES)
def test_a_rule_closes_the_position_at_its_price_and_not_before(
    quantity: int, exits: dict[str, Any], prices: list[str], reason: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = TradingDesk({"one": holder(quantity, exits)})
        async with desk.executing():
            await holding(desk)
            for price in prices[:-1]:
                desk.move(BTC, price)
                assert (await look(desk)).closing == {}
            desk.move(BTC, prices[-1])
            report = await look(desk)
            assert report.closing[f"one {BTC}"].startswith(reason)
            [name] = report.orders
            order = await desk.booked(name)
            assert (order.reduce_only, order.strategy, order.quantity) == (True, "one", 2)
            again = await look(desk)
            assert (again.watched, again.orders) == (0, [])
        assert desk.venue.holding(BTC) == 0

    run()


@pytest.mark.parametrize(("mine", "quantity", "end"), [("0", "2", S.CANCELED), ("2", "2", S.ACCEPTED)])
def test_a_target_by_hand_does_not_keep_a_stop_loss_from_closing(mine: str, quantity: str, end: OrderState) -> None:
    """It stood for the strategy's position, and the exit was denied for as long; one for what people hold stays."""

    @in_virtual_time
    async def run() -> None:
        desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
        async with desk.executing():
            await holding(desk)
            if D(mine):
                await desk.booked((await desk.want(BTC, Side.BUY, mine)).client_order_id)
                await desk.refresh()
            target = await desk.want(BTC, Side.SELL, quantity, "110", reduce_only=True)
            await desk.until_state(target, S.ACCEPTED)
            desk.move(BTC, "94")
            report = await look(desk)
            assert report.errors == {}
            await desk.booked(report.orders[0])
            assert (await desk.order(target)).state is end
        assert desk.venue.holding(BTC) == D(mine)

    run()


@in_virtual_time
async def test_coins_that_a_target_by_hand_locks_are_sold_by_the_stop_loss() -> None:
    """Nothing was free, so the exit had nothing to do and its decision was forgotten."""
    desk = TradingDesk({"one": {**holder(2, {"stop_loss_percent": 5}), "symbols": [SPOT]}})
    desk.venue = desk.exchange.venue = LockingVenue()
    async with desk.executing():
        await holding(desk, SPOT)
        target = await desk.until_state(await desk.want(SPOT, Side.SELL, "2", "110"), S.ACCEPTED)
        desk.move(SPOT, "94")
        report = await look(desk)
        assert (report.errors, list(report.closing)) == ({}, [f"one {SPOT}"])
        assert (await desk.order(target)).state is S.CANCELED
        # The decision stands though the price comes back.
        desk.move(SPOT, "99")
        report = await look(desk)
        await desk.booked(report.orders[0])
    assert desk.venue.holding(SPOT) == 0


@in_virtual_time
async def test_a_time_stop_closes_an_old_position() -> None:
    desk = TradingDesk({"one": holder(exits={"max_hours": 1})})
    async with desk.executing():
        await holding(desk)
        assert (await look(desk)).closing == {}
        await asyncio.sleep(3600)
        assert (await look(desk)).closing[f"one {BTC}"].startswith("time stop: open since 2026-01-01 00:00")


@in_virtual_time
async def test_a_decided_exit_is_carried_out_once_whatever_the_price_does_and_whoever_looks() -> None:
    """Two looks before the executor has sent anything, and a restart in between: one order."""
    desk = TradingDesk({"one": holder(exits={"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
    desk.move(BTC, "90")
    first = await look(desk)
    desk.move(BTC, "100")
    second = await look(desk)
    assert len(first.orders) == 1
    assert (second.orders, list(second.closing)) == ([], [f"one {BTC}"])
    async with desk.executing("after a restart"):
        await desk.booked(first.orders[0])
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_refused_exit_is_tried_again_after_a_pause() -> None:
    desk = TradingDesk({"one": holder(exits={"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        desk.move(BTC, "90")
        desk.exchange.script("create", Fault.REJECTED)
        [name] = (await look(desk)).orders
        assert (await desk.until_state(await desk.order(name))).state is S.REJECTED
        assert (await look(desk)).orders == []
        await asyncio.sleep(10)
        [name] = (await look(desk)).orders
        await desk.booked(name)
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_part_sold_by_hand_is_not_sold_again_and_nothing_of_it_is_left() -> None:
    desk = TradingDesk({"one": holder(exits={"stop_loss_percent": 5})})
    async with desk.executing():
        await reconcile(desk)
        await holding(desk)
        by_hand = await desk.want(BTC, Side.SELL, "1.5", reduce_only=True)
        await desk.booked(by_hand.client_order_id)
        desk.move(BTC, "90")
        [name] = (await look(desk)).orders
        assert (await desk.booked(name)).quantity == Decimal("0.5")
        report = await look(desk)
        assert (report.watched, report.orders, report.residue) == (0, [], {})
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_resting_orders_are_canceled_before_the_exit() -> None:
    """A closing limit order that rests would close the position a second time."""
    desk = TradingDesk({"one": holder(exits={"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        resting = await desk.want(BTC, Side.SELL, "2", "120", reduce_only=True, strategy="one")
        await desk.until_state(resting, S.ACCEPTED)
        desk.move(BTC, "90")
        [name] = (await look(desk)).orders
        assert (await desk.booked(name)).quantity == 2
        assert (await desk.order(resting)).state is S.CANCELED
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_slow_cancels_of_many_positions_delay_nobody_and_a_look_that_is_ended_forgets_nothing() -> None:
    """Each waits up to four seconds for its resting orders; the flow has ten in all."""
    names = ("one", "two", "three", "four")
    share = {"capital_share_percent": 20}
    desk = TradingDesk({name: {**holder(exits={"stop_loss_percent": 5}), **share} for name in names})
    desk.move(BTC, "100", closes=[100.0] * 5)
    async with desk.executing():
        for run in (await desk.run()).values():
            await desk.booked(run.placed[0])
        for name in names:
            resting = await desk.want(BTC, Side.SELL, "2", "120", reduce_only=True, strategy=name)
            await desk.until_state(resting, S.ACCEPTED)
    # Nobody carries the cancels out: every one is waited for in vain.
    desk.move(BTC, "90")
    await desk.refresh()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await check_exits(desk)
    desk.move(BTC, "100")
    await desk.refresh()
    begin = desk.clock.now()
    report = await check_exits(desk)
    assert (desk.clock.now() - begin).total_seconds() < 5
    assert sorted(report.closing) == sorted(f"{name} {BTC}" for name in names)
    async with desk.executing():
        await asyncio.sleep(10)
        await look(desk)
        await desk.until(lambda: _flat(desk))


async def _flat(desk: TradingDesk) -> bool:
    await look(desk)
    return desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_exits_wait_neither_for_prices_nor_for_a_gate_that_somebody_holds() -> None:
    desk = TradingDesk({"one": holder(exits={"max_hours": 1})})
    async with desk.executing():
        await holding(desk)
        await asyncio.sleep(3700)
        desk.exchange.script("tickers", *[Fault.HANG_BEFORE] * 4)
        begin = desk.clock.now()
        [name] = (await check_exits(desk)).orders
        assert (desk.clock.now() - begin).total_seconds() < 8
        await desk.booked(name)


@in_virtual_time
async def test_a_removed_strategy_keeps_its_exits_and_a_halt_does_not_stop_them() -> None:
    desk = TradingDesk({"one": holder(exits={"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        desk.reconfigure(strategies={})
        await halt(desk.store.desk, desk.account, "lunch", actor="a person", at=desk.clock.now())
        desk.move(BTC, "90")
        [name] = (await look(desk)).orders
        await desk.booked(name)
    assert desk.venue.holding(BTC) == 0
