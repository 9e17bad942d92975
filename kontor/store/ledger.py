"""The ledger on a SQL database: booked once by source, read in order of time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select

from kontor.domain.ledger import LedgerEntry
from kontor.store.rows import chunks, columns_of, one_of, values_of
from kontor.store.tables import account as tables

t = tables.ledger_entries.c
ENTRY = columns_of(tables.ledger_entries, LedgerEntry)
BOOKED = select(t.source_id).where(t.account == bindparam("account"), one_of(t.source_id, "sources"))


def book_entries(conn: Connection, account: str, entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Insert those whose source was not booked yet; returns them."""
    by_source = {entry.source_id: entry for entry in entries}
    booked = {
        source
        for some in chunks(sorted(by_source))
        for source in conn.execute(BOOKED, {"account": account, "sources": some}).scalars()
    }
    new = [entry for entry in by_source.values() if entry.source_id not in booked]
    if new:
        conn.execute(insert(tables.ledger_entries), [{**values_of(entry), "account": account} for entry in new])
    return new


def load_entries(
    conn: Connection, account: str, *, since: datetime | None, until: datetime | None
) -> list[LedgerEntry]:
    """Entries, oldest first."""
    query = select(*ENTRY).where(t.account == account).order_by(t.at, t.number)
    if since is not None:
        query = query.where(t.at >= since)
    if until is not None:
        query = query.where(t.at < until)
    return [LedgerEntry(*row) for row in conn.execute(query)]
