"""`open_store`: which store a URL means, and what is wrong with one that means none."""

import re
import sys
from pathlib import Path

import pytest

from kontor.errors import ConfigError
from kontor.store import open_store
from kontor.store.memory import MemoryStore
from kontor.store.sql_store import SqlStore
from kontor.store.sqlite import SqliteDatabase


def test_memory_is_memory() -> None:
    """For tests and replays; each has its own."""
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"])
async def test_a_path_is_a_sqlite_file(scheme: str, tmp_path: Path) -> None:
    """Whatever driver the URL names: it is the same file."""
    store = open_store(f"{scheme}:///{tmp_path}/a%b.db")
    assert isinstance(store, SqlStore)
    assert isinstance(store.database, SqliteDatabase)
    assert store.database.path == tmp_path / "a%b.db"
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pw@db.example/desk",
        "postgresql+asyncpg://me@/desk?host=/run/postgresql",
        "postgres://db.example:5433/desk?ssl=require",
    ],
)
async def test_a_server_is_postgresql(url: str) -> None:
    """In the spellings that are in use."""
    store = open_store(url)
    assert isinstance(store, SqlStore)
    assert type(store.database).__name__ == "PostgresDatabase"
    await store.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "this is not a URL"),
        ("kontor.db", "this is not a URL"),
        ("secret hunter2", "this is not a URL"),
        ("mysql://me:hunter2@host/db", "no store for 'mysql'"),
        ("postgresql+psycopg2://me:hunter2@host/db", "no store for 'postgresql+psycopg2'"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:///file:x?mode=memory", "needs a file"),
        ("postgresql://me:hunter2@host/db?sslmode=require", "option 'sslmode' is not known here; write one of"),
        ("postgresql://me:hunter2@host:port/db", "this is not a URL"),
    ],
)
def test_a_bad_url_is_one_clear_sentence_without_its_secrets(url: str, told: str) -> None:
    """It names the place and the remedy."""
    with pytest.raises(ConfigError, match=f"^store URL: .*{re.escape(told)}") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
    assert "write" in str(caught.value)


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """The home was given instead of the file in it."""
    with pytest.raises(ConfigError, match="is a folder; name a file in it"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that mends it."""
    monkeypatch.delitem(sys.modules, "kontor.store.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match="driver is missing: pip install asyncpg"):
        open_store("postgresql://host/db")
