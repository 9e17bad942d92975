"""The server's launcher: one connection for an SQLite file, nothing for anything else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.server.database import configurations
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import Settings
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from deployments import server
from deployments.server_settings import client_environment, server_environment, worker_environment


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's module as the launcher leaves it, put back afterwards."""
    monkeypatch.setattr(configurations, "create_async_engine", vars(configurations)["create_async_engine"])
    server.give_sqlite_one_connection()


async def most_connections(path: Path) -> int:
    """How many connections Prefect's own engine has open when five sessions want one at the same time."""
    config = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}")
    engine = await config.engine()
    everybody = asyncio.Barrier(5)
    seen = 0

    async def work() -> None:
        nonlocal seen
        await everybody.wait()
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            seen = max(seen, engine.pool.checkedout())  # pyright: ignore[reportAttributeAccessIssue]
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(5)))
    await engine.dispose()
    configurations.ENGINES.clear()
    return seen


@pytest.mark.usefixtures("launched")
async def test_the_launchers_sqlite_engine_has_one_connection(tmp_path: Path) -> None:
    """The remedy itself, on the engine that Prefect's own code builds."""
    assert await most_connections(tmp_path / "prefect.db") == 1


async def test_without_the_launcher_prefects_engine_has_several(tmp_path: Path) -> None:
    """If this fails, Prefect has changed and the launcher may have become needless."""
    assert await most_connections(tmp_path / "prefect.db") > 1


async def pages_kept(path: Path) -> int:
    """What Prefect's own engine asks SQLite to keep in memory."""
    engine = await AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}").engine()
    async with engine.connect() as connection:
        found = (await connection.execute(text("pragma cache_size"))).scalar_one()
    await engine.dispose()
    configurations.ENGINES.clear()
    return found


async def test_the_launchers_sqlite_engine_keeps_few_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose database grows must not grow with it; without the launcher it would, by 80 MB."""
    monkeypatch.setattr(AioSqliteConfiguration, "setup_sqlite", AioSqliteConfiguration.setup_sqlite)
    assert await pages_kept(tmp_path / "before.db") > 4 * server.CACHE_PAGES
    server.limit_sqlite_cache()
    assert await pages_kept(tmp_path / "after.db") == server.CACHE_PAGES


def options_for(url: str) -> dict[str, Any]:
    """What the launcher adds for this database."""
    seen: dict[str, Any] = {}
    server.with_one_connection(lambda _, **options: seen.update(options))(url)  # pyright: ignore[reportArgumentType]
    return seen


def test_a_postgresql_engine_is_left_alone() -> None:
    """Its pool is Prefect's to size, and the user's to set."""
    assert options_for("postgresql+asyncpg://u:p@localhost/db") == {}
    assert options_for("sqlite+aiosqlite:////tmp/x.db")["pool_size"] == 1


async def seconds_the_loop_stands_still(path: Path) -> float:
    """How long a loop stands still that collects a cursor while two transactions of Prefect's engine want to write.

    The first transaction has the write lock and can go on only when the loop turns. The second one's thread waits for
    the lock inside SQLite, which keeps that connection's mutex; finalizing a cursor of that connection waits for it.
    """
    engine = await AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}").engine()
    leftovers: list[Any] = []

    async def write_too() -> None:
        async with engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.execute("pragma busy_timeout = 2500")  # Prefect's is 60 s, which is how long its server stops
            cursor = await raw.execute("select 1 union select 2")
            await cursor.fetchone()
            leftovers.append(cursor)
            del cursor
            with contextlib.suppress(OperationalError):
                await connection.exec_driver_sql("begin immediate")
                await connection.rollback()

    async with engine.connect() as first:
        await first.exec_driver_sql("begin immediate")
        second = asyncio.create_task(write_too())
        await asyncio.sleep(0.7)  # inside SQLite's busy handler, where nothing can be observed from outside
        began = time.monotonic()
        leftovers.clear()  # the last reference: what the garbage collector does to cursors in cycles
        took = time.monotonic() - began
        await first.rollback()
    await second
    await engine.dispose()
    configurations.ENGINES.clear()
    return took


@pytest.mark.usefixtures("launched")
async def test_with_the_launcher_a_loop_that_collects_garbage_goes_on(tmp_path: Path) -> None:
    """The remedy: the second transaction waits in the pool, in the loop, where it holds nothing."""
    assert await seconds_the_loop_stands_still(tmp_path / "prefect.db") < 1


async def test_without_the_launcher_a_loop_that_collects_garbage_freezes(tmp_path: Path) -> None:
    """The cause, on Prefect's own engine: only the busy timeout ends it."""
    assert await seconds_the_loop_stands_still(tmp_path / "prefect.db") > 1


async def test_the_uis_list_of_worker_types_has_ours_beside_prefects() -> None:
    """The page for a new work pool shows what the server's registry view has, and nothing else."""

    async def registry(view: str) -> dict[str, Any]:
        return {"prefect": {"process": {}}} if view == "aggregate-worker-metadata" else {"blocks": {}}

    read = server.with_our_worker_type(registry)
    types = await read("aggregate-worker-metadata")
    assert types["prefect"] == {"process": {}}
    ours = types["kontor"]["in-process"]
    assert {"type", "display_name", "description", "logo_url", "default_base_job_configuration"} <= set(ours)
    assert "when_drained" in ours["default_base_job_configuration"]["variables"]["properties"]
    assert await read("aggregate-block-metadata") == {"blocks": {}}


def test_prefect_takes_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duration in a form that Prefect refuses would keep every process of the desk from starting."""
    environment = server_environment(
        tmp_path, 4321, retention=timedelta(days=3), auth="admin:word"
    ) | worker_environment(tmp_path, 4321, auth="admin:word")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.api.url == "http://127.0.0.1:4321/api"
    assert settings.server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert settings.server.services.db_vacuum.retention_period == timedelta(days=3)
    assert settings.server.events.retention_period == timedelta(days=3)
    assert settings.server.services.scheduler.min_scheduled_time == timedelta(minutes=3)
    assert settings.server.services.task_run_recorder.batch_size > 1
    assert settings.server.api.host == "127.0.0.1"
    assert not settings.server.analytics_enabled
    assert settings.worker.query_seconds < settings.worker.prefetch_seconds
    known = {name for name in environment if name.startswith("PREFECT_")}
    assert known <= set(settings.to_environment_variables()), "a misspelt setting is ignored without a word"


def test_workers_learn_nothing_of_the_servers_database(tmp_path: Path) -> None:
    """A database URL may carry a password."""
    assert not [name for name in client_environment(tmp_path, 1) if "DATABASE" in name]
    assert not [name for name in worker_environment(tmp_path, 1) if "DATABASE" in name]


def test_a_retention_that_prefect_would_refuse_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Prefect would say so in a traceback of its settings, at every start of every process."""
    with pytest.raises(ValueError, match="more than 1:00:00"):
        server_environment(tmp_path, 1, retention=timedelta(minutes=5))
