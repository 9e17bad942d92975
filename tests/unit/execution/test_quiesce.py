"""The graceful stop: refuse, cancel, verify, report; in that order, whatever fails."""

from decimal import Decimal

from kontor.domain.order import OrderState, Side
from kontor.execution.halt import halt, halted
from kontor.execution.quiesce import end_of_shutdown, quiesce
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


@in_virtual_time
async def test_protective_orders_stay() -> None:
    """Whoever takes the desk down must not leave a position without its stop."""
    desk = FakeDesk()
    async with desk.executing():
        bought = await desk.want(BTC, quantity="2")

        async def filled() -> bool:
            return (await desk.order(bought)).state is OrderState.FILLED

        await desk.until(filled)
        await desk.store.account.save_positions(ACCOUNT, await desk.exchange.fetch_positions(), desk.clock.now())
        stop = await desk.want(BTC, Side.SELL, "2", Decimal(105), reduce_only=True)

        async def rests() -> bool:
            return (await desk.order(stop)).state is OrderState.ACCEPTED

        await desk.until(rests)
        report = await quiesce(desk, cancel_orders=True, seconds=30)
        assert report.kept == [stop.client_order_id]
        assert [each.client_order_id for each in desk.venue.open_orders()] == [stop.client_order_id]


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
