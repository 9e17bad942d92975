"""The executor's daily work on a venue that behaves."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from kontor.domain.order import OrderState, Side
from kontor.execution.cancel import request_cancels
from kontor.execution.submit import wait_for_outcome
from kontor.execution.track import track
from tests.fakes.desk import BTC, ETH, SETTINGS, SOL, XRP, FakeDesk
from tests.fakes.exchange import PROFILE
from tests.fakes.virtual_time import in_virtual_time

S = OrderState


@in_virtual_time
async def test_a_market_order_becomes_a_fill_without_waiting_for_a_poll() -> None:
    """A venue's receipt tells only an id; the fill must not wait half a minute for order tracking."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(quantity="0.5")
        order = await desk.until_state(order, S.FILLED, seconds=2)
    assert order.filled_quantity == Decimal("0.5")
    assert order.average_price == 100
    await desk.agree()


@in_virtual_time
async def test_submitted_is_committed_before_the_wire() -> None:
    """A crash between the wire and the store must leave an order that somebody asks about."""
    desk = FakeDesk()
    seen: list[S] = []

    async with desk.executing():
        order = await desk.want(price="90")
        desk.exchange.before_answer = lambda what: seen.append(
            desk.store.orders._orders[order.client_order_id].state if what == "create" else S.DENIED
        )
        await desk.until_state(order, S.ACCEPTED)
    assert seen[0] is S.SUBMITTED


@in_virtual_time
async def test_every_transition_is_in_the_history() -> None:
    """An operator reads from the history what happened, in order."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(price="90")
        await desk.until_state(order, S.ACCEPTED)
        await request_cancels(desk, actor="operator", client_order_ids=[order.client_order_id])
        await desk.until_state(order, S.CANCELED)
    events = await desk.store.orders.events(order.client_order_id)
    states = [event.new_state for event in events]
    assert list(dict.fromkeys(states)) == [S.INITIALIZED, S.SUBMITTED, S.ACCEPTED, S.CANCELED]
    assert events[0].actor == "test"
    await desk.agree()


@in_virtual_time
async def test_orders_of_one_symbol_go_out_in_order_and_symbols_go_in_parallel() -> None:
    """Order within a symbol is part of the intent; across symbols a slow answer must not hold up the others."""
    desk = FakeDesk()
    desk.exchange.latency = 1.0
    placed = [await desk.want(symbol, price="90") for symbol in (BTC, ETH, SOL, XRP) for _ in range(3)]
    began = desk.clock.monotonic()
    async with desk.executing():
        for order in placed:
            await desk.until_state(order, S.ACCEPTED)
        elapsed = desk.clock.monotonic() - began
    by_symbol = [order.client_order_id for order in placed]
    sent = [name for _, name in desk.exchange.sent]
    for start in range(0, 12, 3):
        mine = by_symbol[start : start + 3]
        assert [name for name in sent if name in mine] == mine
    assert elapsed < 6, "four symbols of three orders of a second each take three seconds, not twelve"
    await desk.agree()


@in_virtual_time
async def test_several_ready_symbols_go_out_in_one_batch() -> None:
    """Batches are what makes a burst cheap where the venue has them."""
    desk = FakeDesk(profile=replace(PROFILE, batch_limit=20))
    placed = [await desk.want(symbol, price="90") for symbol in (BTC, ETH, SOL, XRP)]
    async with desk.executing():
        for order in placed:
            await desk.until_state(order, S.ACCEPTED)
    assert desk.exchange.requests["create"] == 1
    await desk.agree()


@in_virtual_time
async def test_a_more_urgent_order_overtakes_on_its_symbol() -> None:
    """Priority decides before age."""
    desk = FakeDesk()
    slow = await desk.want(price="90")
    urgent = await desk.want(price="91", priority=1)
    async with desk.executing():
        await desk.until_state(slow, S.ACCEPTED)
    assert [name for _, name in desk.exchange.sent] == [urgent.client_order_id, slow.client_order_id]


@in_virtual_time
async def test_an_order_that_waited_too_long_expires_instead_of_going_out_at_a_stale_price() -> None:
    """Nobody executed for two minutes; the price of then is not the price of now."""
    desk = FakeDesk()
    order = await desk.want(price="90")
    await asyncio.sleep(120)
    async with desk.executing():
        order = await desk.until_state(order, S.EXPIRED)
    assert desk.exchange.requests["create"] == 0
    assert order.reason is not None
    assert "stale" in order.reason


@in_virtual_time
async def test_an_order_canceled_before_it_was_sent_never_goes_out() -> None:
    """Cancel-before-send is the cheapest cancel there is."""
    desk = FakeDesk()
    order = await desk.want(price="90")
    await request_cancels(desk, actor="operator")
    async with desk.executing():
        await asyncio.sleep(5)
    assert (await desk.order(order)).state is S.CANCELED
    assert desk.exchange.requests["create"] == 0


@in_virtual_time
async def test_a_cancel_goes_out_before_the_creates_that_wait() -> None:
    """A cancel is how risk is taken back; it never queues behind new orders."""
    desk = FakeDesk()
    resting = await desk.want(price="90")
    async with desk.executing():
        await desk.until_state(resting, S.ACCEPTED)
    newer = await desk.want(price="91")
    await request_cancels(desk, actor="operator", client_order_ids=[resting.client_order_id])
    async with desk.executing():
        await desk.until_state(newer, S.ACCEPTED)
        assert (await desk.order(resting)).state is S.CANCELED
    await desk.agree()


@in_virtual_time
async def test_a_fill_that_overtakes_a_cancel_is_booked() -> None:
    """The cancel came too late: the venue says there is nothing to cancel, and the truth is a fill."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(price="90", quantity="2")
        order = await desk.until_state(order, S.ACCEPTED)
        desk.venue.fill(str(order.venue_order_id), Decimal(2), desk.clock.now())
        await request_cancels(desk, actor="operator")
        order = await desk.until_state(order)
    assert order.state is S.FILLED
    await desk.agree()


@in_virtual_time
async def test_a_canceled_partial_fill_keeps_its_fills() -> None:
    """The notebook lost the fill when the status changed to canceled."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(price="90", quantity="2")
        order = await desk.until_state(order, S.ACCEPTED)
        desk.venue.fill(str(order.venue_order_id), Decimal("0.5"), desk.clock.now())
        await request_cancels(desk, actor="operator")
        order = await desk.until_state(order)
    assert (order.state, order.filled_quantity) == (S.CANCELED, Decimal("0.5"))
    await desk.agree()


@in_virtual_time
async def test_tracking_asks_only_for_orders_that_left_the_open_orders() -> None:
    """Behaviour 11: a venue is asked about what changed, not about everything."""
    desk = FakeDesk()
    async with desk.executing():
        resting = [await desk.want(symbol, price="90") for symbol in (BTC, ETH, SOL)]
        gone = await desk.want(XRP, price="90")
        for order in (*resting, gone):
            await desk.until_state(order, S.ACCEPTED)
        await asyncio.sleep(1)
        desk.venue.fill(str((await desk.order(gone)).venue_order_id), Decimal(1), desk.clock.now())
        desk.exchange.requests.clear()
        report = await track(desk)
    assert desk.exchange.requests["lookup"] == 1
    assert (report.asked, report.finished, report.still_open, report.failed) == (1, 1, 3, {})
    await desk.agree()


@in_virtual_time
async def test_waiting_for_an_outcome_ends_with_the_venues_answer_or_the_time() -> None:
    """A caller learns the state as it is; a timeout changes nothing."""
    desk = FakeDesk()
    order = await desk.want(price="90")
    waited = await wait_for_outcome(desk, order.client_order_id, seconds=3)
    assert waited.state is S.INITIALIZED
    async with desk.executing():
        waited = await wait_for_outcome(desk, order.client_order_id, seconds=3)
    assert waited.state is S.ACCEPTED


@in_virtual_time
async def test_an_idle_executor_sends_nothing_and_hardly_looks() -> None:
    """No hot loop: an hour without orders is an hour of quiet."""
    desk = FakeDesk()
    looks = 0
    due = desk.store.orders.due

    async def counted(*args: object, **kwargs: object) -> object:
        nonlocal looks
        looks += 1
        return await due(*args, **kwargs)  # type: ignore[arg-type]

    desk.store.orders.due = counted  # type: ignore[method-assign]
    async with desk.executing():
        await asyncio.sleep(3600)
    assert not desk.exchange.requests
    assert 3000 < looks < 3700


@in_virtual_time
async def test_stop_lets_what_is_on_the_wire_come_back() -> None:
    """A clean stop leaves no order of unknown outcome."""
    desk = FakeDesk(settings=SETTINGS)
    desk.exchange.latency = 1.0
    executor = desk.executor()
    running = asyncio.create_task(executor.run())
    order = await desk.want(price="90")
    await desk.until_state(order, S.SUBMITTED)
    executor.stop()
    await running
    assert (await desk.order(order)).state is S.ACCEPTED
    assert (
        await desk.store.desk.acquire_lease("executor:paper", "next", timedelta(seconds=3), desk.clock.now())
    ) is not None


@in_virtual_time
async def test_a_side_is_kept() -> None:
    """A sell is a sell all the way to the position."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.want(side=Side.SELL)
        await desk.until_state(order, S.FILLED)
    assert desk.venue.holding(BTC) == -1
