"""The dead man's switch all the way: the executor's part of it, ccxt, and a venue whose clock a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from kontor.config import OrderSettings
from kontor.domain.account import Position, PositionSide
from kontor.domain.order import Order, OrderState
from kontor.exchange.guarded import GuardedExchange
from kontor.execution import dead_mans_switch
from kontor.execution.dead_mans_switch import DEAD_MANS_SWITCH, DeadMansSwitch
from kontor.execution.lease import HeldLease
from kontor.paper.clock import ManualClock
from kontor.resilience.clock import SystemClock
from kontor.store.memory import MemoryStore

from .on_paper import SWAP

ACCOUNT = "paper"
SECONDS = 30
SETTINGS = OrderSettings(dead_mans_switch_seconds=SECONDS)


@pytest.fixture
def exchange(desk: GuardedExchange) -> GuardedExchange:
    """The desk's way to the paper exchange, whose time only a test lets pass."""
    return desk


@pytest.fixture
async def store() -> MemoryStore:
    """A desk's books, in which no position is open."""
    made = MemoryStore()
    await made.account.save_positions(ACCOUNT, [], SystemClock().now())
    return made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look twenty times a second, and renew every tenth of a second: the venue's clock runs by jumps here."""
    monkeypatch.setattr(dead_mans_switch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(dead_mans_switch, "RENEWALS", SECONDS * 10)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - the venue sets no event of ours
            await asyncio.sleep(0.01)


@asynccontextmanager
async def kept(exchange: GuardedExchange, store: MemoryStore) -> AsyncIterator[DeadMansSwitch]:
    """The switch looked after, as an executor does; at the end its process dies without a last word."""
    switch = DeadMansSwitch(ACCOUNT, store, exchange, SystemClock(), SETTINGS)
    task = asyncio.create_task(switch.keep())
    try:
        yield switch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def said(store: MemoryStore, *, armed: bool) -> None:
    """Wait until the desk's status says so."""

    async def holds() -> bool:
        found = await store.desk.attribute(ACCOUNT, DEAD_MANS_SWITCH)
        return found is not None and found.value["armed"] is armed

    await until(holds)


async def renewed(store: MemoryStore) -> None:
    """Wait for the next renewal."""
    told = await store.desk.attribute(ACCOUNT, DEAD_MANS_SWITCH)
    assert told is not None

    async def holds() -> bool:
        found = await store.desk.attribute(ACCOUNT, DEAD_MANS_SWITCH)
        return found is not None and found.value["fires_at"] > told.value["fires_at"]

    await until(holds)


async def rest(exchange: GuardedExchange, make_order: Callable[..., Order]) -> Order:
    """Have an order in the book, three percent below the market."""
    last = (await exchange.fetch_tickers([SWAP]))[SWAP].last
    assert last is not None
    price = (await exchange.load_markets())[SWAP].round_price(last * Decimal("0.97"))
    order = make_order(SWAP, price=price)
    await exchange.create_order(order)
    return order


async def test_when_the_desk_dies_the_venue_cancels_what_rests(
    exchange: GuardedExchange, store: MemoryStore, venue_clock: ManualClock, make_order: Callable[..., Order]
) -> None:
    """Nobody watches these orders any more."""
    order = await rest(exchange, make_order)
    async with kept(exchange, store):
        await said(store, armed=True)
    venue_clock.advance(SECONDS - 1)
    assert len(await exchange.fetch_open_orders(SWAP)) == 1
    venue_clock.advance(2)
    assert not await exchange.fetch_open_orders(SWAP)
    report = await exchange.fetch_order(SWAP, client_order_id=order.client_order_id)
    assert report.state is OrderState.CANCELED


async def test_while_it_lives_no_time_cancels_anything(
    exchange: GuardedExchange, store: MemoryStore, venue_clock: ManualClock, make_order: Callable[..., Order]
) -> None:
    """Renewed long before it would fire."""
    await rest(exchange, make_order)
    async with kept(exchange, store):
        await said(store, armed=True)
        for _ in range(4):
            venue_clock.advance(SECONDS * 0.8)
            # Two of them: the first may have been on its way before the clock jumped.
            await renewed(store)
            await renewed(store)
        assert len(await exchange.fetch_open_orders(SWAP)) == 1


class Unproven:
    """A venue of which nobody knows whether its switch spares the stops."""

    def __init__(self, inner: GuardedExchange) -> None:
        self._inner = inner
        self.profile = replace(inner.profile, cancel_all_after_spares_stops=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def a_position() -> Position:
    """One that wants its stop."""
    return Position(
        symbol=SWAP,
        side=PositionSide.LONG,
        quantity=Decimal(1),
        entry_price=Decimal(60_000),
        mark_price=Decimal(60_000),
        unrealized_pnl=Decimal(0),
        notional=Decimal(60_000),
        leverage=Decimal(1),
        margin_mode="cross",
        at=SystemClock().now(),
    )


async def test_it_is_disarmed_while_a_position_is_open_where_it_may_take_the_stops(
    exchange: GuardedExchange, store: MemoryStore, venue_clock: ManualClock, make_order: Callable[..., Order]
) -> None:
    """What dies must not take the position's own protection with it."""
    await rest(exchange, make_order)
    async with kept(cast("GuardedExchange", Unproven(exchange)), store):
        await said(store, armed=True)
        await store.account.save_positions(ACCOUNT, [a_position()], SystemClock().now())
        await said(store, armed=False)
    venue_clock.advance(10 * SECONDS)
    assert len(await exchange.fetch_open_orders(SWAP)) == 1


async def test_where_stops_are_spared_it_stays_armed_beside_a_position(
    exchange: GuardedExchange, store: MemoryStore, venue_clock: ManualClock, make_order: Callable[..., Order]
) -> None:
    """OKX cancels orders, not algo orders: entries go, and what protects the position stands."""
    await rest(exchange, make_order)
    async with kept(exchange, store):
        await said(store, armed=True)
        await store.account.save_positions(ACCOUNT, [a_position()], SystemClock().now())
        await renewed(store)
        await renewed(store)
    venue_clock.advance(10 * SECONDS)
    assert not await exchange.fetch_open_orders(SWAP)


async def test_an_orderly_end_leaves_orders_that_are_meant_to_stay(
    exchange: GuardedExchange, store: MemoryStore, venue_clock: ManualClock, make_order: Callable[..., Order]
) -> None:
    """`orders.cancel_on_stop` decides about them, not the switch."""
    await rest(exchange, make_order)
    held = await HeldLease.acquire(store.desk, SystemClock(), "executor:paper", "test", timedelta(seconds=60))
    assert held is not None
    async with kept(exchange, store) as switch:
        await said(store, armed=True)
    await switch.let_go(held)
    await said(store, armed=False)
    venue_clock.advance(10 * SECONDS)
    assert len(await exchange.fetch_open_orders(SWAP)) == 1
