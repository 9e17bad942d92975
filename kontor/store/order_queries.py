"""The order queue's statements, built once: SQLAlchemy then takes their compiled form from its cache."""

import functools
from typing import Any

from sqlalchemy import Select, and_, bindparam, func, or_, select, update

from kontor.domain.fill import Fill
from kontor.domain.order import CANCELABLE, Order, OrderEvent, OrderState
from kontor.store.rows import columns_of, one_of, upsert
from kontor.store.tables import orders as tables
from kontor.store.tables.desk import leases

o, e = tables.orders.c, tables.order_events.c
ORDER = columns_of(tables.orders, Order)
MINE = o.account == bindparam("account")
# In the order they were wanted: what goes first, then what came first.
BY_AGE = (o.priority, o.created_at, o.number)

_HELD_SYMBOLS = select(o.symbol).where(MINE, o.state == OrderState.SUBMITTED, o.unknown_since.is_not(None))
_READY = (
    select(o.number, func.row_number().over(partition_by=o.symbol, order_by=BY_AGE).label("place"))
    .where(
        MINE,
        o.state == OrderState.INITIALIZED,
        o.cancel_requested_at.is_(None),
        o.symbol.not_in(_HELD_SYMBOLS),
    )
    .subquery()
)
PENDING = (
    select(*ORDER)
    .join_from(_READY, tables.orders, and_(_READY.c.number == o.number, _READY.c.place == 1))
    .order_by(*BY_AGE)
    .limit(bindparam("limit"))
)

# One order of locking for everybody, so that two transactions cannot wait for each other.
LOADED = select(*ORDER).where(one_of(o.client_order_id, "client_order_ids")).order_by(o.number)
LOCKED = LOADED.with_for_update()
BY_VENUE_ORDER_ID = (
    select(*ORDER).where(MINE, one_of(o.venue_order_id, "venue_order_ids")).order_by(o.created_at, o.number)
)
SHORT = select(*ORDER).where(MINE, o.is_short.is_(True)).order_by(o.created_at, o.number).limit(bindparam("limit"))
# Submitted, or asked to be canceled: one statement, since it is on every order's way.
IN_HAND = (
    select(*ORDER)
    .where(
        MINE,
        o.state.in_({OrderState.SUBMITTED, *CANCELABLE}),
        or_(o.state == OrderState.SUBMITTED, o.cancel_requested_at.is_not(None)),
    )
    .order_by(*BY_AGE)
)
COUNTS = select(o.state, func.count()).where(MINE).group_by(o.state)
INSERT_NEW = upsert(
    tables.orders, "DO NOTHING", columns=tuple(column.name for column in tables.orders.c if column.name != "number")
)
UPDATE = update(tables.orders).where(o.client_order_id == bindparam("which"))

EVENTS = (
    select(*columns_of(tables.order_events, OrderEvent))
    .where(e.client_order_id == bindparam("which"))
    .order_by(e.number)
)
_MINE_TOO = and_(e.client_order_id == o.client_order_id, MINE)
NEWS = (
    select(e.number, *columns_of(tables.order_events, OrderEvent), *ORDER)
    .join_from(tables.order_events, tables.orders, _MINE_TOO)
    .where(e.number > bindparam("since"))
    .order_by(e.number)
    .limit(bindparam("limit"))
)
LAST_EVENT = select(func.max(e.number)).join_from(tables.order_events, tables.orders, _MINE_TOO)
_F = tables.fills.c
NEW_FILLS = (
    select(_F.number, *columns_of(tables.fills, Fill))
    .where(_F.account == bindparam("account"), _F.number > bindparam("since"))
    .order_by(_F.number)
    .limit(bindparam("limit"))
)
LAST_FILL = select(func.max(_F.number)).where(_F.account == bindparam("account"))
TOLD = select(e.client_order_id).where(one_of(e.client_order_id, "names")).distinct()
# Locked in shared mode: a takeover that has not committed yet waits until this transaction has.
FENCING = select(leases.c.name, leases.c.fencing).where(one_of(leases.c.name, "names")).with_for_update(read=True)


@functools.cache
def find(conditions: frozenset[str], *, cancel_requested: bool) -> Select[Any]:
    """Newest first, by any of `states`, `symbol` and `since`."""
    known = {
        "states": one_of(o.state, "states"),
        "symbol": o.symbol == bindparam("symbol"),
        "since": o.created_at >= bindparam("since"),
    }
    query = select(*ORDER).where(MINE, *(known[name] for name in sorted(conditions)))
    if cancel_requested:
        query = query.where(o.cancel_requested_at.is_not(None))
    return query.order_by(o.created_at.desc(), o.number.desc()).limit(bindparam("limit"))
