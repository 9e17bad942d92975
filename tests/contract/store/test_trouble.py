"""When the store cannot: a clear error with its remedy, nothing half written, and on again when the trouble is over."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, text

from kontor.errors import StoreUnavailable
from kontor.ports import Store
from kontor.store import open_store, sqlite
from kontor.store.sql_store import SqlStore
from kontor.store.sqlite import SqliteDatabase
from tests.contract.store.builders import BTC, NOW, enqueued, make_candles, make_order
from tests.contract.store.conftest import OpenStore
from tests.support.postgres import PostgresServer


@pytest.fixture
def path(new_url: Callable[[str], str]) -> Path:
    return Path(new_url("sqlite").removeprefix("sqlite:///"))


def with_pragma(store: Store, pragma: str) -> Callable[[str], None]:
    """Sets a pragma on the writing connection before each unit of work; call the answer to set another."""
    assert isinstance(store, SqlStore)
    assert isinstance(store.database, SqliteDatabase)
    values = [pragma]

    @event.listens_for(store.database.writing, "checkout")
    def set_pragma(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA {values[0]}")

    return lambda pragma: values.__setitem__(0, pragma)


async def test_a_full_disk_is_told_and_nothing_is_half_written(path: Path, opened: OpenStore) -> None:
    """The executor must know that its intent was not recorded; when there is space again it just goes on."""
    store = opened(f"sqlite:///{path}")
    (order,) = await enqueued(store, make_order("before"))
    set_pragma = with_pragma(store, "max_page_count = 1")
    orders = [make_order(f"o{i}", reason="x" * 4000) for i in range(20)]
    with pytest.raises(StoreUnavailable, match="the disk is full: free some space"):
        await store.orders.enqueue(orders, "test")
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.orders.record([(order, replace(order, reason="x" * 9000))], actor="test", at=NOW)
    assert await store.orders.find("paper") == [order]
    assert await store.orders.events("o0") == []
    set_pragma("max_page_count = 1000000")
    assert await store.orders.enqueue(orders, "test") == orders


async def test_a_read_only_store_is_told_and_can_still_be_read(path: Path, opened: OpenStore) -> None:
    """A disk that the kernel has remounted after an error."""
    store = opened(f"sqlite:///{path}")
    await enqueued(store, make_order("before"))
    set_pragma = with_pragma(store, "query_only = ON")
    with pytest.raises(StoreUnavailable, match=f"{path}: it is read-only: give this user write access"):
        await store.orders.enqueue([make_order("a")], "test")
    assert [order.client_order_id for order in await store.orders.find("paper")] == ["before"]
    set_pragma("query_only = OFF")
    assert await enqueued(store, make_order("a"))


async def test_a_store_that_stays_locked_is_told(
    path: Path, opened: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has an open transaction in a database browser; reading goes on, writing too once they have finished."""
    monkeypatch.setattr(sqlite, "LOCK_PATIENCE_SECONDS", 0.05)
    store = opened(f"sqlite:///{path}")
    browser = sqlite3.connect(path, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another process has kept it locked"):
        await store.orders.enqueue([make_order("a")], "test")
    assert await store.orders.find("paper") == []
    browser.execute("ROLLBACK")
    browser.close()
    assert await enqueued(store, make_order("a"))


async def test_a_writer_waits_for_a_lock_without_stopping_the_event_loop(path: Path, opened: OpenStore) -> None:
    """Another process writes candles: our order waits, our heartbeats and streams do not."""
    store = opened(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(store.orders.enqueue([make_order("a")], "test"))
    for _ in range(20):
        assert await store.orders.find("paper") == []
    assert not write.done()
    other.execute("COMMIT")
    other.close()
    assert len(await write) == 1


async def test_a_canceled_write_is_whole_or_not_there(store: Store) -> None:
    """A flow that times out in mid-commit: its caller looks up what happened, and finds a whole order or none."""
    for i in range(10):
        task = asyncio.create_task(store.orders.enqueue([make_order(f"{i}a"), make_order(f"{i}b")], "test"))
        for _ in range(i % 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await enqueued(store, make_order(f"{i}c"))
        found = [await store.orders.get(f"{i}{letter}") for letter in "ab"]
        assert found in ([None, None], [make_order(f"{i}a"), make_order(f"{i}b")])
        for order in found:
            assert order is None or len(await store.orders.events(order.client_order_id)) == 1


async def test_a_file_that_is_no_database_is_told(tmp_path: Path, opened: OpenStore) -> None:
    """A wrong path in the block."""
    path = tmp_path / "notes.txt"
    path.write_text("buy low, sell high\n" * 100)
    store = opened(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a SQLite database: check the path"):
        await store.migrate()
    assert path.read_text().startswith("buy low")


async def test_a_missing_folder_is_told(tmp_path: Path, opened: OpenStore) -> None:
    """Only `migrate` makes folders."""
    store = opened(f"sqlite:///{tmp_path}/nowhere/kontor.db")
    with pytest.raises(StoreUnavailable, match="cannot be opened: check that its folder exists"):
        await store.orders.get("a")


async def test_a_closed_store_says_so(store: Store) -> None:
    """Closing twice is fine, using it afterwards is not."""
    await store.close()
    await store.close()
    if isinstance(store, SqlStore):
        with pytest.raises(StoreUnavailable, match="has been closed"):
            await store.orders.get("a")
        with pytest.raises(StoreUnavailable, match="has been closed"):
            await store.market.save_candles("paper", "1m", {BTC: make_candles(0, 1)})


async def test_an_unreachable_server_is_told_without_the_password(tmp_path: Path, opened: OpenStore) -> None:
    """The message goes into logs and chats."""
    store = opened(f"postgresql://me:hunter2@/desk?host={tmp_path}")
    for attempt in (store.migrate(), store.orders.get("a"), store.orders.wait_for_change("paper", seconds=1)):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            await attempt
        assert "hunter2" not in str(caught.value)


async def test_a_missing_database_is_told(postgres: PostgresServer, opened: OpenStore) -> None:
    """The server is there, the database is not."""
    store = opened(postgres.url("nowhere"))
    with pytest.raises(StoreUnavailable, match="no such database: create it"):
        await store.migrate()


async def test_a_server_that_is_read_only_is_told(postgres: PostgresServer, opened: OpenStore) -> None:
    """A replica, or a server protecting itself."""
    url = postgres.create_database()
    database = url.split("@/")[1].split("?")[0]
    postgres.psql(url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only: connect to the primary"):
        await opened(url).migrate()


async def test_a_server_that_drops_all_connections_is_survived(
    postgres: PostgresServer, new_url: Callable[[str], str], opened: OpenStore
) -> None:
    """A restart of the server: waiters look for themselves, the next calls connect anew, and hear of changes again."""
    url = new_url("postgresql")
    ours, theirs = opened(url), opened(url)
    await enqueued(ours, make_order("a"))
    assert not await ours.orders.wait_for_change("paper", seconds=0)
    waiter = asyncio.create_task(ours.orders.wait_for_change("paper", seconds=20))
    await asyncio.sleep(0)
    postgres.psql(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kontor'")
    assert await waiter
    assert len(await ours.orders.find("paper")) == 1
    # Once more, because something may have been missed while nobody listened; then quiet.
    assert await ours.orders.wait_for_change("paper", seconds=20)
    assert not await ours.orders.wait_for_change("paper", seconds=0)
    waiter = asyncio.create_task(ours.orders.wait_for_change("paper", seconds=20))
    await asyncio.sleep(0)
    await enqueued(theirs, make_order("b"))
    assert await waiter


def test_opening_touches_nothing(tmp_path: Path) -> None:
    """`kontor doctor` may open a store that does not exist, without making it."""
    open_store(f"sqlite:///{tmp_path}/kontor.db")
    assert list(tmp_path.iterdir()) == []


async def test_a_statement_that_never_was_is_a_fault_of_ours(url: str, opened: OpenStore) -> None:
    """Not every database error is trouble of the machine: those keep their own words."""
    store = opened(url)
    assert isinstance(store, SqlStore)
    with pytest.raises(Exception, match="syntax error"):
        await store.database.read(lambda conn: conn.execute(text("SELECT FROM WHERE")))
