"""Attributes, heartbeats and the desk's prefix on a SQL database."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select

from kontor.domain.snapshot import Snapshot
from kontor.ports import Heartbeat, Lease
from kontor.store.database import Database
from kontor.store.leasing import LeaseRow, new_prefix, released, renewed, taken
from kontor.store.naming import added, merged
from kontor.store.rows import columns_of, upsert, values_of
from kontor.store.tables import desk as tables

THE_DESK = 1
DURATION = "duration = coalesce(excluded.duration, heartbeats.duration)"
SUCCEEDED = f"DO UPDATE SET last_success_at = excluded.last_success_at, {DURATION}"
FAILED = f"DO UPDATE SET last_failure_at = excluded.last_failure_at, last_error = excluded.last_error, {DURATION}"
ATTRIBUTE = select(tables.attributes.c.value, tables.attributes.c.at).where(
    tables.attributes.c.account == bindparam("of_account"), tables.attributes.c.name == bindparam("of_name")
)
LEASE_ROW = select(*columns_of(tables.leases, Lease), tables.leases.c.held_at).where(
    tables.leases.c.name == bindparam("name")
)


class SqlDeskState:
    """The DeskState port on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_attribute(self, account: str, name: str, value: Any, at: datetime, *, merge: bool = False) -> None:
        """Store a JSON value under a name; with `merge`, update an object key by key in one transaction."""

        def work(conn: Connection) -> None:
            self._database.serialize(conn, "attribute", account, name)
            stored = load_attribute(conn, account, name) if merge else None
            save_attribute(conn, account, name, merged(name, stored, value) if merge else value, at)

        await self._database.write(work)

    async def attribute(self, account: str, name: str) -> Snapshot[Any] | None:
        """A value with the moment it was set."""
        return await self._database.read(lambda conn: load_attribute(conn, account, name))

    async def attributes(self, account: str) -> Mapping[str, Snapshot[Any]]:
        """Every attribute by name."""
        t = tables.attributes.c
        query = select(t.name, t.value, t.at).where(t.account == account).order_by(t.name)
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return {row.name: Snapshot(row.value, row.at) for row in rows}

    async def update_attribute(
        self, account: str, name: str, change: Callable[[Any], Any], at: datetime, *, durable: bool = True
    ) -> Any:
        """Set an attribute to what `change` makes of its value; returns that."""

        def work(conn: Connection) -> Any:
            self._database.serialize(conn, "attribute", account, name)
            stored = load_attribute(conn, account, name)
            value = change(None if stored is None else stored.value)
            save_attribute(conn, account, name, value, at)
            return value

        return await self._database.write(work, durable=durable)

    async def increment(self, account: str, name: str, at: datetime) -> int:
        """Add one to a counter attribute and return it."""

        def work(conn: Connection) -> int:
            self._database.serialize(conn, "attribute", account, name)
            number = added(name, load_attribute(conn, account, name))
            save_attribute(conn, account, name, number, at)
            return number

        return await self._database.write(work)

    async def beat(
        self, account: str, updater: str, at: datetime, *, error: str | None = None, duration: timedelta | None = None
    ) -> None:
        """Report a success, or with `error` a failure, which leaves the last success alone."""
        news = {"last_success_at": at} if error is None else {"last_failure_at": at, "last_error": error}
        row = {"account": account, "updater": updater, "duration": duration, **news}

        statement = upsert(tables.heartbeats, SUCCEEDED if error is None else FAILED, columns=tuple(row))
        await self._database.write(lambda conn: conn.execute(statement, row), durable=False)

    async def heartbeats(self, account: str) -> Mapping[str, Heartbeat]:
        """What each updater reported last."""
        t = tables.heartbeats
        query = select(*columns_of(t, Heartbeat)).where(t.c.account == account).order_by(t.c.updater)
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return {row.updater: Heartbeat(*row) for row in rows}

    async def acquire_lease(self, name: str, owner: str, ttl: timedelta, now: datetime) -> Lease | None:
        """The lease, if free, lapsed or already this owner's (same fencing number then); None while it is held."""
        wanted = Lease(name, owner, 0, now + ttl)

        def work(conn: Connection) -> Lease | None:
            self._database.serialize(conn, "lease", name)
            row = taken(_lease_row(conn, name), wanted, now)
            return None if row is None else _save_lease(conn, row)

        return await self._database.write(work)

    async def renew_lease(self, lease: Lease, ttl: timedelta, now: datetime) -> Lease:
        """The lease, longer; raises LeaseLost when it lapsed or somebody else has it."""

        def work(conn: Connection) -> Lease:
            self._database.serialize(conn, "lease", lease.name)
            return _save_lease(conn, renewed(_lease_row(conn, lease.name), lease, ttl, now))

        return await self._database.write(work)

    async def release_lease(self, lease: Lease) -> None:
        """Give it back; one that is already somebody else's is left alone."""

        def work(conn: Connection) -> None:
            self._database.serialize(conn, "lease", lease.name)
            row = released(_lease_row(conn, lease.name), lease)
            if row is not None:
                _save_lease(conn, row)

        await self._database.write(work)

    async def lease(self, name: str) -> Lease | None:
        """Who holds it now, or held it last."""
        row = await self._database.read(lambda conn: _lease_row(conn, name))
        return None if row is None else row.lease

    async def desk_prefix(self) -> str:
        """Four lower-case characters that mark this desk's client order ids; made once, travels with a backup."""
        query = select(tables.desk.c.prefix).where(tables.desk.c.id == THE_DESK)

        def work(conn: Connection) -> str:
            conn.execute(upsert(tables.desk, "DO NOTHING"), {"id": THE_DESK, "prefix": new_prefix()})
            return conn.execute(query).scalar_one()

        known = await self._database.read(lambda conn: conn.execute(query).scalar_one_or_none())
        return known or await self._database.write(work)


def load_attribute(conn: Connection, account: str, name: str) -> Snapshot[Any] | None:
    """A value with the moment it was set, as part of a larger transaction."""
    row = conn.execute(ATTRIBUTE, {"of_account": account, "of_name": name}).one_or_none()
    return None if row is None else Snapshot(row.value, row.at)


def save_attribute(conn: Connection, account: str, name: str, value: Any, at: datetime) -> None:
    """Set a value, as part of a larger transaction."""
    row = {"account": account, "name": name, "value": value, "at": at}
    conn.execute(upsert(tables.attributes), row)


def _lease_row(conn: Connection, name: str) -> LeaseRow | None:
    row = conn.execute(LEASE_ROW, {"name": name}).one_or_none()
    return None if row is None else LeaseRow(Lease(*row[:-1]), row.held_at)


def _save_lease(conn: Connection, row: LeaseRow) -> Lease:
    values = {**values_of(row.lease), "held_at": row.held_at}
    conn.execute(upsert(tables.leases), values)
    return row.lease
