"""Stops, bills and the account's set-up on the paper exchange, by unmodified ccxt: as the desk does it every day."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.config import KontorConfig
from kontor.domain.identity import attached_stop_id, client_order_id
from kontor.domain.intent import OrderIntent
from kontor.domain.ledger import EntryKind
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.domain.setup import AccountLevel, AccountSetup, PositionMode
from kontor.errors import AlreadyPlaced, InvalidOrder, OrderNotFound
from kontor.exchange.guarded import GuardedExchange
from kontor.execution.executor import Executor
from kontor.execution.reconcile import reconcile
from kontor.execution.submit import place
from kontor.paper.clock import ManualClock
from kontor.paper.server import PaperServer
from kontor.ports import Clock, Store
from kontor.resilience.clock import SystemClock
from kontor.store.memory import MemoryStore
from kontor.trading.books import load_books
from kontor.trading.exits import ExitReport, check_exits
from kontor.trading.ledger import compare_with_bills
from kontor.trading.monitor import RiskReport, monitor_risk
from kontor.trading.setup import ACCOUNT_SETUP, check_setup, set_leverage
from kontor.trading.stop_keeper import StopKeeper

from .conftest import Maker
from .on_paper import SWAP

S = OrderState
STRATEGY = {"use": "sma_cross", "symbols": [SWAP], "exits": {"stop_loss_percent": 3}}


@dataclass
class Parts:
    """One account of a desk without Prefect: the real executor, adapter and paper exchange."""

    account: str
    config: KontorConfig
    exchange: GuardedExchange
    store: Store
    clock: Clock


@pytest.fixture
def parts(desk: GuardedExchange) -> Parts:
    config = KontorConfig.model_validate({"strategies": {"one": STRATEGY}})
    return Parts("paper", config, desk, MemoryStore(), SystemClock())


@contextlib.asynccontextmanager
async def at_work(parts: Parts) -> AsyncIterator[None]:
    """Executor and stop keeper, killed at the end."""
    executor = Executor(parts.account, parts.store, parts.exchange, parts.clock, parts.config.orders, "test")
    tasks = [asyncio.create_task(executor.run()), asyncio.create_task(StopKeeper(parts).run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], Any], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        # What is waited for happens at the venue and in the store: there is no event to wait for.
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def snapshots(parts: Parts) -> None:
    now = parts.clock.now()
    await parts.store.account.save_balance(parts.account, await parts.exchange.fetch_balance())
    await parts.store.account.save_positions(parts.account, await parts.exchange.fetch_positions(), now)


async def last_price(exchange: GuardedExchange) -> Decimal:
    last = (await exchange.fetch_tickers([SWAP]))[SWAP].last
    assert last is not None
    return last


def stop(make_order: Maker, market_price: Decimal, **changes: Any) -> Order:
    trigger = changes.pop("trigger_price", (market_price * Decimal("0.9")).quantize(Decimal("0.1")))
    usual = {"side": Side.SELL, "reduce_only": True, "price": None, "order_type": OrderType.STOP}
    return make_order(SWAP, trigger_price=trigger, **(usual | changes))


async def test_a_stop_is_placed_found_listed_and_canceled_under_our_own_id(
    desk: GuardedExchange, books: Any, make_order: Maker
) -> None:
    """OKX calls the id by another name there, and keeps such orders apart from the others."""
    await desk.create_order(make_order(SWAP, order_type=OrderType.MARKET))
    price = await last_price(desk)
    order = stop(make_order, price)
    receipt = await desk.create_order(order)
    found = await desk.fetch_order(SWAP, client_order_id=order.client_order_id, stop=True)
    assert (found.state, found.order_type, found.side) == (S.ACCEPTED, OrderType.STOP, Side.SELL)
    assert (found.quantity, found.trigger_price) == (order.quantity, order.trigger_price)
    assert (found.venue_order_id, found.client_order_id) == (receipt.venue_order_id, order.client_order_id)
    assert found.reduce_only
    assert [(each.client_order_id, each.order_type) for each in await desk.fetch_open_orders()] == [
        (order.client_order_id, OrderType.STOP)
    ]
    [theirs] = (await books.private_get_trade_orders_algo_pending({"ordType": "conditional"}))["data"]
    assert (theirs["algoClOrdId"], theirs["slOrdPx"], theirs["slTriggerPxType"]) == (
        order.client_order_id,
        "-1",
        "last",
    )
    with pytest.raises(AlreadyPlaced):
        await desk.create_order(order)
    with pytest.raises(InvalidOrder):
        await desk.create_order(stop(make_order, price, trigger_price=price.quantize(Decimal("0.1")) + 100))
    await desk.cancel_order(SWAP, client_order_id=order.client_order_id, stop=True)
    gone = await desk.fetch_order(SWAP, client_order_id=order.client_order_id, stop=True)
    assert (gone.state, gone.filled_quantity) == (S.CANCELED, 0)
    assert await desk.fetch_open_orders() == []
    for request in (desk.cancel_order, desk.fetch_order):
        with pytest.raises(OrderNotFound):
            await request(SWAP, client_order_id="k0never0heard0of", stop=True)


async def test_orders_and_stops_together_are_sent_as_the_venue_takes_each(
    desk: GuardedExchange, make_order: Maker
) -> None:
    """Stops do not go into a batch."""
    await desk.create_order(make_order(SWAP, order_type=OrderType.MARKET))
    price = await last_price(desk)
    low = (price * Decimal("0.95")).quantize(Decimal("0.1"))
    wanted = [make_order(SWAP, price=low), stop(make_order, price), make_order(SWAP, price=low)]
    results = await desk.create_orders(wanted)
    assert [getattr(each, "client_order_id", each) for each in results] == [each.client_order_id for each in wanted]
    assert len(await desk.fetch_open_orders()) == 3


async def test_the_stop_fires_while_everything_of_ours_is_dead_and_the_restarted_desk_books_it(
    parts: Parts, paper: PaperServer, venue_clock: ManualClock
) -> None:
    """The dead man's switch takes the entry, and leaves the stop."""
    await snapshots(parts)
    prefix = await parts.store.desk.desk_prefix()
    price = await last_price(parts.exchange)
    low = (price * Decimal("0.99")).quantize(Decimal("0.1"))
    quantity = Decimal("0.1")
    async with at_work(parts):
        for number, (kind, at) in enumerate(((OrderType.MARKET, None), (OrderType.LIMIT, low))):
            intent = OrderIntent(SWAP, Side.BUY, kind, quantity, at, strategy="one")
            await place(parts, intent, client_order_id=client_order_id(prefix, "test", number), actor="test")

        async def protected() -> bool:
            await snapshots(parts)
            kinds = sorted(each.order_type for each in await parts.exchange.fetch_open_orders())
            return kinds == ["limit", "stop"]

        await until(protected)
    # Armed by the executor while it lived; nobody renews it.
    await parts.exchange.cancel_all_after(10)
    venue_clock.advance(11)
    assert [each.order_type for each in await parts.exchange.fetch_open_orders()] == [OrderType.STOP]
    [stop_] = [each for each in await parts.store.orders.find(parts.account) if each.is_stop]
    assert stop_.trigger_price is not None
    paper.venue.set_price("BTC-USD-SWAP", stop_.trigger_price - 50)
    async with at_work(parts):
        report = await reconcile(parts)
        assert (report.adopted, report.unowned_fills, report.drift) == ([], [], ())

        async def booked() -> bool:
            order = await parts.store.orders.get(stop_.client_order_id)
            return order is not None and order.state is S.FILLED

        await until(booked)
    fills = await parts.store.orders.fills(parts.account, client_order_id=stop_.client_order_id)
    assert sum(fill.quantity for fill in fills) == quantity
    assert [name for name, _ in await parts.store.orders.strategy_fills(parts.account)] == ["one"] * (1 + len(fills))


async def test_an_entry_that_fills_while_the_desk_is_dead_has_brought_its_stop_along(
    parts: Parts, paper: PaperServer
) -> None:
    """The venue places the stop with the fill, under the id that we had given it before the entry was sent."""
    await snapshots(parts)
    prefix = await parts.store.desk.desk_prefix()
    price = await last_price(parts.exchange)
    low = (price * Decimal("0.99")).quantize(Decimal("0.1"))
    trigger = (low * Decimal("0.97")).quantize(Decimal("0.1"))
    intent = OrderIntent(SWAP, Side.BUY, OrderType.LIMIT, Decimal("0.1"), low, strategy="one", stop_price=trigger)
    async with at_work(parts):
        name = client_order_id(prefix, "test", 1)
        await place(parts, intent, client_order_id=name, actor="test")

        async def rests() -> bool:
            return [each.client_order_id for each in await parts.exchange.fetch_open_orders()] == [name]

        await until(rests)
    paper.venue.set_price("BTC-USD-SWAP", low - 1)
    [stop_] = [each for each in await parts.exchange.fetch_open_orders() if each.order_type is OrderType.STOP]
    assert (stop_.client_order_id, stop_.trigger_price) == (attached_stop_id(name), trigger)
    async with at_work(parts):
        report = await reconcile(parts)
        assert (report.adopted, report.reopened, report.drift) == ([], [], ())

        async def known() -> bool:
            await snapshots(parts)
            order = await parts.store.orders.get(attached_stop_id(name))
            return order is not None and order.state is S.ACCEPTED and order.strategy == "one"

        await until(known)
        await asyncio.sleep(1)
        stops = [each for each in await parts.exchange.fetch_open_orders() if each.order_type is OrderType.STOP]
        assert [each.client_order_id for each in stops] == [attached_stop_id(name)]


async def test_the_ledger_equals_the_venues_bills_to_the_cent_through_a_funding_and_a_withdrawal(
    parts: Parts, paper: PaperServer, make_order: Maker
) -> None:
    await snapshots(parts)
    since = datetime.now(UTC) - timedelta(days=1)
    paper.venue.set_funding_rate("BTC-USD-SWAP", Decimal("0.001"))
    for side, symbol in ((Side.BUY, SWAP), (Side.BUY, "BTC/USD"), (Side.SELL, SWAP)):
        if side is Side.SELL:
            paper.venue.pay_funding("BTC-USD-SWAP")
        limit = Decimal(1_000_000) if side is Side.BUY else Decimal(1)
        more: dict[str, Any] = {"order_type": OrderType.MARKET} if symbol == SWAP else {"price": limit}
        price = await last_price(parts.exchange)
        if symbol != SWAP:
            more = {"price": (price * Decimal("1.01")).quantize(Decimal("0.1"))}
        await parts.exchange.create_order(make_order(symbol, side=side, **more))
    paper.venue.deposit("paper", "USD", Decimal(-1234), "withdrawal")
    await reconcile(parts)
    bills = await parts.exchange.fetch_bills(since)
    kinds = {bill.kind for bill in bills}
    assert {EntryKind.TRADE, EntryKind.TRANSFER, EntryKind.FUNDING} <= kinds
    found = await compare_with_bills(parts)
    assert found is not None
    assert found.apart == {}, (found.ours, found.theirs)


LIMITS = {"max_drawdown_percent": 5, "max_daily_loss": 2000, "max_exposure": 1_000_000, "max_open_orders": 10}


async def one_look(parts: Parts) -> tuple[ExitReport, RiskReport]:
    """What the updaters do in a minute: account and tickers, reconciliation, exits, and the portfolio's limits."""
    await snapshots(parts)
    tickers = await parts.exchange.fetch_tickers()
    await parts.store.market.save_tickers(parts.account, list(tickers.values()), parts.clock.now())
    report = await reconcile(parts)
    assert (report.drift, report.foreign, report.unowned_fills) == ((), [], [])
    return await check_exits(parts), await monitor_risk(parts)


async def held(parts: Parts) -> dict[str, Decimal]:
    """What each strategy holds, once it sums to what the venue holds, and nothing is anybody's by hand."""
    await snapshots(parts)
    books = await load_books(parts)
    found = {name: each.quantity for (name, _), each in books.positions.items() if each.is_open}
    theirs = [each.signed_quantity for each in await parts.exchange.fetch_positions() if each.symbol == SWAP]
    assert (sum(found.values(), Decimal(0)), books.by_hand().get(SWAP)) == (sum(theirs, Decimal(0)), None)
    return found


async def stops_are(parts: Parts, quantities: Sequence[str]) -> None:
    async def holds() -> bool:
        await snapshots(parts)
        there = [each for each in await parts.exchange.fetch_open_orders() if each.order_type is OrderType.STOP]
        return sorted(each.quantity for each in there) == [Decimal(each) for each in quantities]

    await until(holds)


async def test_a_close_by_hand_a_withdrawal_and_funding_in_mid_position_flip_and_halt_nothing(
    parts: Parts, paper: PaperServer, books: Any
) -> None:
    """Limits are set, and exits, stops and the watch of the limits run all the while."""
    shared = {**STRATEGY, "capital_share_percent": 40}
    parts.config = KontorConfig.model_validate({"strategies": {"one": shared, "two": shared}, "risk": LIMITS})
    prefix = await parts.store.desk.desk_prefix()
    _, before = await one_look(parts)
    async with at_work(parts):
        for name, quantity in (("one", "0.2"), ("two", "0.1")):
            intent = OrderIntent(SWAP, Side.BUY, OrderType.MARKET, Decimal(quantity), strategy=name)
            order = await place(parts, intent, client_order_id=client_order_id(prefix, name), actor="test")
            assert order.state is S.INITIALIZED, order.reason
        await stops_are(parts, ["0.1", "0.2"])
        assert await held(parts) == {"one": Decimal("0.2"), "two": Decimal("0.1")}

        await books.create_order(SWAP, "market", "sell", 12, None, {"reduceOnly": True, "tdMode": "cross"})
        gone = (before.equity * Decimal("0.4")).quantize(Decimal(1))
        paper.venue.deposit("paper", "USD", -gone, "withdrawal")
        paper.venue.set_funding_rate("BTC-USD-SWAP", Decimal("0.001"))
        paper.venue.pay_funding("BTC-USD-SWAP")
        for _ in range(3):
            exits, risk = await one_look(parts)
            assert (exits.orders, exits.closing, exits.errors, exits.residue) == ([], {}, {}, {})
            assert (risk.breaches, risk.halted) == ([], None)
            assert abs(before.equity - gone - risk.equity) < before.equity / 100
        await stops_are(parts, ["0.06", "0.12"])
        assert await held(parts) == {"one": Decimal("0.12"), "two": Decimal("0.06")}
        found = await compare_with_bills(parts)
        assert found is not None
        assert found.apart == {}, (found.ours, found.theirs)

        await books.create_order(SWAP, "market", "sell", 18, None, {"reduceOnly": True, "tdMode": "cross"})
        exits, risk = await one_look(parts)
        assert (exits.watched, exits.orders, risk.halted) == (0, [], None)
        await stops_are(parts, [])
        assert await held(parts) == {}
        found = await compare_with_bills(parts)
        assert found is not None
        assert found.apart == {}, (found.ours, found.theirs)
    orders = await parts.store.orders.find(parts.account)
    assert {each.state for each in orders} <= {S.FILLED, S.CANCELED}


async def test_the_accounts_set_up_is_read_and_its_leverage_set(parts: Parts) -> None:
    assert await parts.exchange.call(ACCOUNT_SETUP) == AccountSetup(AccountLevel.FUTURES, PositionMode.NET)
    before, now = await set_leverage(parts, SWAP, Decimal(7))
    assert (before != 7, now) == (True, 7)
    parts.config = KontorConfig.model_validate({"setup": {"leverage": {SWAP: 5}}})
    [problem] = (await check_setup(parts)).problems
    assert "the venue has leverage 7 on BTC/USD:USD, setup.leverage says 5" in problem
    await set_leverage(parts, SWAP, Decimal(5))
    assert (await check_setup(parts)).problems == ()


async def test_bills_and_transfers_of_weeks_ago_come_from_the_venues_archive(
    parts: Parts, paper: PaperServer, venue_clock: ManualClock
) -> None:
    """The list of recent bills reaches back seven days; a desk may have been down for longer."""
    await snapshots(parts)
    now = datetime.now(UTC)
    paper.venue.deposit("paper", "USD", Decimal(-1234), "withdrawal")
    venue_clock.advance(10 * 24 * 3600)
    paper.venue.deposit("paper", "USD", Decimal(55), "deposit")
    changes = [Decimal(-1234), Decimal(55)]
    recent = [bill.change for bill in await parts.exchange.fetch_bills(now - timedelta(days=2))]
    assert recent == [Decimal(55)]
    old = [bill.change for bill in await parts.exchange.fetch_bills(now - timedelta(days=20))]
    assert [change for change in old if change in changes] == changes
    moved = [each.quantity for each in await parts.exchange.fetch_transfers(now - timedelta(days=20))]
    assert [quantity for quantity in moved if quantity in changes] == changes
    part = await parts.exchange.fetch_bills(now - timedelta(days=20), now + timedelta(days=1))
    assert [bill.change for bill in part if bill.change in changes] == changes[:1]
