"""Closing a position by hand while orders rest that close it too: once, never without its stop, never beyond flat."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Order, OrderReport, OrderState, OrderType, Side
from kontor.errors import OrderError
from kontor.execution.closing import CANCEL_SECONDS, CloseResult, close_position
from kontor.execution.reconcile import reconcile
from tests.fakes.desk import BTC, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.trading import TradingDesk
from tests.fakes.venue import LockingVenue
from tests.fakes.virtual_time import in_virtual_time
from tests.unit.trading.test_exits import holder, holding
from tests.unit.trading.test_stops import kept, settled, standing

S = OrderState
SPOT = "BTC/USD"


async def close(desk: FakeDesk, symbol: str = BTC, name: str = "c") -> CloseResult:
    return await close_position(desk, symbol, client_order_id=name * 32, actor="ada")


async def with_target(
    desk: FakeDesk, symbol: str = BTC, side: Side = Side.BUY, price: str = "110", *, reduce_only: bool = True
) -> Order:
    """Hold one, with an order for all of it that rests where the profit is to be taken."""
    await desk.until_state(await desk.want(symbol, side, "1"), S.FILLED)
    balance = await desk.exchange.fetch_balance()
    await desk.store.account.save_balance(desk.account, balance)
    positions, at = await desk.exchange.fetch_positions(), desk.clock.now()
    await desk.store.account.save_positions(desk.account, positions, at)
    other = Side.SELL if side is Side.BUY else Side.BUY
    target = await desk.want(symbol, other, "1", price, reduce_only=reduce_only)
    return await desk.until_state(target, S.ACCEPTED)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "110"), (Side.SELL, "90")])
@pytest.mark.parametrize("reduce_only", [True, False])
def test_a_resting_target_is_canceled_and_the_position_closed(side: Side, price: str, reduce_only: bool) -> None:
    """It stood for all of the position, so that nothing was left to close: the gate denied the operator."""

    @in_virtual_time
    async def run() -> None:
        desk = FakeDesk()
        async with desk.executing():
            target = await with_target(desk, side=side, price=price, reduce_only=reduce_only)
            result = await close(desk)
            assert result.order is not None
            assert (result.order.state, result.order.reason) == (S.INITIALIZED, None)
            assert result.canceled == (target.client_order_id,)
            assert target.client_order_id in result.sentence
            await desk.until_state(result.order, S.FILLED)
        assert (await desk.order(target)).state is S.CANCELED
        assert (desk.venue.holding(BTC), desk.venue.open_orders()) == (0, [])
        await desk.agree()

    run()


@in_virtual_time
async def test_the_stop_stands_until_the_position_is_flat() -> None:
    """Only what takes profit goes first: if the close never came, the position would still be protected."""
    desk = TradingDesk({"one": holder(2, {"stop_loss_percent": 5})})
    async with desk.executing():
        await holding(desk)
        await settled(desk, [(Decimal(2), Decimal(95))])
        target = await desk.until_state(await desk.want(BTC, Side.SELL, "2", "110", reduce_only=True), S.ACCEPTED)
        naked: list[str] = []

        def look(what: str) -> None:
            if desk.venue.holding(BTC) and standing(desk) != [(Decimal(2), Decimal(95))]:
                naked.append(what)

        desk.exchange.before_answer = look
        result = await close(desk)
        assert result.canceled == (target.client_order_id,)
        await desk.booked("c" * 32)
        assert naked == []
        assert desk.venue.holding(BTC) == 0

        async def gone() -> bool:
            await kept(desk)
            return standing(desk) == []

        await desk.until(gone)


@in_virtual_time
async def test_what_a_target_filled_before_it_was_canceled_is_not_closed_again() -> None:
    """The cancel comes too late for a part, or for all: the venue is asked what is left."""
    for filled, left in (("0.4", Decimal("0.6")), ("1", None)):
        desk = FakeDesk()
        async with desk.executing():
            target = await with_target(desk)

            def fill(what: str, desk: FakeDesk = desk, target: Order = target, filled: str = filled) -> None:
                if what == "positions":
                    desk.exchange.before_answer = lambda _: None
                    desk.venue.fill(str(target.venue_order_id), Decimal(filled), desk.clock.now())

            # After the operator's first look at the venue.
            desk.exchange.before_answer = fill
            result = await close(desk)
            assert (result.order and result.order.quantity) == left
            if result.order is not None:
                await desk.until_state(result.order, S.FILLED)
            else:
                assert result.sentence == f"there is no position in {BTC}"
        assert desk.venue.holding(BTC) == 0
        await desk.agree()


@in_virtual_time
async def test_nothing_is_sent_while_a_cancel_is_not_confirmed() -> None:
    """Both could fill; asked again once the venue answers, the position is closed once."""
    desk = FakeDesk()
    async with desk.executing():
        target = await with_target(desk)
        desk.exchange.script("cancel", *[Fault.DROPPED_BEFORE] * 8)
        began = desk.clock.monotonic()
        with pytest.raises(OrderError, match=f"cancel of {target.client_order_id}.* not confirmed after 15 s"):
            await close(desk)
        assert desk.clock.monotonic() - began < CANCEL_SECONDS + 2
        assert await desk.store.orders.get("c" * 32) is None
        assert desk.venue.holding(BTC) == 1
        await desk.until_state(target, S.CANCELED)
        result = await close(desk)
        assert result.order is not None
        await desk.until_state(result.order, S.FILLED)
    assert desk.venue.holding(BTC) == 0
    await desk.agree()


@in_virtual_time
async def test_two_operators_who_close_at_the_same_time_close_once() -> None:
    """The second finds the first one's order under way: it is not canceled, and not doubled."""
    desk = FakeDesk()
    async with desk.executing():
        await with_target(desk)
        results = await asyncio.gather(*(close(desk, name=name) for name in "cd"))
        orders = [result.order for result in results if result.order is not None]
        ended = [(await desk.until_state(order)).state for order in orders]
        assert ended.count(S.FILLED) == 1
        assert set(ended) <= {S.FILLED, S.DENIED}
    assert desk.venue.holding(BTC) == 0
    await desk.agree()


@in_virtual_time
async def test_a_target_that_is_put_back_meanwhile_is_canceled_too() -> None:
    """A strategy still has its position and wants its target again."""
    desk = FakeDesk()
    async with desk.executing():
        await with_target(desk)
        closing = asyncio.create_task(close(desk))
        again: Order | None = None
        async with asyncio.timeout(30):
            while again is None:
                await asyncio.sleep(0.001)
                if not desk.venue.open_orders() and not await resting(desk):
                    again = await desk.want(BTC, Side.SELL, "1", "111", reduce_only=True)
        assert again.state is S.INITIALIZED
        result = await closing
        assert len(result.canceled) == 2
        assert result.order is not None
        await desk.until_state(result.order, S.FILLED)
        assert (await desk.order(again)).state is S.CANCELED
    assert desk.venue.holding(BTC) == 0
    await desk.agree()


async def resting(desk: FakeDesk) -> list[Order]:
    found = await desk.store.orders.find(desk.account, limit=100)
    return [order for order in found if order.order_type is OrderType.LIMIT and not order.is_finished]


@pytest.mark.parametrize(("theirs", "closed"), [("0.4", "0.6"), ("1", None)])
def test_an_order_of_somebody_else_stays_and_only_the_rest_is_closed(theirs: str, closed: str | None) -> None:
    """Orders placed at the venue by hand are canceled by name only; where they leave nothing the gate says so."""

    @in_virtual_time
    async def run() -> None:
        desk = FakeDesk()
        async with desk.executing():
            await desk.until_state(await desk.want(), S.FILLED)
            now = desk.clock.now()
            rests = OrderReport(BTC, Side.SELL, OrderType.LIMIT, S.ACCEPTED, Decimal(theirs), Decimal(0), "h1", now)
            desk.venue.put(replace(rests, price=Decimal(110), reduce_only=True, created_at=now))
            await reconcile(desk)
            result = await close(desk)
            assert result.order is not None
            assert result.canceled == ()
            assert [each.venue_order_id for each in desk.venue.open_orders()] == ["h1"]
            if closed is None:
                assert result.order.state is S.DENIED
                assert "above the 0 left to close (1 held, 1 in open sell orders)" in str(result.order.reason)
            else:
                assert result.order.quantity == Decimal(closed)
                assert f"{theirs} BTC is in other orders" in result.sentence
                await desk.until_state(result.order, S.FILLED)
        [theirs_stored] = [each for each in await resting(desk) if each.strategy == EXTERNAL]
        assert theirs_stored.cancel_requested_at is None

    run()


@in_virtual_time
async def test_coins_that_a_resting_sale_locks_are_sold() -> None:
    """Nothing of them was free, and a person was told that there is no position."""
    desk = FakeDesk()
    desk.venue = desk.exchange.venue = LockingVenue()
    async with desk.executing():
        target = await with_target(desk, SPOT)
        result = await close(desk, SPOT)
        assert result.canceled == (target.client_order_id,)
        assert result.order is not None
        assert result.order.quantity == 1
        await desk.until_state(result.order, S.FILLED)
    assert desk.venue.holding(SPOT) == 0
    await desk.agree()
