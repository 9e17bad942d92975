"""The schema: what migrations make is what the tables say; a store of another version is refused clearly."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from kontor.errors import StoreError, StoreUnavailable
from kontor.store.columns import EPOCH
from kontor.store.migrate import MIGRATIONS
from kontor.store.migrations import HEAD
from kontor.store.sql_store import SqlStore
from kontor.store.tables.shared import metadata
from tests.contract.store.builders import enqueued, make_fill, make_order
from tests.contract.store.conftest import OpenStore


def test_the_named_head_is_the_newest_revision() -> None:
    """The quick check at each start compares with it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_migrations_make_what_the_tables_say(url: str, opened: OpenStore) -> None:
    """A column added to the tables without a migration would fail at the first query of an old store."""
    store = opened(url)
    assert isinstance(store, SqlStore)

    def compare(conn: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)

    assert await store.database.read(compare) == []


async def test_migrating_again_keeps_everything(url: str, opened: OpenStore) -> None:
    """Every start migrates."""
    store = opened(url)
    orders = await enqueued(store, make_order("a"))
    await store.migrate()
    assert await store.orders.find("paper") == orders


async def test_a_store_of_a_newer_kontor_is_refused(url: str, opened: OpenStore) -> None:
    """An old program must not write into tables it does not know."""
    store = opened(url)
    assert isinstance(store, SqlStore)
    revise = text("UPDATE alembic_version SET version_num = :revision")
    await store.database.write(lambda conn: conn.execute(revise, {"revision": "9999"}))
    with pytest.raises(StoreError, match=r"newer Kontor \(revision 9999.*update Kontor"):
        await store.migrate()
    await store.database.write(lambda conn: conn.execute(revise, {"revision": HEAD}))


async def test_an_unmigrated_store_says_what_to_do(fresh_url: str, opened: OpenStore) -> None:
    """Not a traceback about a missing table."""
    store = opened(fresh_url)
    with pytest.raises(StoreUnavailable, match="tables are missing or old: run `kontor up`"):
        await store.orders.enqueue([make_order("a")], "test")
    with pytest.raises(StoreUnavailable, match="tables are missing or old"):
        await store.orders.get("a")


async def test_migrating_makes_the_folder(tmp_path: Path, opened: OpenStore) -> None:
    """A new home has no folder yet."""
    store = opened(f"sqlite:///{tmp_path}/new/home/kontor.db")
    await store.migrate()
    assert await enqueued(store, make_order("a"))


async def test_an_old_store_keeps_its_fills_through_every_migration(fresh_url: str, opened: OpenStore) -> None:
    """A desk that traded with the first tables brings its history along."""
    store = opened(fresh_url)
    assert isinstance(store, SqlStore)

    def first_tables(conn: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        conn.execute(
            text(
                "INSERT INTO fills (account, trade_id, symbol, side, quantity, price, filled_at, venue_order_id) "
                "VALUES ('paper', 't1', 'BTC/USD:USD', 'buy', '0.04', '60000', 0, 'v1')"
            )
        )

    await store.database.write(first_tables)
    await store.migrate()
    assert await store.orders.fills("paper") == [make_fill("t1", filled_at=EPOCH)]


async def test_two_stores_of_one_process_migrate_at_once(tmp_path: Path, opened: OpenStore) -> None:
    """Two accounts with stores of their own in one worker: Alembic keeps what it works on in globals."""
    stores = [opened(f"sqlite:///{tmp_path}/{number}.db") for number in range(6)]
    await asyncio.gather(*(store.migrate() for store in stores))
    for store in stores:
        assert await enqueued(store, make_order("a"))
