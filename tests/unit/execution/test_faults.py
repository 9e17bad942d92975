"""Every lie on the wire, for create, lookup and cancel: at most one order at the venue, and its fate is known."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from kontor.domain.order import OrderReport, OrderState, Side
from kontor.execution.cancel import request_cancels
from kontor.execution.halt import halt, halted, resume
from kontor.execution.reconcile import reconcile
from kontor.execution.track import track
from tests.fakes.desk import BTC, ETH, SOL, XRP, FakeDesk
from tests.fakes.exchange import AMBIGUOUS, CARRIED_OUT, PROFILE, RETRY_AFTER, Fault
from tests.fakes.virtual_time import in_virtual_time

S = OrderState
SENT_AGAIN = (Fault.DROPPED_BEFORE, Fault.HANG_BEFORE)


@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.WRONG_ID, Fault.LATE])
def test_an_unanswered_create_ends_with_one_order_at_the_venue(fault: Fault) -> None:
    """The heart of it: the reply is lost, the order is not, and there are never two."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        desk.exchange.script("create", fault)
        async with desk.executing():
            order = await desk.want(price="90")
            await desk.until_state(order, S.ACCEPTED)
            assert desk.venue.accepted[order.client_order_id] == 1
            # The late one is found, or arrives after a resend and is refused as a duplicate: once at the venue.
            sends = [name for _, name in desk.exchange.sent]
            assert len(sends) in ({1, 2} if fault is Fault.LATE else {2} if fault in SENT_AGAIN else {1})
            await desk.agree()

    scenario()


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_an_unanswered_market_order_is_filled_once(fault: Fault) -> None:
    """A doubled market order is money gone."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        desk.exchange.script("create", fault)
        async with desk.executing():
            order = await desk.want(quantity="2")
            await desk.until_state(order, S.FILLED)
            await asyncio.sleep(5)
        assert desk.venue.holding(BTC) == 2
        await desk.agree()

    scenario()


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_a_lookup_that_fails_is_asked_again(fault: Fault) -> None:
    """No answer to a question is not an answer."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        desk.exchange.script("create", Fault.TIMEOUT_AFTER)
        desk.exchange.script("lookup", fault, fault, Fault.RATE_LIMITED, Fault.NO_CONNECTION)
        async with desk.executing():
            order = await desk.want(price="90")
            await desk.until_state(order, S.ACCEPTED)
        assert len(desk.exchange.sent) == 1
        await desk.agree()

    scenario()


@pytest.mark.parametrize("fault", [*AMBIGUOUS, Fault.NO_CONNECTION, Fault.RATE_LIMITED, Fault.REJECTED])
@pytest.mark.parametrize("filled", [Decimal(0), Decimal("0.3"), Decimal(1)])
def test_a_cancel_that_fails_is_a_question(fault: Fault, filled: Decimal) -> None:
    """Whatever the cancel said, the order's end is what the venue says when asked for it."""

    @in_virtual_time
    async def scenario() -> None:
        desk = FakeDesk()
        async with desk.executing():
            order = await desk.want(price="90")
            order = await desk.until_state(order, S.ACCEPTED)
            if filled:
                desk.venue.fill(str(order.venue_order_id), filled, desk.clock.now())
            desk.exchange.script("cancel", fault, fault)
            desk.exchange.script("lookup", fault)
            await request_cancels(desk, actor="operator")
            order = await desk.until_state(order)
        assert order.state is (S.FILLED if filled == 1 else S.CANCELED)
        assert order.filled_quantity == filled
        await desk.agree()

    scenario()


@in_virtual_time
async def test_a_cancel_the_venue_ignores_is_asked_again_but_not_hot() -> None:
    """Some venues answer "ok" and go on trading for a while: keep asking, at the pace of a person."""
    desk = FakeDesk()
    async with desk.executing():
        order = await desk.until_state(await desk.want(price="90"), S.ACCEPTED)
        cancel, desk.venue.cancel = desk.venue.cancel, _ignore
        await request_cancels(desk, actor="operator")
        await asyncio.sleep(30)
        assert 5 <= desk.exchange.requests["cancel"] <= 30
        desk.venue.cancel = cancel
        assert (await desk.until_state(order)).state is S.CANCELED
    await desk.agree()


@in_virtual_time
async def test_a_connection_that_was_never_made_is_tried_again_soon_but_not_hot() -> None:
    """Sending again is right, and a burst of tries against a closed door is not."""
    desk = FakeDesk()
    desk.exchange.script("create", *[Fault.NO_CONNECTION] * 200)
    async with desk.executing():
        order = await desk.want(price="90")
        await asyncio.sleep(30)
        assert 5 <= desk.exchange.requests["create"] <= 30
        desk.exchange.faults["create"].clear()
        await desk.until_state(order, S.ACCEPTED)
    await desk.agree()


@in_virtual_time
async def test_a_rate_limit_is_waited_out_as_long_as_the_venue_asks() -> None:
    """Behaviour 20: Retry-After is obeyed, for all symbols of the account."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.RATE_LIMITED)
    async with desk.executing():
        first = await desk.want(price="90")
        await desk.until(_sent(desk, 1))
        await asyncio.sleep(0.1)
        second = await desk.want(ETH, price="90")
        for order in (first, second):
            await desk.until_state(order, S.ACCEPTED)
    moments = [moment for moment, _ in desk.exchange.sent]
    assert moments[1] - moments[0] >= RETRY_AFTER
    await desk.agree()


@in_virtual_time
async def test_an_order_that_cannot_be_sent_in_time_expires() -> None:
    """The venue was away for longer than the price was good for."""
    desk = FakeDesk()
    desk.exchange.script("create", *[Fault.NO_CONNECTION] * 500)
    async with desk.executing():
        order = await desk.want(price="90")
        order = await desk.until_state(order)
    assert order.state is S.EXPIRED
    assert not desk.venue.orders


@in_virtual_time
async def test_a_rejection_is_final_and_says_why() -> None:
    """The venue looked at it and said no."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.REJECTED)
    async with desk.executing():
        order = await desk.want(price="90")
        order = await desk.until_state(order)
        await asyncio.sleep(60)
    assert order.state is S.REJECTED
    assert order.reason == "insufficient funds"
    assert desk.exchange.requests["create"] == 1


@in_virtual_time
async def test_a_refused_key_halts_everything_until_resumed() -> None:
    """Each further request with a bad key brings the ban closer."""
    desk = FakeDesk()
    desk.exchange.script("create", Fault.BAD_KEY)
    async with desk.executing():
        first = await desk.want(price="90")
        await desk.until_state(first, S.REJECTED)
        found = await halted(desk.store.desk, desk.account)
        assert found is not None
        assert found.blocked
        denied = await desk.want(ETH, price="90")
        await asyncio.sleep(30)
        assert desk.exchange.requests["create"] == 1
        await resume(desk.store.desk, desk.account, actor="operator", at=desk.clock.now())
        passed = await desk.want(ETH, price="90")
        await desk.until_state(passed, S.ACCEPTED)
    assert denied.state is S.DENIED
    assert found.title == "Trading halted: the exchange refuses the key"
    assert desk.alerts.sent == []  # the watch tells of every halt


@in_virtual_time
async def test_a_halt_denies_what_waits_but_lets_exits_and_cancels_through() -> None:
    """Halted means no new risk; taking risk back stays possible."""
    desk = FakeDesk()
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        resting = await desk.want(ETH, price="90")
        await desk.until_state(resting, S.ACCEPTED)
    await desk.store.account.save_positions(desk.account, desk.venue.positions(desk.clock.now()), desk.clock.now())
    waiting = await desk.want(SOL, price="90")
    await halt(desk.store.desk, desk.account, "drawdown", actor="monitor-risk", at=desk.clock.now())
    exit_order = await desk.want(BTC, quantity="2", side=Side.SELL, reduce_only=True)
    await request_cancels(desk, actor="operator", client_order_ids=[resting.client_order_id])
    async with desk.executing():
        assert (await desk.until_state(waiting)).state is S.DENIED
        assert (await desk.until_state(exit_order)).state is S.FILLED
        assert (await desk.until_state(resting)).state is S.CANCELED
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_one_failing_symbol_does_not_stop_the_tracking_of_others() -> None:
    """The notebook lost the whole batch to one symbol."""
    desk = FakeDesk()
    async with desk.executing():
        placed = [await desk.want(symbol, price="90") for symbol in (BTC, ETH, SOL, XRP)]
        for order in placed:
            await desk.until_state(order, S.ACCEPTED)
        await asyncio.sleep(2)
    for order in placed:
        stored = await desk.order(order)
        desk.venue.fill(str(stored.venue_order_id), Decimal(1), desk.clock.now())
    desk.exchange.script("lookup", Fault.DROPPED_BEFORE)
    report = await track(desk)
    assert len(report.failed) == 1
    assert report.finished == 3
    assert (await track(desk)).finished == 1
    await desk.agree()


@in_virtual_time
async def test_fills_that_come_after_the_status_are_booked_by_the_next_round() -> None:
    """A finished order short of its fills is not forgotten."""
    desk = FakeDesk()
    desk.exchange.script("fills", *[Fault.DROPPED_BEFORE] * 20)
    async with desk.executing():
        order = await desk.want(quantity="2")
        await desk.until_state(order, S.FILLED)
        await asyncio.sleep(10)
    assert (await track(desk)).short_of_fills == 1
    desk.exchange.faults["fills"].clear()
    assert (await track(desk)).short_of_fills == 0
    await desk.agree()


@pytest.mark.parametrize("seed", range(12))
def test_a_storm_of_faults_leaves_both_books_equal(seed: int) -> None:
    """Every kind of fault at once, on every kind of request, orders and cancels flowing."""

    @in_virtual_time
    async def scenario() -> None:
        rng = random.Random(seed)
        desk = FakeDesk(profile=replace(PROFILE, batch_limit=rng.choice([1, 3])))
        faults = (*AMBIGUOUS, Fault.NO_CONNECTION, Fault.RATE_LIMITED, Fault.LATE)
        assert CARRIED_OUT & set(faults)
        symbols = (BTC, ETH, SOL, XRP)
        # Fills are asked for since the last reconciliation: what arrives after we gave it up is found by the next one.
        await reconcile(desk)
        async with desk.executing():
            for _ in range(40):
                order = await desk.want(
                    rng.choice(symbols),
                    quantity=rng.choice(["0.5", "1", "2"]),
                    price=rng.choice([None, "90", "95"]),
                    good_until=desk.clock.now() + timedelta(hours=2),
                )
                desk.exchange.random_faults = (rng, 0.35, faults)
                await asyncio.sleep(rng.random())
                for report in desk.venue.open_orders():
                    if rng.random() < 0.2:
                        left = report.quantity - report.filled_quantity
                        desk.venue.fill(report.venue_order_id, min(left, Decimal("0.5")), desk.clock.now())
                if rng.random() < 0.3:
                    await request_cancels(desk, actor="storm", client_order_ids=[order.client_order_id])
                desk.exchange.random_faults = None
            desk.exchange.random_faults = (rng, 0.2, faults)
            await asyncio.sleep(60)
            desk.exchange.random_faults = None
            await request_cancels(desk, actor="storm")
            await asyncio.sleep(120)
            await reconcile(desk)
        open_here = await desk.store.orders.find(desk.account, states={S.INITIALIZED, S.SUBMITTED})
        assert not open_here, "stuck"
        await desk.agree()

    scenario()


def _ignore(report: OrderReport, at: datetime) -> None:
    del report, at


def _sent(desk: FakeDesk, count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return len(desk.exchange.sent) >= count

    return holds
