"""SQLite in WAL mode: one writing thread, two reading ones, and no lock that is ever held across an await."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from kontor.errors import StoreUnavailable
from kontor.store.changes import Changes
from kontor.store.faults import is_locked, translated
from kontor.store.migrate import run_migrations
from kontor.store.sqlite_checkpointer import SqliteCheckpointer
from kontor.store.sqlite_watcher import SqliteWatcher
from kontor.store.sqlite_writer import SqliteWriter

T = TypeVar("T")

READERS = 2
# How long a unit of work keeps asking for the write lock. Others hold it for milliseconds; a person with an open
# transaction in a database browser can hold it forever.
LOCK_PATIENCE_SECONDS = 10.0
COUNT_CHANGE = (
    "INSERT INTO changes (account, number) VALUES (?, 1) "
    "ON CONFLICT (account) DO UPDATE SET number = number + 1 RETURNING number"
)
# Between two tries for the lock: an order asks often, candles have time.
PAUSES_SECONDS = {True: (0.0003, 0.001), False: (0.001, 0.003)}


class SqliteDatabase:
    """A SQLite file that several processes share.

    A unit of work runs whole in a thread: the write lock is never held while an event loop is busy elsewhere, and no
    statement is ever left to the garbage collector of another thread (docs/adr/0005-sqlite-writer.md).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = str(path)
        self.writing = _engine(path, "BEGIN IMMEDIATE", connections=1)
        # The same connection: what is written with it is safe from a crash, but not from a power cut.
        self._writing_loosely = self.writing.execution_options(synchronous="NORMAL")
        self.reading = _engine(path, "BEGIN", connections=READERS, query_only=True)
        self._checkpointer = SqliteCheckpointer(path)
        self._writer = SqliteWriter(self._commit, self._checkpointer.committed)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._changes = Changes()
        self._watcher = SqliteWatcher(path, self._changes)
        self._is_closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot."""
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._run, self.reading, work)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `work` and commit; `durable` means that the disk has it before this returns."""
        self._check_open()
        result, announced = await asyncio.wrap_future(self._writer.submit(work, durable=durable))
        for account, number in announced.items():
            self._changes.reached(account, number)
        return result

    def serialize(self, conn: Connection, *key: str) -> None:
        """Nothing to do: BEGIN IMMEDIATE has already shut out every other writer."""

    def announce(self, conn: Connection, account: str) -> None:
        """Count the change, in the same transaction."""
        (number,) = _driver(conn).execute(COUNT_CHANGE, (account,)).fetchone()
        conn.info["announced"][account] = number

    async def watch(self, account: str) -> None:
        """From here on `wait_for_change` misses nothing of this account; a second call changes nothing."""
        self._check_open()
        with translated(self._place):
            self._watcher.watch(account)

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as something was announced since the last True; False after `seconds`."""
        self._check_open()
        with translated(self._place):
            return await self._watcher.wait(account, seconds=seconds)

    async def migrate(self) -> None:
        """Bring the schema up to date; others wait for the write lock, then find nothing left to do."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        await self.write(lambda conn: run_migrations(conn, self._place))

    async def close(self) -> None:
        """Finish what has begun, then close every connection and thread; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._watcher.close()
        self._changes.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._readers, self._writer.finish, self.writing.dispose)
        await loop.run_in_executor(self._readers, self._checkpointer.close)
        self._readers.shutdown()
        self.reading.dispose()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable(f"store {self._place}: it has been closed: open it again")

    def _commit(self, work: Callable[[Connection], T], durable: bool) -> T:
        return self._run(self.writing if durable else self._writing_loosely, work, urgent=durable)

    def _run(self, engine: Engine, work: Callable[[Connection], T], *, urgent: bool = True) -> T:
        """In a thread: run a unit of work, again and again while somebody else has the lock."""
        give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
        pause, longest = PAUSES_SECONDS[urgent]
        with translated(self._place):
            while True:
                try:
                    with engine.begin() as conn:
                        return work(conn)
                except (DBAPIError, sqlite3.OperationalError) as error:
                    if not is_locked(error) or time.monotonic() > give_up_at:
                        raise
                time.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 1.5, longest)


def _engine(path: Path, begin: str, *, connections: int, query_only: bool = False) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        # No waiting inside SQLite: its busy handler keeps the connection's mutex, and a garbage collector on the event
        # loop's thread that finalizes a cursor would wait for it too.
        connect_args={"timeout": 0, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Not in a commit that somebody waits for: see the checkpointer.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        if query_only:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        wanted = conn.get_execution_options().get("synchronous", "FULL")
        if conn.info.get("synchronous") != wanted:
            _driver(conn).execute(f"PRAGMA synchronous = {wanted}")
            conn.info["synchronous"] = wanted
        _driver(conn).execute(begin)

    return engine


def _driver(conn: Connection) -> sqlite3.Connection:
    """The driver's own connection: a statement on it costs a tenth of one through SQLAlchemy."""
    return conn.connection.driver_connection  # pyright: ignore[reportReturnType]
