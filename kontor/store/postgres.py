"""PostgreSQL through asyncpg: the same units of work as on SQLite, and LISTEN/NOTIFY for news."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from kontor.errors import StoreUnavailable
from kontor.store.changes import Changes
from kontor.store.faults import lost_a_race, translated
from kontor.store.migrate import run_migrations
from kontor.store.postgres_listener import CHANNEL, PostgresListener

T = TypeVar("T")

CONNECTIONS = 5
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
# A transaction that loses a race is run again; losing this often means that something else is wrong.
ATTEMPTS = 5

SERIALIZE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")
ANNOUNCE = text("SELECT pg_notify(:channel, :account)")


class PostgresDatabase:
    """A PostgreSQL database that processes on several machines share."""

    def __init__(self, url: URL) -> None:
        self._place = url.render_as_string(hide_password=True)
        self._engine = create_async_engine(
            url,
            pool_size=CONNECTIONS,
            # A server that was restarted is noticed before a unit of work begins, not in the middle of one.
            pool_pre_ping=True,
            connect_args={
                "timeout": CONNECT_SECONDS,
                "command_timeout": STATEMENT_SECONDS,
                "server_settings": {"application_name": "kontor"},
            },
        )
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._changes = Changes()
        self._listener = PostgresListener(self._engine, self._changes)
        self._is_closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one consistent snapshot."""
        async with self._reachable(), self._snapshots.connect() as conn:
            return await conn.run_sync(work)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `work` and commit; without `durable` the commit does not wait for the server's disk."""
        async with self._reachable():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    async with self._engine.begin() as conn:
                        if not durable:
                            await conn.execute(text("SET LOCAL synchronous_commit = off"))
                        return await conn.run_sync(work)
                except DBAPIError as error:
                    if attempt == ATTEMPTS or not lost_a_race(error):
                        raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def serialize(self, conn: Connection, *key: str) -> None:
        """From here to the commit, nobody else is in the section named by `key`."""
        conn.execute(SERIALIZE, {"key": "kontor:" + ":".join(key)})

    def announce(self, conn: Connection, account: str) -> None:
        """Wake the waiters of `account` on every machine, when this transaction commits."""
        conn.execute(ANNOUNCE, {"channel": CHANNEL, "account": account})

    async def watch(self, account: str) -> None:
        """From here on `wait_for_change` misses nothing of this account; a second call changes nothing."""
        async with self._reachable():
            await self._listener.watch(account)

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as something was announced since the last True; False after `seconds`."""
        await self.watch(account)
        return await self._changes.wait(account, seconds=seconds)

    async def migrate(self) -> None:
        """Bring the schema up to date; others wait for the lock, then find nothing left to do."""

        def work(conn: Connection) -> None:
            self.serialize(conn, "migrate")
            run_migrations(conn, self._place)

        await self.write(work)

    async def close(self) -> None:
        """Close every connection; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self._listener.close()
        self._changes.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        if self._is_closed:
            raise StoreUnavailable(f"store {self._place}: it has been closed: open it again")
        with translated(self._place, asyncpg.PostgresError, asyncpg.InterfaceError):
            yield
