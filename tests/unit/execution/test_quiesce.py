"""The graceful stop: refuse, cancel, verify, report; in that order, whatever fails."""

import asyncio
from decimal import Decimal

from kontor.domain.intent import OrderIntent
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.execution.halt import halt, halted
from kontor.execution.quiesce import end_of_shutdown, quiesce
from kontor.execution.submit import place
from tests.fakes.desk import ACCOUNT, BTC, ETH, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.virtual_time import in_virtual_time


async def resting(desk: FakeDesk, symbol: str = BTC, **more: object):  # noqa: ANN201
    order = await desk.want(symbol, Side.BUY, "1", Decimal(95), **more)

    async def rests() -> bool:
        return (await desk.order(order)).state is OrderState.ACCEPTED

    await desk.until(rests)
    return order


@in_virtual_time
async def test_open_orders_are_canceled_and_verified_and_new_ones_refused() -> None:
    """The order of behaviour 22: nothing new comes in while the old goes."""
    desk = FakeDesk()
    async with desk.executing():
        orders = [await resting(desk, symbol) for symbol in (BTC, ETH)]
        report = await quiesce(desk, cancel_orders=True, seconds=30)
        assert (report.canceled, report.problems) == (2, [])
        assert [(await desk.order(order)).state for order in orders] == [OrderState.CANCELED] * 2
        assert desk.venue.open_orders() == []
        refused = await desk.want(BTC)
        assert refused.state is OrderState.DENIED
        assert "the desk is being shut down" in (refused.reason or "")


@in_virtual_time
async def test_a_second_shutdown_does_nothing_twice() -> None:
    """Ctrl-C pressed again, or a retried flow run."""
    desk = FakeDesk()
    async with desk.executing():
        await resting(desk)
        await quiesce(desk, cancel_orders=True, seconds=30)
        cancels = desk.exchange.requests["cancel"]
        report = await quiesce(desk, cancel_orders=True, seconds=30)
        assert (report.canceled, report.problems) == (0, [])
        assert desk.exchange.requests["cancel"] == cancels


async def protected(desk: FakeDesk) -> Order:
    """Buy 2, and want the stop beneath them."""
    bought = await desk.want(BTC, quantity="2")
    await desk.until_state(bought, OrderState.FILLED)
    await desk.store.account.save_positions(ACCOUNT, await desk.exchange.fetch_positions(), desk.clock.now())
    stop = OrderIntent(
        BTC, Side.SELL, OrderType.STOP, Decimal(2), trigger_price=Decimal(90), reduce_only=True, strategy="one"
    )
    return await place(desk, stop, client_order_id="test-stop", actor="test")


@in_virtual_time
async def test_only_stops_stay() -> None:
    """Whoever takes the desk down must not leave a position without its stop; a target is no stop, though it only
    makes a position smaller.
    """
    desk = FakeDesk()
    async with desk.executing():
        stop = await protected(desk)
        target = await desk.want(BTC, Side.SELL, "2", Decimal(105), reduce_only=True)
        for order in (stop, target):
            await desk.until_state(order, OrderState.ACCEPTED)
        report = await quiesce(desk, cancel_orders=True, seconds=30)
        assert (report.kept, report.canceled, report.problems) == ([stop.client_order_id], 1, [])
        assert [each.client_order_id for each in desk.venue.open_orders()] == [stop.client_order_id]


@in_virtual_time
async def test_a_stop_that_the_venue_does_not_have_yet_is_told() -> None:
    desk = FakeDesk()
    async with desk.executing():
        desk.exchange.script("create", None, Fault.LATE)
        desk.exchange.late_after = 1000.0
        await protected(desk)
        await asyncio.sleep(1)
    report = await quiesce(desk, cancel_orders=True, seconds=10)
    [problem] = report.problems
    assert problem.startswith("stop test-stop on BTC/USD:USD is SUBMITTED, so its position may have none")


@in_virtual_time
async def test_an_order_that_was_filled_before_its_cancel_is_not_counted_as_canceled() -> None:
    """Gone from the venue's list is not canceled: there is a position now."""
    desk = FakeDesk()
    async with desk.executing():
        filled, canceled = [await resting(desk, symbol) for symbol in (BTC, ETH)]
    venue_order_id = (await desk.order(filled)).venue_order_id
    assert venue_order_id is not None
    desk.venue.fill(venue_order_id, Decimal(1), desk.clock.now())
    report = await quiesce(desk, cancel_orders=True, seconds=20)
    assert (report.canceled, report.filled, report.problems) == (1, [filled.client_order_id], [])
    assert canceled.client_order_id not in report.left_open


@in_virtual_time
async def test_an_order_whose_fate_nobody_knows_is_not_taken_for_gone() -> None:
    """Its request may still be under way: the venue's "not found" is no cancel."""
    desk = FakeDesk()
    desk.exchange.late_after = 1000.0
    async with desk.executing():
        desk.exchange.script("create", Fault.LATE)
        order = await desk.want(BTC, Side.BUY, "1", Decimal(95))
        await desk.until_state(order, OrderState.SUBMITTED)
        await asyncio.sleep(1)
    report = await quiesce(desk, cancel_orders=True, seconds=20)
    assert (report.canceled, report.left_open) == (0, {})
    [problem] = report.problems
    assert problem == (
        f"order {order.client_order_id} on BTC/USD:USD: the venue does not know it, but its request may still arrive;"
        " look at the venue"
    )


@in_virtual_time
async def test_when_the_venues_list_cannot_be_had_each_order_is_asked_for() -> None:
    desk = FakeDesk()
    async with desk.executing():
        await resting(desk)
    desk.exchange.script("open orders", Fault.DROPPED_BEFORE)
    report = await quiesce(desk, cancel_orders=True, seconds=20)
    assert report.canceled == 1
    [problem] = report.problems
    assert problem.startswith("it could not be verified that 1 orders are gone")


@in_virtual_time
async def test_without_an_executor_the_orders_are_canceled_from_here() -> None:
    """A desk is often stopped because its executor is in trouble."""
    desk = FakeDesk()
    async with desk.executing():
        await resting(desk)
    report = await quiesce(desk, cancel_orders=True, seconds=20)
    assert desk.venue.open_orders() == []
    assert (report.canceled, report.problems) == (1, [])


@in_virtual_time
async def test_a_failed_cancel_is_reported_and_blocks_nothing() -> None:
    """One dead symbol must not keep the others at risk."""
    desk = FakeDesk()
    async with desk.executing():
        orders = [await resting(desk, symbol) for symbol in (BTC, ETH)]
    desk.exchange.script("cancel", Fault.NO_CONNECTION)
    report = await quiesce(desk, cancel_orders=True, seconds=20)
    assert report.canceled == 1
    [left] = report.left_open
    assert left in {order.client_order_id for order in orders}
    assert len(report.problems) == 2
    assert "its cancel failed: connection refused" in report.problems[0]
    assert "is still open at the venue" in report.problems[1]


@in_virtual_time
async def test_a_venue_that_answers_nobody_holds_the_stop_up_for_so_long_only_however_many_orders_rest() -> None:
    """Streams and executor end after this: a run that times out before has stopped nothing, and told nobody."""
    desk = FakeDesk()
    async with desk.executing():
        orders = [await resting(desk) for _ in range(60)]
    hangs = [Fault.HANG_BEFORE] * 1000
    for request in ("cancel", "open orders", "lookup"):
        desk.exchange.script(request, *hangs)
    began = desk.clock.monotonic()
    report = await quiesce(desk, cancel_orders=True, seconds=30)
    assert desk.clock.monotonic() - began <= 105
    for order in orders:
        assert any(order.client_order_id in problem for problem in report.problems)


@in_virtual_time
async def test_initializing_anew_ends_the_refusal_but_no_other_halt() -> None:
    """`kontor up` after `kontor down` trades again; what a person halted stays halted."""
    desk = FakeDesk()
    await quiesce(desk, cancel_orders=False, seconds=1)
    assert await end_of_shutdown(desk)
    assert await halted(desk.store.desk, ACCOUNT) is None
    await halt(desk.store.desk, ACCOUNT, "holidays", actor="me", at=desk.clock.now())
    await quiesce(desk, cancel_orders=False, seconds=1)
    assert not await end_of_shutdown(desk)
    known = await halted(desk.store.desk, ACCOUNT)
    assert known is not None
    assert known.reason == "holidays"
