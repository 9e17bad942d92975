"""Fills on a SQL database: counted once, linked to their orders, and added up against what the venue says is filled."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, insert, select, update

from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Order
from kontor.ports import FillCounts
from kontor.store.rows import chunks, columns_of, one_of, values_of
from kontor.store.tables import orders as tables

FILL = columns_of(tables.fills, Fill)
f, o = tables.fills.c, tables.orders.c

SEEN = select(f.symbol, f.trade_id).where(f.account == bindparam("account"), one_of(f.trade_id, "trade_ids"))
OWNERS = select(o.symbol, o.venue_order_id, o.client_order_id).where(
    o.account == bindparam("account"), one_of(o.venue_order_id, "venue_order_ids")
)
BOOKINGS = (
    select(o.client_order_id, o.filled_quantity, o.booked_quantity, o.is_short)
    .where(o.account == bindparam("account"), one_of(o.client_order_id, "client_order_ids"))
    .order_by(o.number)
    .with_for_update()
)
QUANTITIES = select(f.client_order_id, f.quantity).where(
    f.account == bindparam("account"), one_of(f.client_order_id, "client_order_ids")
)
OF_STRATEGIES = (
    select(o.strategy, *FILL)
    .join_from(tables.orders, tables.fills, o.client_order_id == f.client_order_id)
    .where(
        o.account == bindparam("account"),
        f.account == bindparam("account"),
        o.strategy.is_not(None),
        o.strategy != EXTERNAL,
    )
    .order_by(f.filled_at, f.number)
)
OF_STRATEGIES_SINCE = OF_STRATEGIES.where(f.filled_at >= bindparam("since", type_=f.filled_at.type))
COUNT_OF_STRATEGIES = OF_STRATEGIES.order_by(None).with_only_columns(func.count())
COUNT_ALL = select(func.count(), func.count(f.client_order_id)).where(f.account == bindparam("account"))
OWNED = (
    select(case((o.strategy != EXTERNAL, o.strategy)), *FILL)
    .join_from(
        tables.fills,
        tables.orders,
        and_(o.client_order_id == f.client_order_id, o.account == f.account),
        isouter=True,
    )
    .where(f.account == bindparam("account"))
    .order_by(f.filled_at, f.number)
)
OWNED_SINCE = OWNED.where(f.filled_at >= bindparam("since", type_=f.filled_at.type))

ADOPT = update(tables.fills).where(
    tables.fills.c.account == bindparam("of_account"),
    tables.fills.c.symbol == bindparam("of_symbol"),
    tables.fills.c.client_order_id.is_(None),
)
LINK_BY_VENUE_ORDER = ADOPT.where(tables.fills.c.venue_order_id == bindparam("of_order")).values(
    client_order_id=bindparam("owner")
)
LINK_BY_TRADE = ADOPT.where(tables.fills.c.trade_id == bindparam("of_trade")).values(client_order_id=bindparam("owner"))
BOOK = (
    update(tables.orders)
    .where(tables.orders.c.client_order_id == bindparam("which"))
    .values(booked_quantity=bindparam("booked"), is_short=bindparam("short"))
)


def save_fills(conn: Connection, account: str, fills: Sequence[Fill]) -> list[Fill]:
    """Insert what is new, link it to its order, and book it; returns the new fills in the order given."""
    linked = _linked(conn, account, fills)
    seen = _seen(conn, account, linked)
    # A page of fills may name one twice: the first counts.
    new = [fill for fill in _first_by_key(linked) if _key(fill) not in seen]
    if new:
        conn.execute(insert(tables.fills), [{**values_of(fill), "account": account} for fill in new])
    _link_seen_before(conn, account, [fill for fill in linked if _key(fill) in seen])
    _book(conn, account, {fill.client_order_id for fill in linked if fill.client_order_id is not None})
    return new


def link_and_book(conn: Connection, orders: Iterable[Order]) -> None:
    """Give orders the fills that were there before their venue order id was known, and add up again."""
    by_account: dict[str, list[Order]] = defaultdict(list)
    for order in orders:
        by_account[order.account].append(order)
    for account, some in by_account.items():
        named = [order for order in some if order.venue_order_id is not None]
        if named:
            conn.execute(LINK_BY_VENUE_ORDER, [_owner(order) for order in named])
        _book(conn, account, {order.client_order_id for order in some})


def load_fills(
    conn: Connection, account: str, *, client_order_id: str | None, since: datetime | None, limit: int
) -> list[Fill]:
    """Fills, oldest first; of more than `limit` the newest."""
    t = tables.fills.c
    query = select(*FILL).where(t.account == account).order_by(t.filled_at.desc(), t.number.desc()).limit(limit)
    if client_order_id is not None:
        query = query.where(t.client_order_id == client_order_id)
    if since is not None:
        query = query.where(t.filled_at >= since)
    return [Fill(*row) for row in conn.execute(query)][::-1]


def load_strategy_fills(conn: Connection, account: str, since: datetime | None) -> list[tuple[str, Fill]]:
    """(strategy, fill) for the fills of strategies' orders, oldest first."""
    given: dict[str, Any] = {"account": account} if since is None else {"account": account, "since": since}
    query = OF_STRATEGIES if since is None else OF_STRATEGIES_SINCE
    return [(row[0], Fill(*row[1:])) for row in conn.execute(query, given)]


def load_owned_fills(conn: Connection, account: str, since: datetime | None) -> list[tuple[str | None, Fill]]:
    """(strategy, fill) for every fill, None for one of no strategy's order, oldest first."""
    given: dict[str, Any] = {"account": account} if since is None else {"account": account, "since": since}
    return [(row[0], Fill(*row[1:])) for row in conn.execute(OWNED if since is None else OWNED_SINCE, given)]


def count_fills(conn: Connection, account: str) -> FillCounts:
    """How many fills there are."""
    given = {"account": account}
    every, linked = conn.execute(COUNT_ALL, given).one()
    return FillCounts(every, linked, conn.scalar(COUNT_OF_STRATEGIES, given) or 0)


def _key(fill: Fill) -> tuple[str, str]:
    return fill.symbol, fill.trade_id


def _first_by_key(fills: Sequence[Fill]) -> list[Fill]:
    first: dict[tuple[str, str], Fill] = {}
    for fill in fills:
        first.setdefault(_key(fill), fill)
    return list(first.values())


def _seen(conn: Connection, account: str, fills: Sequence[Fill]) -> set[tuple[str, str]]:
    """Which of them are stored."""
    trade_ids = sorted({fill.trade_id for fill in fills})
    return {
        (row.symbol, row.trade_id)
        for some in chunks(trade_ids)
        for row in conn.execute(SEEN, {"account": account, "trade_ids": some})
    }


def _owner(order: Order) -> dict[str, Any]:
    return {
        "of_account": order.account,
        "of_symbol": order.symbol,
        "of_order": order.venue_order_id,
        "owner": order.client_order_id,
    }


def _linked(conn: Connection, account: str, fills: Sequence[Fill]) -> list[Fill]:
    """The fills, with the client order id where only the venue's id came along and we know the order."""
    wanted = {fill.venue_order_id for fill in fills if fill.client_order_id is None}
    owners: dict[tuple[str, str], str] = {}
    for some in chunks(sorted(wanted)):
        for row in conn.execute(OWNERS, {"account": account, "venue_order_ids": some}):
            owners[row.symbol, row.venue_order_id] = row.client_order_id
    return [
        fill
        if fill.client_order_id is not None
        else replace(fill, client_order_id=owners.get((fill.symbol, fill.venue_order_id)))
        for fill in fills
    ]


def _link_seen_before(conn: Connection, account: str, fills: Iterable[Fill]) -> None:
    rows = [
        {"of_account": account, "of_symbol": fill.symbol, "of_trade": fill.trade_id, "owner": fill.client_order_id}
        for fill in fills
        if fill.client_order_id is not None
    ]
    if rows:
        conn.execute(LINK_BY_TRADE, rows)


def _book(conn: Connection, account: str, client_order_ids: Iterable[str]) -> None:
    """Write the sum of each order's fills beside what the venue says is filled, exactly: SQL cannot add text."""
    rows: list[dict[str, Any]] = []
    for some in chunks(sorted(client_order_ids)):
        mine = {"account": account, "client_order_ids": some}
        # The orders first, and locked: whoever comes second on PostgreSQL adds up after the first has committed.
        orders = conn.execute(BOOKINGS, mine).all()
        booked: dict[str, Decimal] = defaultdict(Decimal)
        for owner, quantity in conn.execute(QUANTITIES, mine) if orders else ():
            booked[owner] += quantity
        for row in orders:
            total = booked[row.client_order_id]
            short = row.filled_quantity > total
            if (row.booked_quantity, row.is_short) != (total, short):
                rows.append({"which": row.client_order_id, "booked": total, "short": short})
    if rows:
        conn.execute(BOOK, rows)
