"""People and the venue close what strategies hold: no phantom of it is left, no exit touches what is not its own."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.account import CurrencyBalance
from kontor.domain.fill import FillCause
from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Side
from kontor.execution.closing import close_position
from kontor.execution.reconcile import reconcile
from kontor.trading.books import load_books
from kontor.trading.exits import WATCH
from kontor.trading.positions import new_attributions
from kontor.trading.stops import keep_stops
from tests.fakes.desk import BTC, ETH
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.execution.test_outside import by_hand
from tests.unit.trading.test_exits import holder, look
from tests.unit.trading.test_stops import standing

LOSS = {"stop_loss_percent": 5}


def desk_of(**quantities: int) -> TradingDesk:
    return TradingDesk(
        {name: {**holder(quantity, LOSS), "capital_share_percent": 40} for name, quantity in quantities.items()}
    )


async def open_all(desk: TradingDesk) -> None:
    """The desk starts, is reconciled, and each strategy opens its position."""
    await reconcile(desk)
    desk.move(BTC, "100", closes=[100.0] * 5)
    for run in (await desk.run()).values():
        for name in run.placed:
            await desk.booked(name)


async def held(desk: TradingDesk) -> dict[str, Decimal]:
    """Who holds how much of BTC, people included; asserts that it sums to the venue's."""
    await desk.refresh()
    books = await load_books(desk)
    found = {name: each.quantity for (name, symbol), each in books.positions.items() if symbol == BTC and each.is_open}
    left = books.by_hand().get(BTC)
    found |= {"by hand": left} if left else {}
    assert sum(found.values(), Decimal(0)) == desk.venue.holding(BTC)
    return found


async def watched(desk: TradingDesk) -> Any:
    stored = await desk.store.desk.attribute(desk.account, WATCH)
    assert stored is not None
    return stored.value


@in_virtual_time
async def test_an_exit_of_a_position_that_was_closed_by_hand_does_not_sell_what_somebody_buys_later() -> None:
    """The strategy's exit is decided; a person closes at the venue, and then buys for themselves."""
    desk = desk_of(one=1)
    async with desk.executing():
        await open_all(desk)
        by_hand(desk, "h1", "-1")
        desk.move(BTC, "90")
        report = await look(desk)
        assert (list(report.closing), report.orders) == ([f"one {BTC}"], [])
        # Nothing is held, so nothing stays decided.
        assert "reason" not in (await watched(desk))[f"one {BTC}"]
        await reconcile(desk)
        mine = await desk.want(BTC, Side.BUY, "1")
        await desk.booked(mine.client_order_id)
        report = await look(desk)
        assert (report.watched, report.closing, report.orders, report.residue) == (0, {}, [], {})
        assert await watched(desk) == {}
        assert await held(desk) == {"by hand": Decimal(1)}


@in_virtual_time
async def test_a_reduction_by_hand_takes_what_people_hold_first_and_then_the_strategies_pro_rata() -> None:
    desk = desk_of(one=1, two=2)
    async with desk.executing():
        await open_all(desk)
        mine = await desk.want(BTC, Side.BUY, "0.5")
        await desk.booked(mine.client_order_id)
        assert await held(desk) == {"one": 1, "two": 2, "by hand": Decimal("0.5")}
        by_hand(desk, "h1", "-0.4")
        await reconcile(desk)
        assert await held(desk) == {"one": 1, "two": 2, "by hand": Decimal("0.1")}
        by_hand(desk, "h2", "-1")
        await reconcile(desk)
        assert await held(desk) == {"one": Decimal("0.7"), "two": Decimal("1.4")}
        told = [(each.strategy, each.quantity) for each in await new_attributions(desk)]
        assert told == [("one", Decimal("-0.3")), ("two", Decimal("-0.6"))]
        assert await new_attributions(desk) == []


@in_virtual_time
async def test_close_position_leaves_no_strategy_with_a_position_and_no_stop() -> None:
    """Two strategies, one of them on the other side: closed is closed for both, and they can begin anew."""
    desk = desk_of(one=3, two=-1)
    async with desk.executing():
        await open_all(desk)
        await held(desk)
        await keep_stops(desk)
        await close_position(desk, BTC, client_order_id="c" * 32, actor="ada")
        await desk.booked("c" * 32)
        assert await held(desk) == {}
        assert {each.source_id for each in await new_attributions(desk)} == {f"fill:{BTC}:t3"}

        async def gone() -> bool:
            await desk.refresh()
            await keep_stops(desk)
            return standing(desk) == []

        await desk.until(gone)
        desk.move(BTC, "50")
        report = await look(desk)
        assert (report.watched, report.orders) == (0, [])


@pytest.mark.parametrize("cause", [FillCause.LIQUIDATION, FillCause.AUTO_DELEVERAGING])
def test_what_the_venue_closes_itself_is_the_strategys(cause: FillCause) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = desk_of(one=2)
        async with desk.executing():
            await open_all(desk)
            by_hand(desk, "liq", "-1.5", cause=cause)
            await reconcile(desk)
            assert await held(desk) == {"one": Decimal("0.5")}

    run()


@in_virtual_time
async def test_a_position_that_vanishes_without_a_trade_is_the_strategys_as_well() -> None:
    """As after a delisting at venues that settle without a fill: the reconciliation books what nothing explains."""
    desk = desk_of(one=2)
    async with desk.executing():
        await open_all(desk)
        kept = list(desk.venue.fills)
        desk.venue.fills.clear()
        report = await reconcile(desk)
        assert [(drift.name, drift.difference) for drift in report.drift] == [(BTC, Decimal(-2))]
        await desk.refresh()
        assert not (await load_books(desk)).position("one", BTC).is_open
        # It was the venue's mistake: what comes back belongs to nobody's rules.
        desk.venue.fills.extend(kept)
        await reconcile(desk)
        assert await held(desk) == {"by hand": Decimal(2)}


@in_virtual_time
async def test_what_was_there_before_the_desk_is_peoples_also_when_they_sell_it() -> None:
    desk = desk_of(one=1)
    by_hand(desk, "before", "3")
    async with desk.executing():
        await open_all(desk)
        assert await held(desk) == {"one": Decimal(1), "by hand": Decimal(3)}
        by_hand(desk, "h1", "-2")
        await reconcile(desk)
        assert await held(desk) == {"one": Decimal(1), "by hand": Decimal(1)}


@in_virtual_time
async def test_while_nobody_knows_whose_a_fill_is_no_position_of_its_symbol_is_touched() -> None:
    """The stream tells a fill under an id of the venue's own: it may be our stop that fired, so it is asked for."""
    desk = desk_of(one=2)
    async with desk.executing():
        await open_all(desk)
        fill = by_hand(desk, "h1", "-1")
        await desk.store.orders.save_fills(desk.account, [replace(fill, client_order_id=None)])
        await desk.refresh()
        assert (await load_books(desk)).unsettled == {("one", BTC)}
        report = await keep_stops(desk)
        assert (report.placed, report.unprotected) == ([], {})
        desk.move(BTC, "90")
        [name] = (await look(desk)).orders
        [adopted] = [each for each in await desk.store.orders.find(desk.account) if each.strategy == EXTERNAL]
        assert adopted.filled_quantity == 1
        # Its own half, and not what was sold by hand already.
        assert (await desk.booked(name)).quantity == 1
        assert await held(desk) == {}


@in_virtual_time
async def test_a_fill_whose_order_nobody_knows_counts_as_somebody_elses_after_a_minute() -> None:
    """Exits cannot wait for ever to hear whose it was."""
    desk = desk_of(one=2)
    async with desk.executing():
        await open_all(desk)
        fill = replace(by_hand(desk, "h1", "-1"), client_order_id=None)
        del desk.venue.orders["h1"]
        await desk.store.orders.save_fills(desk.account, [fill])
        desk.move(BTC, "90")
        assert (await look(desk)).orders == []
        await asyncio.sleep(61)
        [name] = (await look(desk)).orders
        assert (await desk.booked(name)).quantity == 1
        assert await held(desk) == {}


@in_virtual_time
async def test_coins_that_were_withdrawn_are_not_sold_from_what_others_bring_later() -> None:
    spot = "BTC/USD"
    desk = TradingDesk({"one": {**holder(2, LOSS), "symbols": [spot]}})
    async with desk.executing():
        await reconcile(desk)
        desk.move(spot, "100", closes=[100.0] * 5)
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        balance = desk.venue.balance

        def after(coins: str) -> None:
            coin = CurrencyBalance(Decimal(coins), Decimal(0), Decimal(coins))
            desk.venue.balance = lambda at: replace(balance(at), currencies={**balance(at).currencies, "BTC": coin})

        after("0.5")
        await reconcile(desk)
        after("5.5")
        await reconcile(desk)
        await desk.refresh()
        books = await load_books(desk)
        assert books.position("one", spot).quantity == Decimal("0.5")
        assert books.by_hand()["BTC"] == 5
        assert books.by_hand().get(ETH) is None
        desk.move(spot, "90")
        [exit_name] = (await look(desk)).orders
        assert (await desk.booked(exit_name)).quantity == Decimal("0.5")
