"""The first tables. There is no way back but a backup: a downgrade would throw orders away."""

import sqlalchemy as sa
from alembic import op

from kontor.store.columns import Duration, Json, Moment, Money

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Everything of an empty database."""
    _market()
    _account()
    _orders()
    _desk()


def _market() -> None:
    op.create_table(
        "markets",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("settle", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("contract_size", Money(), nullable=False),
        sa.Column("quantity_step", Money(), nullable=False),
        sa.Column("price_step", Money(), nullable=False),
        sa.Column("min_quantity", Money(), nullable=False),
        sa.Column("max_quantity", Money(), nullable=True),
        sa.Column("min_cost", Money(), nullable=True),
        sa.Column("max_leverage", Money(), nullable=True),
        sa.Column("raw", Json(), nullable=False),
        sa.Column("saved_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", name=op.f("pk_markets")),
    )
    op.create_table(
        "snapshots",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "watchlist",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "rank", name=op.f("pk_watchlist")),
    )
    op.create_table(
        "tickers",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("last", Money(), nullable=True),
        sa.Column("last_at", Moment(), nullable=False),
        sa.Column("bid", Money(), nullable=True),
        sa.Column("ask", Money(), nullable=True),
        sa.Column("quote_volume", Money(), nullable=True),
        sa.Column("saved_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", name=op.f("pk_tickers")),
    )
    op.create_table(
        "candle_pages",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("page", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("newest_at", Moment(), nullable=False),
        sa.Column("candles", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account", "timeframe", "symbol", "page", name=op.f("pk_candle_pages")),
    )
    if op.get_context().dialect.name == "postgresql":
        # Prices hardly compress, and trying to costs ten times the write.
        op.execute("ALTER TABLE candle_pages ALTER COLUMN candles SET STORAGE EXTERNAL")
    op.create_table(
        "ranges",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("high", Money(), nullable=True),
        sa.Column("low", Money(), nullable=True),
        sa.Column("high_timeframe", sa.Text(), nullable=True),
        sa.Column("low_timeframe", sa.Text(), nullable=True),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "symbol", name=op.f("pk_ranges")),
    )


def _account() -> None:
    op.create_table(
        "balances",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total", Money(), nullable=False),
        sa.Column("free", Money(), nullable=False),
        sa.Column("used", Money(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("currencies", Json(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_balances")),
    )
    op.create_table(
        "balance_history",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("total", Money(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at", name=op.f("pk_balance_history")),
    )
    op.create_table(
        "initial_capital",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("total", Money(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_initial_capital")),
    )
    op.create_table(
        "positions",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("entry_price", Money(), nullable=False),
        sa.Column("mark_price", Money(), nullable=True),
        sa.Column("unrealized_pnl", Money(), nullable=True),
        sa.Column("notional", Money(), nullable=True),
        sa.Column("leverage", Money(), nullable=True),
        sa.Column("margin_mode", sa.Text(), nullable=True),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "rank", name=op.f("pk_positions")),
    )
    op.create_table(
        "open_orders",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("filled_quantity", Money(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.Column("price", Money(), nullable=True),
        sa.Column("average_price", Money(), nullable=True),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("account", "rank", name=op.f("pk_open_orders")),
    )


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("price", Money(), nullable=True),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("post_only", sa.Boolean(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("good_until", Moment(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("filled_quantity", Money(), nullable=False),
        sa.Column("average_price", Money(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("submitted_at", Moment(), nullable=True),
        sa.Column("unknown_since", Moment(), nullable=True),
        sa.Column("cancel_requested_at", Moment(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=True),
        sa.Column("booked_quantity", Money(), nullable=False),
        sa.Column("is_short", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_orders")),
        sa.UniqueConstraint("client_order_id", name=op.f("uq_orders_client_order_id")),
    )
    op.create_index(op.f("ix_orders_account_created_at"), "orders", ["account", "created_at"], unique=False)
    op.create_index(
        op.f("ix_orders_account_is_short_created_at"), "orders", ["account", "is_short", "created_at"], unique=False
    )
    op.create_index(op.f("ix_orders_account_state_symbol"), "orders", ["account", "state", "symbol"], unique=False)
    op.create_index(op.f("ix_orders_account_venue_order_id"), "orders", ["account", "venue_order_id"], unique=False)
    op.create_table(
        "order_events",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("old_state", sa.Text(), nullable=True),
        sa.Column("new_state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_order_id"], ["orders.client_order_id"], name=op.f("fk_order_events_client_order_id_orders")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_order_events")),
    )
    op.create_index(op.f("ix_order_events_client_order_id"), "order_events", ["client_order_id"], unique=False)
    op.create_table(
        "fills",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", Money(), nullable=False),
        sa.Column("price", Money(), nullable=False),
        sa.Column("filled_at", Moment(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=True),
        sa.Column("fee", Money(), nullable=True),
        sa.Column("fee_currency", sa.Text(), nullable=True),
        sa.Column("is_maker", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_fills")),
        sa.UniqueConstraint("account", "symbol", "trade_id", name=op.f("uq_fills_account_symbol_trade_id")),
    )
    op.create_index(op.f("ix_fills_account_client_order_id"), "fills", ["account", "client_order_id"], unique=False)
    op.create_index(op.f("ix_fills_account_filled_at"), "fills", ["account", "filled_at"], unique=False)
    op.create_index(op.f("ix_fills_account_venue_order_id"), "fills", ["account", "venue_order_id"], unique=False)
    op.create_table(
        "changes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_changes")),
    )


def _desk() -> None:
    op.create_table(
        "attributes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", Json(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name=op.f("pk_attributes")),
    )
    op.create_table(
        "heartbeats",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("updater", sa.Text(), nullable=False),
        sa.Column("last_success_at", Moment(), nullable=True),
        sa.Column("last_failure_at", Moment(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("duration", Duration(), nullable=True),
        sa.PrimaryKeyConstraint("account", "updater", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("held_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "desk",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk")),
    )
