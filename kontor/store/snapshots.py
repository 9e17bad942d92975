"""Ordered lists that are replaced as a whole, with the moment they were true: watchlist, positions, open orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, bindparam, delete, insert, select

from kontor.store.database import Database
from kontor.store.rows import upsert
from kontor.store.tables.desk import snapshots

SAVED_AT = select(snapshots.c.at).where(
    snapshots.c.account == bindparam("account"), snapshots.c.name == bindparam("name")
)


def save_snapshot(
    database: Database, conn: Connection, table: Table, account: str, rows: Sequence[dict[str, Any]], at: datetime
) -> None:
    """Replace the account's rows in `table` by these, in this order."""
    database.serialize(conn, table.name, account)
    conn.execute(delete(table).where(table.c.account == account))
    if rows:
        conn.execute(insert(table), [{**row, "account": account, "rank": rank} for rank, row in enumerate(rows)])
    conn.execute(upsert(snapshots), {"account": account, "name": table.name, "at": at})


def load_snapshot(
    conn: Connection, table: Table, account: str, columns: Sequence[Column[Any]]
) -> tuple[Sequence[Row[Any]], datetime] | None:
    """The rows in their order with their moment; None when nothing was ever saved."""
    at = conn.execute(SAVED_AT, {"account": account, "name": table.name}).scalar_one_or_none()
    if at is None:
        return None
    return conn.execute(select(*columns).where(table.c.account == account).order_by(table.c.rank)).all(), at
