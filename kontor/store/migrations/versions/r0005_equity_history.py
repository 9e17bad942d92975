"""Equity over time: what the account is worth, coins at their price."""

import sqlalchemy as sa
from alembic import op

from kontor.store.columns import Moment, Money

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    """A table that fills from now on."""
    op.create_table(
        "equity_history",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("equity", Money(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at", name=op.f("pk_equity_history")),
    )
