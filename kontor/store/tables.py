"""The tables, the same on SQLite and PostgreSQL; migrations/ brings a database to this shape."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from kontor.domain.account import PositionSide
from kontor.domain.fill import FillCause
from kontor.domain.ledger import EntryKind
from kontor.domain.market import MarketKind
from kontor.domain.order import OrderState, OrderType, Side, TimeInForce
from kontor.domain.outside import OutsideKind
from kontor.store.columns import Duration, Json, Moment, Money, Word

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives out row numbers by itself only for a column of type INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


def _account() -> Column[str]:
    return Column("account", Text, primary_key=True)


markets = Table(
    "markets",
    metadata,
    _account(),
    Column("symbol", Text, primary_key=True),
    Column("kind", Word(MarketKind), nullable=False),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("settle", Text),
    Column("active", Boolean, nullable=False),
    Column("contract_size", Money, nullable=False),
    Column("quantity_step", Money, nullable=False),
    Column("price_step", Money, nullable=False),
    Column("min_quantity", Money, nullable=False),
    Column("max_quantity", Money),
    Column("min_cost", Money),
    Column("max_leverage", Money),
    Column("delists_at", Moment),
    Column("raw", Json, nullable=False),
    Column("saved_at", Moment, nullable=False),
)

# When the watchlist, the positions or the open orders were last written: an empty list has a time too.
snapshots = Table(
    "snapshots", metadata, _account(), Column("name", Text, primary_key=True), Column("at", Moment, nullable=False)
)

watchlist = Table(
    "watchlist",
    metadata,
    _account(),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
)

tickers = Table(
    "tickers",
    metadata,
    _account(),
    Column("symbol", Text, primary_key=True),
    Column("last", Money),
    Column("last_at", Moment, nullable=False),
    Column("bid", Money),
    Column("ask", Money),
    Column("quote_volume", Money),
    Column("saved_at", Moment, nullable=False),
)

# Candles lie in pages (docs/adr/0004-candle-storage.md): `candles` is an array of little-endian float64, six a candle.
candle_pages = Table(
    "candle_pages",
    metadata,
    _account(),
    Column("timeframe", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("page", BigInteger, primary_key=True, autoincrement=False),
    Column("length", Integer, nullable=False),
    Column("newest_at", Moment, nullable=False),
    Column("candles", LargeBinary, nullable=False),
)

ranges = Table(
    "ranges",
    metadata,
    _account(),
    Column("symbol", Text, primary_key=True),
    Column("high", Money),
    Column("low", Money),
    Column("high_timeframe", Text),
    Column("low_timeframe", Text),
    Column("at", Moment, nullable=False),
)

balances = Table(
    "balances",
    metadata,
    _account(),
    Column("currency", Text, nullable=False),
    Column("total", Money, nullable=False),
    Column("free", Money, nullable=False),
    Column("used", Money, nullable=False),
    Column("at", Moment, nullable=False),
    Column("currencies", Json, nullable=False),
)

balance_history = Table(
    "balance_history",
    metadata,
    _account(),
    Column("at", Moment, primary_key=True),
    Column("total", Money, nullable=False),
)

# What the account was worth, coins included; the history above is the capital currency's total alone.
equity_history = Table(
    "equity_history",
    metadata,
    _account(),
    Column("at", Moment, primary_key=True),
    Column("equity", Money, nullable=False),
)

initial_capital = Table(
    "initial_capital",
    metadata,
    _account(),
    Column("total", Money, nullable=False),
    Column("at", Moment, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    _account(),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
    Column("side", Word(PositionSide), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("entry_price", Money, nullable=False),
    Column("mark_price", Money),
    Column("unrealized_pnl", Money),
    Column("notional", Money),
    Column("leverage", Money),
    Column("margin_mode", Text),
    Column("at", Moment, nullable=False),
)

open_orders = Table(
    "open_orders",
    metadata,
    _account(),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("symbol", Text, nullable=False),
    Column("side", Word(Side), nullable=False),
    Column("order_type", Word(OrderType), nullable=False),
    Column("state", Word(OrderState), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("filled_quantity", Money, nullable=False),
    Column("venue_order_id", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("client_order_id", Text),
    Column("price", Money),
    Column("average_price", Money),
    Column("reduce_only", Boolean, nullable=False),
    Column("reason", Text),
    Column("created_at", Moment),
    Column("trigger_price", Money),
)

orders = Table(
    "orders",
    metadata,
    # The order of arrival: the age of two orders made in the same microsecond.
    Column("number", Sequence, primary_key=True),
    Column("client_order_id", Text, nullable=False, unique=True),
    Column("account", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Word(Side), nullable=False),
    Column("order_type", Word(OrderType), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("price", Money),
    Column("time_in_force", Word(TimeInForce), nullable=False),
    Column("post_only", Boolean, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("good_until", Moment),
    Column("priority", Integer, nullable=False),
    Column("strategy", Text),
    Column("actor", Text, nullable=False),
    Column("state", Word(OrderState), nullable=False),
    Column("venue_order_id", Text),
    Column("filled_quantity", Money, nullable=False),
    Column("average_price", Money),
    Column("reason", Text),
    Column("submitted_at", Moment),
    Column("unknown_since", Moment),
    Column("cancel_requested_at", Moment),
    Column("attempts", Integer, nullable=False),
    Column("updated_at", Moment),
    Column("trigger_price", Money),
    # The sum of the order's fills, and whether it is less than filled_quantity: text cannot be added up in SQL.
    Column("booked_quantity", Money, nullable=False),
    Column("is_short", Boolean, nullable=False),
    Index(None, "account", "state", "symbol"),
    Index(None, "account", "venue_order_id"),
    Index(None, "account", "created_at"),
    Index(None, "account", "is_short", "created_at"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("number", Sequence, primary_key=True),
    Column("client_order_id", Text, ForeignKey("orders.client_order_id"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("old_state", Word(OrderState)),
    Column("new_state", Word(OrderState), nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

fills = Table(
    "fills",
    metadata,
    Column("number", Sequence, primary_key=True),
    Column("account", Text, nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Word(Side), nullable=False),
    Column("quantity", Money, nullable=False),
    Column("price", Money, nullable=False),
    Column("filled_at", Moment, nullable=False),
    Column("venue_order_id", Text, nullable=False),
    Column("client_order_id", Text),
    Column("fee", Money),
    Column("fee_currency", Text),
    Column("is_maker", Boolean),
    Column("cause", Word(FillCause)),
    UniqueConstraint("account", "symbol", "trade_id"),
    Index(None, "account", "client_order_id"),
    Index(None, "account", "venue_order_id"),
    Index(None, "account", "filled_at"),
)

# Trades by hand, liquidations, transfers, and what nobody explains; the source names what a row was made from.
outside_moves = Table(
    "outside_moves",
    metadata,
    Column("number", Sequence, primary_key=True),
    Column("account", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("kind", Word(OutsideKind), nullable=False),
    Column("at", Moment, nullable=False),
    Column("quantity", Money, nullable=False),
    Column("symbol", Text),
    Column("currency", Text),
    Column("price", Money),
    Column("fee", Money),
    Column("fee_currency", Text),
    Column("client_order_id", Text),
    UniqueConstraint("account", "source_id"),
    Index(None, "account", "at"),
)

# What moved the account's money, a row for each fill and each bill that no fill tells; see kontor.domain.ledger.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("number", Sequence, primary_key=True),
    Column("account", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("kind", Word(EntryKind), nullable=False),
    Column("at", Moment, nullable=False),
    Column("symbol", Text),
    Column("strategy", Text),
    Column("client_order_id", Text),
    Column("quantity", Money),
    Column("price", Money),
    Column("currency", Text),
    Column("amount", Money),
    Column("fee", Money),
    Column("fee_currency", Text),
    Column("coin_price", Money),
    UniqueConstraint("account", "source_id"),
    Index(None, "account", "at"),
)

# Counts commits of orders, cancels and fills for the waiters of other processes; PostgreSQL notifies instead.
changes = Table("changes", metadata, _account(), Column("number", BigInteger, nullable=False))

attributes = Table(
    "attributes",
    metadata,
    _account(),
    Column("name", Text, primary_key=True),
    Column("value", Json, nullable=False),
    Column("at", Moment, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    _account(),
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
