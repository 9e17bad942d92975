"""Running strategies: what each may buy, what is its own to close, and what it never takes from others."""

import asyncio
from decimal import Decimal
from typing import Any

from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState, Side
from kontor.execution.halt import halt
from kontor.strategies.hosts import DirectHost
from kontor.trading import runner
from kontor.trading.monitor import monitor_risk
from tests.fakes.desk import BTC, ETH
from tests.fakes.venue import market
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.scripted import BUYER, CLOSING, CROSSING, desk_with, strategy

D = Decimal
S = OrderState
SPOT = "BTC/USD"


@in_virtual_time
async def test_a_capital_share_bounds_positions_and_pending_entries_together() -> None:
    """10 % of 100,000 at a price of 100 is 100; 60 and 60 do not fit."""
    desk = desk_with({"one": strategy(symbols=(BTC, ETH), quantity=60)})
    run = (await desk.run())["one"]
    assert len(run.placed) == 1
    [refused] = run.refused
    assert refused.symbol == ETH
    assert refused.reason.startswith("capital_share: with it one would have 12000.00")


@in_virtual_time
async def test_while_fills_are_missing_a_symbol_is_left_out() -> None:
    """A filled order whose fills are not booked yet looks like no position: the strategy would buy again."""
    desk = desk_with({"one": strategy(CROSSING)})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
    desk.store.orders._fills.clear()
    run = {each.strategy: each for each in await runner.run_strategies(desk, host=DirectHost())}["one"]
    assert run.left_out == {BTC: "fills of its last order are not booked yet"}


@in_virtual_time
async def test_while_halted_entries_are_refused_and_closing_goes_on() -> None:
    desk = desk_with({"one": strategy(CROSSING)})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        await halt(desk.store.desk, desk.account, "lunch", actor="a person", at=desk.clock.now())
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(CROSSING, quantity=2)})
        run = (await desk.run())["one"]
        assert [each.reason for each in run.refused] == ["halted: lunch"]
        desk.reconfigure(strategies={"one": strategy(CROSSING, quantity=0)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.until_state(await desk.order(name))).state is S.FILLED
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_two_strategies_on_one_symbol_keep_their_own_positions() -> None:
    """One is long 2, the other short 1: closing the long sells 2, and the short stays."""
    desk = desk_with(
        {
            "long": strategy(CROSSING, quantity=2),
            "short": strategy(CROSSING, quantity=-1),
        }
    )
    async with desk.executing():
        for run in (await desk.run()).values():
            for name in run.placed:
                await desk.booked(name)
        assert desk.venue.holding(BTC) == 1
        await asyncio.sleep(60)
        desk.reconfigure(
            strategies={
                "long": strategy(CROSSING, quantity=0),
                "short": strategy(CROSSING, quantity=-1),
            }
        )
        runs = await desk.run()
        closed = [await desk.until_state(await desk.order(name)) for name in runs["long"].placed]
    assert {(order.reduce_only, order.filled_quantity) for order in closed} == {(True, 1), (False, 1)}
    assert desk.venue.holding(BTC) == -1


@in_virtual_time
async def test_a_part_closed_by_hand_is_not_sold_again() -> None:
    """The strategy believes in 2, a person sold 1.5: its exit sells what is there, and does not turn it around."""
    desk = desk_with({"one": strategy(CROSSING, quantity=2)})
    async with desk.executing():
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        by_hand = await desk.want(BTC, Side.SELL, "1.5", reduce_only=True)
        assert (await desk.until_state(by_hand)).state is S.FILLED, by_hand.reason
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(CROSSING, quantity=0)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.until_state(await desk.order(name))).filled_quantity == Decimal("0.5")
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_sale_on_spot_never_takes_the_coins_of_people_or_of_another_strategy() -> None:
    """A plain sell, not marked as closing: a strategy can only sell what it bought, and not twice."""
    desk = desk_with({name: strategy(symbols=(SPOT,)) for name in ("one", "two")})
    desk.move(SPOT, "100", closes=[100.0] * 10)
    async with desk.executing():
        mine = await desk.want(SPOT, quantity="5")
        await desk.booked(mine.client_order_id)
        for run in (await desk.run()).values():
            await desk.booked(run.placed[0])
        await asyncio.sleep(60)
        idle = strategy(CROSSING, symbols=(SPOT,), quantity=1)
        selling = {"symbols": (SPOT,), "side": "sell", "leg": "out"}
        desk.reconfigure(strategies={"one": strategy(**selling, quantity="0.75", count=3), "two": idle})
        run = (await desk.run())["one"]
        sold = [(await desk.booked(name)).quantity for name in run.placed]
        assert sold == [Decimal("0.75"), Decimal("0.25")]
        assert [(each.leg, each.reason) for each in run.refused] == [
            ("out-2", f"own_position: of its 1 of {SPOT} nothing is left to close")
        ]
        await asyncio.sleep(60)
        run = (await desk.run())["one"]
        assert run.placed == []
        assert run.refused[0].reason == f"own_position: one holds nothing of {SPOT} that a sell would close"
    assert desk.venue.holding(SPOT) == 6


@in_virtual_time
async def test_what_rests_to_close_is_not_closed_a_second_time() -> None:
    """On a swap too: the venue would take the second order from what another strategy holds."""
    desk = desk_with({name: strategy() for name in ("one", "two")})
    async with desk.executing():
        for run in (await desk.run()).values():
            await desk.booked(run.placed[0])
        resting = await desk.want(BTC, Side.SELL, "0.6", "150", reduce_only=True, strategy="one")
        await desk.until_state(resting, S.ACCEPTED)
        await asyncio.sleep(60)
        desk.reconfigure(strategies={"one": strategy(CLOSING), "two": strategy(enabled=False)})
        [name] = (await desk.run())["one"].placed
        assert (await desk.booked(name)).quantity == Decimal("0.4")
        # The same candle again: the same order, not another one of what is left.
        assert (await desk.run())["one"].placed == []


@in_virtual_time
async def test_entries_of_a_strategy_that_is_switched_off_are_canceled() -> None:
    desk = desk_with({"one": strategy("range_reversion", symbols=(BTC,))})
    await desk.save_range(BTC, "95", "105")
    async with desk.executing():
        run = (await desk.run())["one"]
        assert run.placed, run
        for name in run.placed:
            await desk.until_state(await desk.order(name), S.ACCEPTED)
        desk.reconfigure(strategies={"one": strategy("range_reversion", symbols=(BTC,), enabled=False)})
        await desk.run()
        for name in run.placed:
            assert (await desk.until_state(await desk.order(name))).state is S.CANCELED


@in_virtual_time
async def test_what_coins_were_bought_with_is_still_capital() -> None:
    """Half of the cash became coins: a share of the capital, and the next unit, are no smaller for it."""
    use = BUYER
    desk = desk_with({"one": strategy(use, ("BTC/USD",), quantity=500, capital_share_percent=60, leg="x")})
    desk.move("BTC/USD", "100", closes=[100.0] * 10)
    async with desk.executing():
        run = (await desk.run())["one"]
        await desk.booked(run.placed[0])
        seen: list[Any] = []
        for price in ("100", "102"):
            desk.move("BTC/USD", price)
            await desk.run()
            state = await desk.store.desk.attribute(desk.account, "strategy_state:one")
            seen.append(state and state.value)
    first, second = seen
    assert D(first["capital"]) == 60_000
    assert D(second["capital"]) == 60_600
    assert D(second["unit"]) == D(first["unit"]) * D("1.01")


@in_virtual_time
async def test_dust_that_nobody_prices_keeps_no_strategy_from_trading() -> None:
    """max_exposure cannot count it, and need not: the venue was asked and has no price for it."""
    desk = desk_with({"one": strategy()}, risk={"max_exposure": 50_000})
    desk.venue.markets = {**desk.venue.markets, "DUST/USD": market("DUST/USD", MarketKind.SPOT)}
    desk.venue.unpriced.add("DUST/USD")
    desk.venue.coins["DUST"] = D(1)
    await desk.refresh()
    assert "unpriced" in next(iter((await desk.run())["one"].denied.values()))
    await monitor_risk(desk)
    desk.move(BTC, "101", closes=[100.0] * 11)
    await desk.clock.sleep(60)
    run = (await desk.run())["one"]
    assert (len(run.placed), run.denied) == (1, {})
