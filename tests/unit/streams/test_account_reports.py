"""No report of the account is lost, and no snapshot claims to be newer than what it contains."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from kontor.domain.account import Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderState
from kontor.execution.collect import is_short_of_fills
from kontor.execution.journal import Journal
from kontor.streams.account import LAG, AccountStreamer
from kontor.streams.freshness import load_channels
from tests.fakes.desk import ACCOUNT, BTC, ETH
from tests.fakes.exchange import Fault
from tests.fakes.telling import ToldDesk
from tests.fakes.virtual_time import in_virtual_time

CHANNELS = ("orders", "fills", "positions", "balance")


async def resting(desk: ToldDesk) -> tuple[Order, str]:
    """An order of ours that rests at the venue, and the venue's id of it."""
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), OrderState.ACCEPTED)
    assert order.venue_order_id is not None
    return order, order.venue_order_id


def position(desk: ToldDesk, symbol: str) -> Position:
    return Position(symbol, PositionSide.LONG, Decimal(1), Decimal(100), None, None, None, None, None, desk.clock.now())


@in_virtual_time
async def test_a_report_that_cannot_be_stored_is_asked_for_at_once() -> None:
    """The venue tells it once. A minute until somebody looks is a minute with a stop that is not there."""
    desk = ToldDesk(*CHANNELS)
    order, venue_id = await resting(desk)
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        fill = desk.venue.fill(venue_id, Decimal(1), desk.clock.now())
        with desk.store_fails("orders", "record"), desk.store_fails("orders", "save_fills"):
            desk.streams.tell("orders", [desk.venue.orders[venue_id]])
            desk.streams.tell("fills", [fill])
            await desk.clock.sleep(1)
            assert not await desk.is_fresh("orders")
        await desk.clock.sleep(4)
        assert (await desk.order(order)).state is OrderState.FILLED
        await desk.until(lambda: desk.is_fresh(*CHANNELS), seconds=5)
        await desk.agree()


@in_virtual_time
async def test_open_orders_by_rest_are_as_old_as_the_question() -> None:
    """An order sent while the answer is under way is missing from it; tracking would take it for gone."""
    desk = ToldDesk(*CHANNELS)
    await resting(desk)
    desk.exchange.latency = 3.0
    async with desk.streaming(AccountStreamer):
        began = desk.clock.now()

        async def known() -> bool:
            return await desk.store.account.open_orders(ACCOUNT) is not None

        await desk.until(known)
        snapshot = await desk.store.account.open_orders(ACCOUNT)
        assert snapshot is not None
        assert desk.clock.now() - snapshot.at >= timedelta(seconds=3)
        assert snapshot.at >= began


@in_virtual_time
async def test_a_snapshot_of_positions_never_claims_a_fill_it_may_not_contain() -> None:
    """The gate adds the fills that are newer than the snapshot; one that fell between would be exposure unseen."""
    desk = ToldDesk(*CHANNELS)
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        await desk.clock.sleep(30)
        # A fill of ETH has happened, and its position is still on its way when BTC's is told.
        filled_at = desk.clock.now()
        await desk.clock.sleep(1)
        desk.streams.tell("positions", {BTC: (position(desk, BTC),)})
        heard_at = desk.clock.now()
        await desk.clock.sleep(0.1)
        snapshot = await desk.store.account.positions(ACCOUNT)
        assert snapshot is not None
        assert [each.symbol for each in snapshot.value] == [BTC]
        assert snapshot.at < filled_at
        assert snapshot.at == heard_at - LAG
        # Nothing else came: a while later it is known to have been all there was.
        await desk.clock.sleep(LAG.total_seconds() + 1.5)
        snapshot = await desk.store.account.positions(ACCOUNT)
        assert snapshot is not None
        assert snapshot.at == heard_at
        desk.streams.tell("positions", {ETH: (position(desk, ETH),)})
        await desk.clock.sleep(0.1)
        snapshot = await desk.store.account.positions(ACCOUNT)
        assert snapshot is not None
        assert {each.symbol for each in snapshot.value} == {BTC, ETH}


@in_virtual_time
async def test_positions_by_rest_are_as_old_as_the_question() -> None:
    """What is filled while the answer is under way may be missing from it."""
    desk = ToldDesk(*CHANNELS)
    desk.exchange.latency = 3.0
    async with desk.streaming(AccountStreamer):

        async def known() -> bool:
            return await desk.store.account.positions(ACCOUNT) is not None

        await desk.until(known)
        snapshot = await desk.store.account.positions(ACCOUNT)
        assert snapshot is not None
        assert desk.clock.now() - snapshot.at >= timedelta(seconds=3)


@in_virtual_time
async def test_a_slow_comparison_leaves_healthy_channels_believed() -> None:
    """REST takes half a minute now and then; what is streamed meanwhile is good, and somebody must say so."""
    desk = ToldDesk(*CHANNELS)
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        desk.exchange.latency = 25.0
        for _ in range(180):
            await desk.clock.sleep(0.5)
            assert await desk.is_fresh(*CHANNELS)
        assert desk.exchange.requests["open orders"] >= 2


@in_virtual_time
async def test_gaps_without_end_are_not_met_with_requests_without_end() -> None:
    """A market whose reports are never readable makes a gap of each of them."""
    desk = ToldDesk(*CHANNELS)
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        desk.exchange.requests.clear()
        for _ in range(600):
            desk.streams.breaks += 1
            await desk.clock.sleep(0.1)
        assert 10 <= desk.exchange.requests["open orders"] <= 32
        await desk.until(lambda: desk.is_fresh(*CHANNELS), seconds=5)


@in_virtual_time
async def test_a_comparison_that_fails_without_a_gap_makes_nothing_stale_and_one_after_a_gap_does() -> None:
    """REST is what fails then, and REST is what would take over."""
    desk = ToldDesk(*CHANNELS)
    async with desk.streaming(AccountStreamer):
        await desk.until(lambda: desk.is_fresh(*CHANNELS))
        desk.exchange.script("open orders", *[Fault.NO_CONNECTION] * 1000)
        for _ in range(140):
            await desk.clock.sleep(0.5)
            assert await desk.is_fresh(*CHANNELS)
        desk.streams.breaks += 1
        await desk.clock.sleep(3)
        found = await load_channels(desk.store.desk, ACCOUNT, desk.clock.now())
        assert found["orders"].reason == "not reconciled: connection refused"
        desk.exchange.faults["open orders"].clear()
        assert await desk.seconds_until_fresh(*CHANNELS) < 5


@in_virtual_time
async def test_what_a_gap_may_have_changed_is_not_told_as_new_before_rest_was_asked() -> None:
    """One order and one position are told after a gap in which others may have changed: that is no snapshot of all.

    Taken for one, it says that a position is closed which is open: its stop is canceled, and the switch that takes
    every order is armed.
    """
    desk = ToldDesk(*CHANNELS)
    _, venue_id = await resting(desk)
    await desk.store.account.save_positions(ACCOUNT, [position(desk, ETH)], desk.clock.now())
    desk.exchange.script("open orders", *[Fault.NO_CONNECTION] * 1000)
    stranger = replace(desk.venue.orders[venue_id], venue_order_id="another", client_order_id=None)
    async with desk.streaming(AccountStreamer):
        await desk.clock.sleep(1)
        desk.streams.tell("positions", {BTC: (position(desk, BTC),)})
        desk.streams.tell("orders", [stranger])
        await desk.clock.sleep(LAG.total_seconds() + 1.5)
        snapshot = await desk.store.account.positions(ACCOUNT)
        assert snapshot is not None
        assert [each.symbol for each in snapshot.value] == [ETH]
        assert await desk.store.account.open_orders(ACCOUNT) is None
        desk.exchange.faults["open orders"].clear()
        await desk.until(lambda: desk.is_fresh(*CHANNELS), seconds=5)
        found = await desk.store.account.open_orders(ACCOUNT)
        assert found is not None
        assert [each.venue_order_id for each in found.value] == [venue_id]


@in_virtual_time
async def test_an_order_of_more_than_a_thousand_fills_is_counted_whole() -> None:
    """A large order that rests is taken in small pieces; the sum of the newest thousand is not what it bought."""
    desk = ToldDesk(*CHANNELS)
    order, venue_id = await resting(desk)
    name, at, piece = order.client_order_id, desk.clock.now(), order.quantity / 1250
    fills = [
        Fill(str(number), BTC, order.side, piece, Decimal(90), at, venue_id, client_order_id=name)
        for number in range(1250)
    ]
    journal = Journal(desk.store.orders, desk.clock, "test")
    await desk.store.orders.save_fills(ACCOUNT, fills[:1100])
    assert (await journal.book_fills(order)).filled_quantity == piece * 1100
    await desk.store.orders.save_fills(ACCOUNT, fills[1100:])
    booked = await journal.book_fills(await desk.order(order))
    assert (booked.state, booked.filled_quantity) == (OrderState.FILLED, order.quantity)
    assert not await is_short_of_fills(journal, booked)
