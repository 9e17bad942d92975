"""The tables of the order queue."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from kontor.domain.fill import FillCause
from kontor.domain.order import OrderState, OrderType, Side, TimeInForce
from kontor.store.columns import Moment, Money, Word
from kontor.store.tables.shared import Sequence, metadata

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
