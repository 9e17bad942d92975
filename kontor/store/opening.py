"""`open_store`: from a URL to a store."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from kontor.errors import ConfigError
from kontor.ports import Store
from kontor.store.memory import MemoryStore
from kontor.store.sql_store import SqlStore
from kontor.store.sqlite import SqliteDatabase

WHERE = "store URL"
# Those of asyncpg's connect that make sense in a URL; `ssl` takes what `sslmode` takes elsewhere.
POSTGRES_OPTIONS = ("host", "port", "ssl", "passfile")
EXAMPLES = "write sqlite:///path/to/kontor.db, postgresql://user:password@host/database or memory://"


def open_store(url: str) -> Store:
    """The store behind a URL, not yet connected: `memory://`, `sqlite:///path` or `postgresql://...`.

    Raises ConfigError for a URL that can never work; whether the database answers shows at the first call.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password: it is not repeated.
        raise ConfigError(f"this is not a URL; {EXAMPLES}", where=WHERE) from None
    if parsed.drivername == "memory":
        return MemoryStore()
    if parsed.drivername in {"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"}:
        return SqlStore(SqliteDatabase(_path(parsed)))
    if parsed.drivername in {"postgresql", "postgresql+asyncpg", "postgres"}:
        return _postgres(parsed)
    raise ConfigError(f"there is no store for {parsed.drivername!r}; {EXAMPLES}", where=WHERE)


def _path(url: URL) -> Path:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError("a SQLite store needs a file, sqlite:///path; for none write memory://", where=WHERE)
    path = Path(url.database).expanduser().absolute()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it, such as kontor.db", where=WHERE)
    return path


def _postgres(url: URL) -> Store:
    # Late: whoever stays on SQLite does not pay for the driver.
    try:
        from kontor.store.postgres import PostgresDatabase
    except ImportError:
        raise ConfigError("the PostgreSQL driver is missing: pip install asyncpg", where=WHERE) from None
    unknown = sorted(set(url.query) - set(POSTGRES_OPTIONS))
    if unknown:
        raise ConfigError(
            f"option {unknown[0]!r} is not known here; write one of {', '.join(POSTGRES_OPTIONS)}", where=WHERE
        )
    return SqlStore(PostgresDatabase(url.set(drivername="postgresql+asyncpg")))
