"""Stores that a released version wrote, brought to this one whole; a migration that fails changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from kontor.domain.order import OrderState, advance
from kontor.store import migrate
from kontor.store.migrate import MIGRATIONS, revision_of
from kontor.store.migrations import HEAD
from kontor.store.sql_store import SqlStore
from kontor.store.tables.shared import metadata
from tests.contract.store.builders import enqueued, make_fill, make_order
from tests.contract.store.conftest import OpenStore
from tests.support.old_stores import ACCOUNT, ROWS, at, everything, live_a_life, without_what_came_later
from tests.support.postgres import PostgresServer

RELEASED = Path(__file__).parent / "released"
DUMPS = sorted(RELEASED.glob("*.sql"))
COUNTED = text(
    "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_events), (SELECT count(*) FROM fills)"
)

BROKEN = '''
"""A migration that gets half way."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("orders", sa.Column("half_done", sa.Text(), nullable=True))
    op.create_table("half_made", sa.Column("id", sa.Integer(), nullable=False))
    op.execute("DELETE FROM order_events")
    raise RuntimeError("the disk went away")
'''


@pytest.fixture
def restored(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], str]:
    """The URL of a database made from a dump."""

    def load(dump: Path) -> str:
        if dump.suffixes[0] == ".sqlite":
            path = tmp_path / "old.db"
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript(dump.read_text(encoding="utf-8"))
            return f"sqlite:///{path}"
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database()
        command = [str(server.binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", str(dump)]
        subprocess.run(command, check=True, capture_output=True)
        return url

    return load


def released(dump: Path) -> str:
    return dump.name.partition(".")[0].removeprefix("r")


def schema_differences(conn: Connection) -> list[Any]:
    return compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata)


def test_there_is_a_store_of_every_revision_in_both_databases() -> None:
    """Every revision on main is one that somebody may run: without its dump nobody knows whether it can be left."""
    found = {
        kind: {released(dump) for dump in DUMPS if dump.suffixes[0] == kind} for kind in (".sqlite", ".postgresql")
    }
    revisions = {file.name[1:5] for file in (MIGRATIONS / "versions").glob("r*.py")}
    assert found[".sqlite"] == found[".postgresql"] == revisions, "run: make store-dump (tests/support/old_stores.py)"


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
async def test_a_released_store_is_brought_here_whole(
    dump: Path, restored: Callable[[Path], str], new_url: Callable[[str], str], opened: OpenStore
) -> None:
    """Whatever a store could hold then is what this version would have stored itself, and it trades on."""
    store = opened(restored(dump))
    assert isinstance(store, SqlStore)
    assert await store.database.read(revision_of) == released(dump)
    prefix = await store.database.read(lambda conn: conn.execute(text("SELECT prefix FROM desk")).scalar_one())
    await store.migrate()
    assert await store.database.read(revision_of) == HEAD
    assert await store.database.read(schema_differences) == []
    assert await store.desk.desk_prefix() == prefix

    lived_now = opened(new_url("sqlite"))
    await live_a_life(lived_now)
    expected = without_what_came_later(await everything(lived_now), released(dump))
    found = await everything(store)
    for name, value in expected.items():
        assert found[name] == value, name

    (unknown,) = await store.orders.find(ACCOUNT, states={OrderState.SUBMITTED})
    accepted = advance(unknown, OrderState.ACCEPTED, at(9), venue_order_id="v9", unknown_since=None)
    assert await store.orders.record([(unknown, accepted)], actor="test", at=at(9)) == [True]
    assert await enqueued(store, make_order("after"))
    assert len(await store.orders.save_fills(ACCOUNT, [make_fill("t1"), make_fill("t9")])) == 1


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
async def test_a_migration_that_fails_rolls_back_all_of_them(
    dump: Path, restored: Callable[[Path], str], opened: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half way between two versions neither of them could work; the old one still can, and the next try succeeds."""
    store = opened(restored(dump))
    assert isinstance(store, SqlStore)

    def facts(conn: Connection) -> tuple[Any, ...]:
        there = inspect(conn)
        columns = {table: [each["name"] for each in there.get_columns(table)] for table in there.get_table_names()}
        return revision_of(conn), conn.execute(COUNTED).one(), columns

    before = await store.database.read(facts)
    assert before[1] == max((since, rows) for since, rows in ROWS.items() if since <= released(dump))[1]
    with monkeypatch.context() as patch:
        broken = shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
        (broken / "versions" / "r9999_broken.py").write_text(BROKEN.format(head=HEAD), encoding="utf-8")
        patch.setattr(migrate, "MIGRATIONS", broken)
        patch.setattr(migrate, "HEAD", "9999")
        with pytest.raises(RuntimeError, match="the disk went away"):
            await store.migrate()
    assert await store.database.read(facts) == before
    await store.migrate()
    assert await store.database.read(revision_of) == HEAD
