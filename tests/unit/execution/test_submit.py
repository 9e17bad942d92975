"""Placing: an intent enters the queue once, through the gate."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from kontor.config import KontorConfig, OrderSettings, RiskSettings
from kontor.domain.identity import client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.market import Ticker
from kontor.domain.order import OrderState, OrderType, Side
from kontor.errors import KontorError, OrderError
from kontor.execution.cancel import request_cancels
from kontor.execution.halt import halt, halted, resume
from kontor.execution.submit import place, place_all, wait_for_outcome
from tests.fakes.desk import BTC, ETH, SETTINGS, SOL, FakeDesk
from tests.fakes.exchange import Fault
from tests.fakes.virtual_time import START, in_virtual_time

S = OrderState


def buy(quantity: str = "1", symbol: str = BTC, price: str = "100") -> OrderIntent:
    """A limit order to buy."""
    return OrderIntent(symbol, Side.BUY, OrderType.LIMIT, Decimal(quantity), price=Decimal(price))


@in_virtual_time
async def test_the_same_id_is_one_order_whatever_is_asked_for() -> None:
    """Pressing Retry on a flow run must not trade again."""
    desk = FakeDesk()
    name = client_order_id(await desk.store.desk.desk_prefix(), "run 1")
    first = await place(desk, buy(), client_order_id=name, actor="a person")
    second = await place(desk, buy("5"), client_order_id=name, actor="another")
    assert second == first
    async with desk.executing():
        await desk.until_state(first, S.ACCEPTED)
        third = await place(desk, buy(), client_order_id=name, actor="a person")
        await asyncio.sleep(5)
    assert third.state is S.ACCEPTED
    assert len(desk.exchange.sent) == 1


@in_virtual_time
async def test_a_denied_intent_is_recorded_with_its_reason_and_stays_denied() -> None:
    """An order that was refused is part of the history; asking again gets the same answer."""
    desk = FakeDesk()
    name = client_order_id(await desk.store.desk.desk_prefix(), "run 1")
    order = await place(desk, buy(symbol="ABC/USD"), client_order_id=name, actor="a person")
    assert order.state is S.DENIED
    assert order.reason is not None
    assert order.reason.startswith("unknown_symbol: ABC/USD is not a market")
    assert (await place(desk, buy(), client_order_id=name, actor="a person")).state is S.DENIED
    assert (await desk.order(order)).reason == order.reason


@in_virtual_time
async def test_prices_are_asked_for_before_the_gate_and_nobody_waits_there_for_ever() -> None:
    """An exit must not stand behind an entry whose ticker does not come, nor behind a process that died at the gate."""
    desk = FakeDesk(config=KontorConfig(risk=RiskSettings(max_open_orders=10)))
    async with desk.executing():
        await desk.until_state(await desk.want(), S.FILLED)
        await desk.store.account.save_positions(desk.account, await desk.exchange.fetch_positions(), desk.clock.now())
        desk.exchange.script("tickers", Fault.HANG_BEFORE)
        entry = asyncio.create_task(desk.want(ETH, price="100"))
        await asyncio.sleep(0.1)
        begin = desk.clock.now()
        leaving = OrderIntent(BTC, Side.SELL, OrderType.MARKET, Decimal("0.5"), reduce_only=True)
        order = await place(desk, leaving, client_order_id="x" * 32, actor="exit")
        assert (order.state, order.reason) == (S.INITIALIZED, None)
        assert (desk.clock.now() - begin).total_seconds() < 1
        # Without a price there is no entry.
        assert str((await entry).reason).startswith("stale_ticker")
        lease = await desk.store.desk.acquire_lease(
            f"gate:{desk.account}", "dead", timedelta(seconds=60), desk.clock.now()
        )
        assert lease is not None
        begin = desk.clock.now()
        with pytest.raises(KontorError, match="waiting for the pre-trade gate: not done within 5 s"):
            await place(desk, leaving, client_order_id="y" * 32, actor="exit")
        assert (desk.clock.now() - begin).total_seconds() == pytest.approx(5, abs=0.1)
        assert await desk.store.orders.get("y" * 32) is None


@in_virtual_time
async def test_intents_placed_together_count_each_other() -> None:
    """A burst must not slip past a limit that each of its orders keeps."""
    desk = FakeDesk(config=KontorConfig(risk=RiskSettings(max_exposure=Decimal(250))))
    prefix = await desk.store.desk.desk_prefix()
    wanted = {client_order_id(prefix, number): buy(symbol=symbol) for number, symbol in enumerate((BTC, ETH, SOL))}
    orders = await place_all(desk, wanted, actor="strategy")
    assert [order.state for order in orders] == [S.INITIALIZED, S.INITIALIZED, S.DENIED]


@in_virtual_time
async def test_intents_placed_at_the_same_time_by_many_count_each_other() -> None:
    """Strategies run side by side; weighed against the same account at once they could break a limit together."""
    desk = FakeDesk(config=KontorConfig(risk=RiskSettings(max_open_orders=3)))
    prefix = await desk.store.desk.desk_prefix()
    orders = await asyncio.gather(
        *(place(desk, buy(), client_order_id=client_order_id(prefix, n), actor=f"strategy {n}") for n in range(10))
    )
    assert sum(order.state is S.INITIALIZED for order in orders) == 3


@in_virtual_time
async def test_a_gate_that_another_process_holds_is_waited_for() -> None:
    """Limits hold across processes too: the gate is a lease in the store."""
    desk = FakeDesk(config=KontorConfig(risk=RiskSettings(max_open_orders=3)))
    other = await desk.store.desk.acquire_lease(
        f"gate:{desk.account}", "another process", timedelta(seconds=2), desk.clock.now()
    )
    assert other is not None
    began = desk.clock.monotonic()
    order = await desk.want(price="100")
    assert order.state is S.INITIALIZED
    assert desk.clock.monotonic() - began >= 2


@in_virtual_time
async def test_a_stale_ticker_is_asked_for_once_before_anything_is_denied() -> None:
    """A symbol outside of the watchlist has no ticker yet; that alone is no reason to refuse its order."""
    desk = FakeDesk()
    old = Ticker(BTC, Decimal(50), START)
    await desk.store.market.save_tickers(desk.account, [old], START)
    await asyncio.sleep(600)
    assert (await desk.want(price="100")).state is S.INITIALIZED
    await asyncio.sleep(600)
    desk.exchange.script("tickers", Fault.DROPPED_BEFORE)
    denied = await desk.want(price="100")
    assert denied.state is S.DENIED
    assert denied.reason is not None
    assert denied.reason.startswith("stale_ticker")


@in_virtual_time
async def test_a_fresh_fill_counts_although_the_position_snapshot_is_older() -> None:
    """Right after buying one must be able to sell it again, and no more than it."""
    desk = FakeDesk()
    await desk.store.account.save_positions(desk.account, [], desk.clock.now())
    async with desk.executing():
        await desk.until_state(await desk.want(quantity="2"), S.FILLED)
        await asyncio.sleep(1)
        too_much = await desk.want(quantity="3", side=Side.SELL, reduce_only=True)
        enough = await desk.want(quantity="2", side=Side.SELL, reduce_only=True)
        await desk.until_state(enough, S.FILLED)
    assert too_much.state is S.DENIED
    assert desk.venue.holding(BTC) == 0


@in_virtual_time
async def test_orders_are_good_for_as_long_as_the_settings_say() -> None:
    """Without a moment of its own an order gets the desk's."""
    desk = FakeDesk(settings=OrderSettings(good_for_seconds=7))
    order = await desk.want(price="100")
    assert order.good_until is not None
    assert (order.good_until - order.created_at).total_seconds() == 7


@in_virtual_time
async def test_the_first_reason_of_a_halt_stays_until_a_person_resumes() -> None:
    """The second alarm is usually an effect of the first."""
    desk = FakeDesk()
    state, now = desk.store.desk, desk.clock.now()
    await halt(state, desk.account, "drawdown", actor="monitor-risk", at=now)
    await halt(state, desk.account, "also this", actor="monitor-risk", at=now)
    found = await halted(state, desk.account)
    assert found is not None
    assert found.reason == "drawdown"
    ended = await resume(state, desk.account, actor="operator", at=now)
    assert ended == found
    assert await halted(state, desk.account) is None
    assert await resume(state, desk.account, actor="operator", at=now) is None


@in_virtual_time
async def test_asking_for_what_does_not_exist_is_a_clear_error() -> None:
    """A mistyped id must not look like a canceled order."""
    desk = FakeDesk()
    with pytest.raises(OrderError, match="check the id"):
        await request_cancels(desk, actor="operator", client_order_ids=["nope"])
    with pytest.raises(KontorError, match="place it first"):
        await wait_for_outcome(desk, "nope", seconds=1)


@pytest.mark.parametrize("symbol", [BTC, "BTC/USD"])
def test_money_that_fills_have_taken_is_not_free_though_the_balance_is_older(symbol: str) -> None:
    """A market order is filled before the balance is read again: the next one may not spend the same money."""
    in_virtual_time(_spend_twice)(symbol)


async def _spend_twice(symbol: str) -> None:
    desk = FakeDesk(config=KontorConfig(risk=RiskSettings(min_free_balance=Decimal(99_700)), orders=SETTINGS))
    await desk.store.account.save_balance(desk.account, await desk.exchange.fetch_balance())
    await desk.store.account.save_positions(desk.account, [], desk.clock.now())
    await asyncio.sleep(1)
    async with desk.executing():
        first = await desk.want(symbol, Side.BUY, "2")
        await desk.until_state(first, S.FILLED)

        async def booked() -> bool:
            return bool(await desk.store.orders.fills(desk.account))

        await desk.until(booked)
        denied = await desk.want(symbol, Side.BUY, "2")
        assert denied.state is S.DENIED
        assert "would leave 99600" in str(denied.reason)
        # What only closes brings money back, and is not counted against it.
        assert (await desk.want(symbol, Side.SELL, "2", reduce_only=True)).state is S.INITIALIZED
        assert (await desk.want(symbol, Side.BUY, "1")).state is S.INITIALIZED
