"""Every test that takes `store` runs on memory, SQLite and PostgreSQL; `sql` ones on the two that share a database."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from kontor.ports import Store
from kontor.store import open_store
from kontor.store.tables.shared import metadata
from tests.support.postgres import PostgresServer, postgres_or_report

# Opens a store on a database that others of the same test may share: by a name, `main` without one.
OpenStore: TypeAlias = Callable[..., Store]

ALL = ["memory", "sqlite", "postgresql"]
SQL = ["sqlite", "postgresql"]
EMPTY = "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables))  # noqa: S608, our own names


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_or_report() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """One migrated database for all tests, each of which leaves it empty: making and dropping one costs far more."""
    url = postgres.create_database()
    _migrate(url)
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("store") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Where an empty, migrated database of that kind is."""

    def make(kind: str) -> str:
        if kind == "memory":
            return "memory://"
        if kind == "postgresql":
            url: str = request.getfixturevalue("postgres_url")
            server: PostgresServer = request.getfixturevalue("postgres")
            request.addfinalizer(lambda: server.psql(url, EMPTY))
            return url
        path = tmp_path / "kontor.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(params=ALL)
async def store(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> AsyncIterator[Store]:
    """An empty store of each kind."""
    store = open_store(new_url(request.param))
    yield store
    await store.close()


@pytest.fixture(params=SQL)
def url(request: pytest.FixtureRequest, new_url: Callable[[str], str]) -> str:
    """An empty, migrated database of each kind that several processes can share."""
    return new_url(request.param)


@pytest.fixture(params=SQL)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind that has never been migrated."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.create_database()
    return f"sqlite:///{tmp_path}/fresh.db"


@pytest.fixture
async def opened() -> AsyncIterator[OpenStore]:
    """Opens stores by URL, and closes them after the test."""
    async with AsyncExitStack() as stack:

        def make(url: str) -> Store:
            store = open_store(url)
            stack.push_async_callback(store.close)
            return store

        yield make


def _migrate(url: str) -> None:
    async def migrate() -> None:
        store = open_store(url)
        await store.migrate()
        await store.close()

    # In a thread: a session's fixture may be asked for while a test's loop already runs in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate()).result()
