"""Protective stops: held by the venue, of the position's size, never doubled, never missing while one is replaced."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.execution.quiesce import quiesce
from kontor.execution.reconcile import reconcile
from kontor.trading.exits import check_exits
from kontor.trading.stop_keeper import UNPROTECTED, StopKeeper
from kontor.trading.stops import StopReport, keep_stops
from tests.fakes.desk import BTC
from tests.fakes.exchange import AMBIGUOUS, PROFILE, Fault
from tests.fakes.trading import TradingDesk
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.test_exits import holder, holding, look

KEY = f"one {BTC}"
S = OrderState


async def kept(desk: TradingDesk) -> StopReport:
    await desk.refresh()
    return await keep_stops(desk)


def standing(desk: TradingDesk) -> list[tuple[Decimal, Decimal | None]]:
    """The stops at the venue itself: quantity and trigger."""
    return [(o.quantity, o.trigger_price) for o in desk.venue.open_orders() if o.order_type is OrderType.STOP]


async def settled(desk: TradingDesk, stops: list[tuple[Decimal, Decimal]]) -> None:
    """Keep the stops until the venue has exactly these."""

    async def holds() -> bool:
        await kept(desk)
        return standing(desk) == stops

    await desk.until(holds)


async def all_stops(desk: TradingDesk) -> list[Order]:
    found = await desk.store.orders.find(desk.account, limit=100)
    return [order for order in found if order.is_stop][::-1]


@pytest.mark.parametrize(
    ("quantity", "exits", "trigger"),
    [(2, {"stop_loss_percent": 5}, "95"), (-2, {"stop_loss_percent": 5}, "105"), (2, {}, "80"), (-2, {}, "120")],
)
def test_a_position_gets_a_stop_at_the_venue_where_its_rules_want_it(
    quantity: int, exits: dict[str, Any], trigger: str
) -> None:
    """A strategy that names no stop gets the desk's."""

    @in_virtual_time
    async def run() -> None:
        desk = TradingDesk({"one": holder(quantity, exits)})
        async with desk.executing():
            await holding(desk)
            await settled(desk, [(Decimal(2), Decimal(trigger))])
            [stop] = await all_stops(desk)
            side = Side.SELL if quantity > 0 else Side.BUY
            assert (stop.side, stop.reduce_only, stop.strategy, stop.state) == (side, True, "one", S.ACCEPTED)
            report = await kept(desk)
            assert report.protected == {KEY: f"2 at {trigger}"}
            assert (report.placed, report.canceled, report.unprotected) == ([], [], {})

    run()


@in_virtual_time
async def test_a_stop_follows_each_partial_fill_and_the_old_one_goes_when_the_new_one_stands() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        more = await desk.want(BTC, Side.BUY, "3", "100", strategy="one")
        placed = await desk.until_state(more, S.ACCEPTED)
        protected: list[Decimal] = []
        desk.exchange.before_answer = lambda _: protected.append(max(q for q, _ in standing(desk)))
        for part, whole in (("1", 3), ("2", 5)):
            desk.venue.fill(str(placed.venue_order_id), Decimal(part), desk.clock.now())
            await settled(desk, [(Decimal(whole), Decimal(95))])
        # At no moment was there less at the venue than before.
        assert protected == sorted(protected)
        assert protected[0] == 2
        await desk.agree()


@in_virtual_time
async def test_each_of_several_quick_fills_and_the_trail_are_followed_within_a_second_and_no_alert() -> None:
    """A stop that stands, or was replaced because it no longer fits, is no refusal that would have to be waited for."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5, "trailing_percent": 5})})
    async with desk.executing():
        keeper = asyncio.create_task(StopKeeper(desk, desk.alerts).run())
        await holding(desk)
        more = await desk.want(BTC, Side.BUY, "5", "100", strategy="one")
        placed = await desk.until_state(more, S.ACCEPTED)
        for whole in range(3, 8):
            desk.venue.fill(str(placed.venue_order_id), Decimal(1), desk.clock.now())
            await desk.refresh()
            await asyncio.sleep(1)
            assert (Decimal(whole), Decimal(95)) in standing(desk)
        for price, trigger in (("120", "114"), ("130", "123.5"), ("140", "133")):
            desk.move(BTC, price)
            await look(desk)
            await asyncio.sleep(1)
            assert standing(desk)[-1] == (Decimal(7), Decimal(trigger))
        await asyncio.sleep(1)
        assert standing(desk) == [(Decimal(7), Decimal(133))]
        assert desk.alerts.sent == []
        keeper.cancel()


@in_virtual_time
async def test_refusals_are_counted_since_a_stop_stood_last() -> None:
    """Each refusal in a row doubles the pause; one that stood in between begins anew."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        for _ in range(2):
            desk.exchange.script("create", Fault.REJECTED, Fault.REJECTED)
            before = desk.clock.now()
            await settled(desk, [(Decimal(2), Decimal(95))])
            assert 30 <= (desk.clock.now() - before).total_seconds() < 32
            [stop] = [stop for stop in await all_stops(desk) if stop.state is S.ACCEPTED]
            await desk.exchange.cancel_order(BTC, venue_order_id=stop.venue_order_id, stop=True)
            await desk.refresh()
        await settled(desk, [(Decimal(2), Decimal(95))])


@in_virtual_time
async def test_the_stop_fires_without_the_desk_and_the_restarted_desk_books_it() -> None:
    """Everything of ours is dead; the venue closes, and under an id that we have never seen."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
    [fill] = desk.venue.trade_at(BTC, Decimal("94.5"), desk.clock.now())
    async with desk.executing("after a restart"):
        report = await reconcile(desk)
        assert (report.adopted, report.outside, report.drift) == ([], (), ())
        [stop] = await all_stops(desk)
        assert (stop.state, stop.filled_quantity, stop.average_price) == (S.FILLED, 2, Decimal("94.5"))
        assert stop.venue_order_id == fill.venue_order_id
        assert (await kept(desk)).placed == []
        assert (await look(desk)).watched == 0
        await desk.agree()
    assert desk.venue.holding(BTC) == 0


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_stop_of_unknown_outcome_is_looked_up_and_never_doubled(fault: Fault) -> None:
    @in_virtual_time
    async def run() -> None:
        desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
        async with desk.executing():
            await holding(desk)
            desk.exchange.script("create", fault)
            await kept(desk)
            [stop] = await all_stops(desk)
            await desk.until_state(stop, S.ACCEPTED)
            await settled(desk, [(Decimal(2), Decimal(95))])
            assert len(await all_stops(desk)) == 1
            await desk.agree()

    run()


@in_virtual_time
async def test_two_processes_that_keep_the_stops_place_one() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await desk.refresh()
        await asyncio.gather(keep_stops(desk), keep_stops(desk), keep_stops(desk))
        await settled(desk, [(Decimal(2), Decimal(95))])
        assert len(await all_stops(desk)) == 1


@in_virtual_time
async def test_a_trailing_stop_only_comes_nearer() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 10, "trailing_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        for price, trigger in (("120", "114"), ("118", "114"), ("120.4", "114"), ("140", "133")):
            desk.move(BTC, price)
            await look(desk)
            await settled(desk, [(Decimal(2), Decimal(trigger))])


@in_virtual_time
async def test_the_stop_goes_when_the_position_is_closed_and_shrinks_with_it() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        part = await desk.want(BTC, Side.SELL, "0.5", reduce_only=True)
        await desk.booked(part.client_order_id)
        await settled(desk, [(Decimal("1.5"), Decimal(95))])
        rest = await desk.want(BTC, Side.SELL, "1.5", reduce_only=True, strategy="one")
        await desk.booked(rest.client_order_id)
        await settled(desk, [])


@in_virtual_time
async def test_one_snapshot_that_does_not_show_the_position_yet_takes_no_stop_away() -> None:
    """A fill is told before the position that it makes; the snapshot in between says that nothing is held."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        for _ in range(3):
            at = desk.clock.now()
            await desk.store.account.save_positions(desk.account, [], at)
            report = await keep_stops(desk)
            assert (report.canceled, report.placed, report.unprotected) == ([], [], {})
            # Even later, and again: the venue is asked, and has it.
            await asyncio.sleep(2)
        assert standing(desk) == [(Decimal(2), Decimal(95))]
        desk.exchange.script("positions", Fault.NO_CONNECTION)
        await desk.store.account.save_positions(desk.account, [], desk.clock.now())
        await keep_stops(desk)
        await asyncio.sleep(2)
        assert (await keep_stops(desk)).canceled == []


@in_virtual_time
async def test_a_position_that_the_venue_shows_later_than_its_fill_is_protected_as_soon_as_it_does() -> None:
    """Nothing happens to orders or fills when the position comes at last: the keeper looks again by itself."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        keeper = asyncio.create_task(StopKeeper(desk, desk.alerts).run())
        desk.move(BTC, "100", closes=[100.0] * 5)
        [name] = (await desk.run())["one"].placed
        await desk.until_state(await desk.order(name), S.FILLED)
        # The stream has stored positions since, for another symbol: this one is not among them.
        await desk.refresh()
        await desk.store.account.save_positions(desk.account, [], desk.clock.now())
        await asyncio.sleep(0.5)
        assert standing(desk) == []
        await desk.store.account.save_positions(desk.account, await desk.exchange.fetch_positions(), desk.clock.now())
        await asyncio.sleep(1.5)
        assert standing(desk) == [(Decimal(2), Decimal(95))]
        assert desk.alerts.sent == []
        keeper.cancel()


@in_virtual_time
async def test_an_exit_leaves_a_reached_stop_to_the_venue_and_closes_when_that_does_nothing() -> None:
    """Two orders at one price would close twice what two strategies hold together."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        desk.move(BTC, "94")
        first = await look(desk)
        assert (list(first.closing), first.orders) == ([KEY], [])
        await asyncio.sleep(11)
        [name] = (await look(desk)).orders
        await desk.booked(name)
        assert standing(desk) == []
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_a_stop_beyond_the_price_is_not_sent_and_the_exit_closes() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        desk.move(BTC, "94")
        report = await kept(desk)
        assert "beyond 95 already" in report.unprotected[KEY]
        assert await all_stops(desk) == []
        [name] = (await check_exits(desk)).orders
        await desk.booked(name)


@in_virtual_time
async def test_a_refused_stop_is_told_once_and_tried_again_after_a_pause() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        desk.exchange.script("create", Fault.REJECTED)
        keeper = StopKeeper(desk, desk.alerts)
        work = asyncio.create_task(keeper.run())
        await asyncio.sleep(5)
        assert [alert.event for alert in desk.alerts.sent] == ["stop.missing"]
        assert standing(desk) == []
        await desk.until(lambda: _stands(desk))
        work.cancel()
        assert len(desk.alerts.sent) == 1
        stored = await desk.store.desk.attribute(desk.account, UNPROTECTED)
        assert stored is not None
        assert stored.value == {}


async def _stands(desk: TradingDesk) -> bool:
    await desk.refresh()
    return standing(desk) == [(Decimal(2), Decimal(95))]


@in_virtual_time
async def test_the_keeper_protects_a_fill_within_a_second() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        keeper = asyncio.create_task(StopKeeper(desk, desk.alerts).run())
        await holding(desk)
        await asyncio.sleep(1)
        assert standing(desk) == [(Decimal(2), Decimal(95))]
        keeper.cancel()


@in_virtual_time
async def test_a_shutdown_cancels_everything_but_the_stops() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        entry = await desk.want(BTC, Side.BUY, "1", "90")
        await desk.until_state(entry, S.ACCEPTED)
        for _ in range(2):
            report = await quiesce(desk, cancel_orders=True, seconds=5)
            assert report.problems == []
        assert (await desk.order(entry)).state is S.CANCELED
        assert standing(desk) == [(Decimal(2), Decimal(95))]


@in_virtual_time
async def test_strategies_do_not_see_the_stops_and_exits_are_not_held_up_by_them() -> None:
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5, "take_profit_percent": 10})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        desk.move(BTC, "110", closes=[100.0] * 5)
        assert (await desk.run())["one"].error is None
        [name] = (await look(desk)).orders
        order = await desk.booked(name)
        assert (order.order_type, order.quantity) == (OrderType.MARKET, 2)
        await settled(desk, [])


@in_virtual_time
async def test_where_the_venue_holds_no_stops_the_operator_must_have_accepted_that() -> None:
    desk = TradingDesk({"one": holder(2)})
    desk.exchange.profile = replace(PROFILE, stop_orders=False)
    async with desk.executing():
        desk.move(BTC, "100", closes=[100.0] * 5)
        run = (await desk.run())["one"]
        assert run.placed == []
        assert "without_venue_stops: accept" in run.refused[0].reason
        desk.reconfigure(protection={"without_venue_stops": "accept"})
        [name] = (await desk.run())["one"].placed
        await desk.booked(name)
        report = await kept(desk)
        assert report.unprotected == {KEY: "fake holds no stop orders that this desk can use"}
        assert report.placed == []
