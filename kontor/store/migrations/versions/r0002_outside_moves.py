"""Moves from outside the desk, and why the venue itself made a trade."""

import sqlalchemy as sa
from alembic import op

from kontor.store.columns import Moment, Money

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A table and a column that old rows leave empty."""
    op.add_column("fills", sa.Column("cause", sa.Text(), nullable=True))
    op.create_table(
        "outside_moves",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("price", Money(), nullable=True),
        sa.Column("fee", Money(), nullable=True),
        sa.Column("fee_currency", sa.Text(), nullable=True),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outside_moves")),
        sa.UniqueConstraint("account", "source_id", name=op.f("uq_outside_moves_account_source_id")),
    )
    op.create_index(op.f("ix_outside_moves_account_at"), "outside_moves", ["account", "at"])
