"""The ledger, stops that rest at the venue, and when a market is delisted."""

import sqlalchemy as sa
from alembic import op

from kontor.store.columns import Moment, Money

revision = "0003"
down_revision = "0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A table, and a column of orders that old rows leave empty."""
    op.add_column("orders", sa.Column("trigger_price", Money(), nullable=True))
    op.add_column("open_orders", sa.Column("trigger_price", Money(), nullable=True))
    op.add_column("markets", sa.Column("delists_at", Moment(), nullable=True))
    op.create_table(
        "ledger_entries",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.Column("quantity", Money(), nullable=True),
        sa.Column("price", Money(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("amount", Money(), nullable=True),
        sa.Column("fee", Money(), nullable=True),
        sa.Column("fee_currency", sa.Text(), nullable=True),
        sa.Column("coin_price", Money(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("account", "source_id", name=op.f("uq_ledger_entries_account_source_id")),
    )
    op.create_index(op.f("ix_ledger_entries_account_at"), "ledger_entries", ["account", "at"])
