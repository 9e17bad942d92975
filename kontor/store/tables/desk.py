"""The tables of the desk's own state."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from kontor.store.columns import Duration, Json, Moment
from kontor.store.tables.shared import account_column, metadata

# When the watchlist, the positions or the open orders were last written: an empty list has a time too.
snapshots = Table(
    "snapshots",
    metadata,
    account_column(),
    Column("name", Text, primary_key=True),
    Column("at", Moment, nullable=False),
)

# Counts commits of orders, cancels and fills for the waiters of other processes; PostgreSQL notifies instead.
changes = Table("changes", metadata, account_column(), Column("number", BigInteger, nullable=False))

attributes = Table(
    "attributes",
    metadata,
    account_column(),
    Column("name", Text, primary_key=True),
    Column("value", Json, nullable=False),
    Column("at", Moment, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    account_column(),
    Column("updater", Text, primary_key=True),
    Column("last_success_at", Moment),
    Column("last_failure_at", Moment),
    Column("last_error", Text),
    Column("duration", Duration),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("expires_at", Moment, nullable=False),
    # The caller's time at the last acquire or renewal: what a release sets the expiry back to.
    Column("held_at", Moment, nullable=False),
)

# One row: what names this desk.
desk = Table(
    "desk",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("prefix", Text, nullable=False),
)
