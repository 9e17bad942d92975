"""The disk fills up, or turns read-only, while orders flow: nothing is sent that is not recorded; then on again."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import event

from kontor.config import OrderSettings
from kontor.domain.order import Order, OrderState
from kontor.execution.executor import Executor
from kontor.ports import Store
from kontor.resilience.clock import SystemClock
from kontor.store.sql_store import SqlStore
from kontor.store.sqlite import SqliteDatabase
from tests.contract.store.builders import BTC, ETH, make_order
from tests.contract.store.conftest import OpenStore
from tests.contract.store.test_trouble import with_pragma
from tests.fakes.exchange import FakeExchange
from tests.fakes.venue import Venue

S = OrderState
SETTINGS = OrderSettings(lease_seconds=3, request_timeout_seconds=2)


def fill_up(store: Store) -> Callable[[], None]:
    """Every commit of this store finds no room for its pages, until the answer is called."""
    assert isinstance(store, SqlStore)
    assert isinstance(store.database, SqliteDatabase)
    engine = store.database.writing

    def no_room(_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    event.listen(engine, "commit", no_room)
    return lambda: event.remove(engine, "commit", no_room)


def make_read_only(store: Store) -> Callable[[], None]:
    """As a kernel does that has met an error of the disk."""
    set_pragma = with_pragma(store, "query_only = ON")
    return lambda: set_pragma("query_only = OFF")


@pytest.mark.parametrize(("trouble", "said"), [(fill_up, "the disk is full"), (make_read_only, "it is read-only")])
async def test_an_executor_halts_without_a_disk_and_goes_on_with_it(
    trouble: Callable[[Store], Callable[[], None]],
    said: str,
    new_url: Callable[[str], str],
    opened: OpenStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On real SQLite, through everything an executor does: claims, results, its lease and its heartbeat."""
    url, clock, venue = new_url("sqlite"), SystemClock(), Venue()
    theirs, ours = opened(url), opened(url)
    exchange = FakeExchange(venue, clock)
    executor = Executor("paper", theirs, exchange, clock, SETTINGS, "test", beat_as="execute-orders")

    async def want(name: str, symbol: str) -> Order:
        now = clock.now()
        order = make_order(name, symbol=symbol, created_at=now, good_until=now + timedelta(minutes=5))
        return (await ours.orders.enqueue([order], "test"))[0]

    async def reaches(order: Order, state: OrderState) -> Order:
        async with asyncio.timeout(30):
            while True:
                stored = await ours.orders.get(order.client_order_id)
                if stored is not None and stored.state is state:
                    return stored
                await ours.orders.wait_for_change("paper", seconds=0.1)

    working = asyncio.create_task(executor.run())
    try:
        await reaches(await want("before", BTC), S.ACCEPTED)
        mend = trouble(theirs)
        waiting = [await want(f"during {symbol}", symbol) for symbol in (BTC, ETH)]
        # Longer than the lease, which cannot be renewed either.
        await asyncio.sleep(3.5)
        for order in waiting:
            stored = await ours.orders.get(order.client_order_id)
            assert stored is not None
            assert stored.state is S.INITIALIZED
        assert set(venue.accepted) == {"before"}
        assert said in caplog.text
        mend()
        for order in waiting:
            await reaches(order, S.ACCEPTED)
        assert not working.done()
        assert venue.accepted == {"before": 1, **{order.client_order_id: 1 for order in waiting}}
    finally:
        executor.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await working
