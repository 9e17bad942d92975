"""The tables of the account."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text, UniqueConstraint

from kontor.domain.account import PositionSide
from kontor.domain.ledger import EntryKind
from kontor.domain.order import OrderState, OrderType, Side
from kontor.domain.outside import OutsideKind
from kontor.store.columns import Json, Moment, Money, Word
from kontor.store.tables.shared import Sequence, account_column, metadata

balances = Table(
    "balances",
    metadata,
    account_column(),
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
    account_column(),
    Column("at", Moment, primary_key=True),
    Column("total", Money, nullable=False),
)

# What the account was worth, coins included; the history above is the capital currency's total alone.
equity_history = Table(
    "equity_history",
    metadata,
    account_column(),
    Column("at", Moment, primary_key=True),
    Column("equity", Money, nullable=False),
)

initial_capital = Table(
    "initial_capital",
    metadata,
    account_column(),
    Column("total", Money, nullable=False),
    Column("at", Moment, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    account_column(),
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
    account_column(),
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
