"""The order queue on a SQL database: orders, their history, and who may change what."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, select, update

from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.store import fills as booking
from kontor.store import tables
from kontor.store.database import Database
from kontor.store.ordering import (
    CANCEL_REQUESTED,
    Change,
    Note,
    check_fencing,
    check_ids,
    event_of,
    lease_name,
    still_applies,
    with_cancel_requested,
)
from kontor.store.rows import chunks, columns_of, insert, values_of

ORDER = columns_of(tables.orders, Order)
EVENT = columns_of(tables.order_events, OrderEvent)
FIXED = ("client_order_id", "account")
# In the order they were wanted: what goes first, then what came first.
BY_AGE = (tables.orders.c.priority, tables.orders.c.created_at, tables.orders.c.number)

UPDATE = update(tables.orders).where(tables.orders.c.client_order_id == bindparam("which"))


class SqlOrderQueue:
    """The OrderQueue port on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enqueue(self, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Commit new orders; one whose client_order_id is known is returned as stored and changes nothing."""
        if not orders:
            return []
        return await self._database.write(lambda conn: self._enqueue(conn, orders, actor))

    async def pending(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """INITIALIZED orders by priority and age, at most the first one per symbol; see the port."""
        await self._database.watch(account)
        return await self._orders(_pending(account).limit(limit))

    async def record(
        self,
        changes: Sequence[Change],
        *,
        actor: str,
        at: datetime,
        detail: str = "",
        fencing: int | None = None,
    ) -> Sequence[bool]:
        """Commit (old, new) pairs with their events in one transaction; see the port."""
        check_ids(changes)
        if not changes:
            return []
        note = Note(actor, at, detail)

        def work(conn: Connection) -> Sequence[bool]:
            self._one_at_a_time(conn, (old for old, _ in changes))
            if fencing is not None:
                _check_fencing(conn, {old.account for old, _ in changes}, fencing)
            return self._record(conn, changes, note)

        return await self._database.write(work)

    async def request_cancel(self, client_order_ids: Sequence[str], *, actor: str, at: datetime) -> Sequence[Order]:
        """Durably ask for cancels; the orders as they are now, unknown ids left out."""
        if not client_order_ids:
            return []
        note = Note(actor, at, CANCEL_REQUESTED)

        def work(conn: Connection) -> Sequence[Order]:
            stored = _load(conn, client_order_ids, lock=True)
            after = {name: with_cancel_requested(order, at) for name, order in stored.items()}
            self._record(conn, [(stored[name], new) for name, new in after.items() if new != stored[name]], note)
            return [after[name] for name in dict.fromkeys(client_order_ids) if name in after]

        return await self._database.write(work)

    async def get(self, client_order_id: str) -> Order | None:
        """One order by our id."""
        found = await self._database.read(lambda conn: _load(conn, [client_order_id]))
        return found.get(client_order_id)

    async def find(
        self,
        account: str,
        *,
        states: Collection[OrderState] | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
    ) -> Sequence[Order]:
        """Orders made at or after `since`, newest first."""
        t = tables.orders.c
        query = select(*ORDER).where(t.account == account)
        query = query.order_by(t.created_at.desc(), t.number.desc()).limit(limit)
        if states is not None:
            query = query.where(t.state.in_(states))
        if symbol is not None:
            query = query.where(t.symbol == symbol)
        if since is not None:
            query = query.where(t.created_at >= since)
        return await self._orders(query)

    async def by_venue_order_id(self, account: str, venue_order_ids: Collection[str]) -> Mapping[str, Order]:
        """Orders by the venue's id; where two markets share an id, the newer order."""
        t = tables.orders.c
        query = select(*ORDER).where(t.account == account).order_by(t.created_at, t.number)
        queries = [query.where(t.venue_order_id.in_(some)) for some in chunks(sorted(set(venue_order_ids)))]
        rows = await self._database.read(lambda conn: [row for each in queries for row in conn.execute(each)])
        return {row.venue_order_id: Order(*row) for row in rows}

    async def counts(self, account: str) -> Mapping[OrderState, int]:
        """How many orders are in each state; a state without any is left out."""
        t = tables.orders.c
        query = select(t.state, func.count()).where(t.account == account).group_by(t.state)
        rows = await self._database.read(lambda conn: conn.execute(query).all())
        return {state: count for state, count in rows}  # noqa: C416, a Row is no pair for the type checker

    async def events(self, client_order_id: str) -> Sequence[OrderEvent]:
        """An order's history, oldest first."""
        t = tables.order_events.c
        query = select(*EVENT).where(t.client_order_id == client_order_id).order_by(t.number)
        return [OrderEvent(*row) for row in await self._database.read(lambda conn: conn.execute(query).all())]

    async def save_fills(self, account: str, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Commit fills by trade id; returns those that were new, with the client order id where it is known."""
        if not fills:
            return []

        def work(conn: Connection) -> Sequence[Fill]:
            self._database.serialize(conn, "orders", account)
            new = booking.save_fills(conn, account, fills)
            if new:
                self._database.announce(conn, account)
            return new

        return await self._database.write(work)

    async def fills(
        self, account: str, *, client_order_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Fill]:
        """Fills, oldest first; of more than `limit` the newest."""
        return await self._database.read(
            lambda conn: booking.load_fills(conn, account, client_order_id=client_order_id, since=since, limit=limit)
        )

    async def short_of_fills(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """Orders whose recorded fills sum to less than their filled quantity, oldest first."""
        t = tables.orders.c
        query = select(*ORDER).where(t.account == account, t.is_short.is_(True))
        return await self._orders(query.order_by(t.created_at, t.number).limit(limit))

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as any process has committed an order, cancel request or fill; False after `seconds`.

        What was committed since the last True counts too, so nothing is missed between two calls.
        """
        return await self._database.wait_for_change(account, seconds=seconds)

    async def _orders(self, query: Select[Any]) -> Sequence[Order]:
        return [Order(*row) for row in await self._database.read(lambda conn: conn.execute(query).all())]

    def _enqueue(self, conn: Connection, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        self._one_at_a_time(conn, orders)
        statement = insert(conn, tables.orders).on_conflict_do_nothing(index_elements=["client_order_id"])
        rows = [{**values_of(order), "booked_quantity": Decimal(0), "is_short": False} for order in orders]
        t = tables.orders.c
        new_ids = set(conn.execute(statement.returning(t.client_order_id), rows).scalars())
        stored = _load(conn, [order.client_order_id for order in orders])
        new = [order for name, order in stored.items() if name in new_ids]
        if new:
            _append(conn, [event_of(None, order, Note(actor, order.created_at)) for order in new])
            booking.link_and_book(conn, new)
            self._announce(conn, new)
        return [stored[order.client_order_id] for order in orders]

    def _record(self, conn: Connection, changes: Sequence[Change], note: Note) -> Sequence[bool]:
        current = _load(conn, [old.client_order_id for old, _ in changes], lock=True)
        bookings = {name: _booking(order) for name, order in current.items()}
        answers: list[bool] = []
        events: list[OrderEvent] = []
        for old, new in changes:
            stored = current.get(old.client_order_id)
            applies = stored is not None and still_applies(stored, old)
            answers.append(applies)
            if applies:
                current[new.client_order_id] = new
                events.append(event_of(old, new, note))
        written = [current[name] for name in dict.fromkeys(event.client_order_id for event in events)]
        if written:
            conn.execute(UPDATE, [{**values_of(new, without=FIXED), "which": new.client_order_id} for new in written])
            _append(conn, events)
            booking.link_and_book(
                conn, [order for order in written if _booking(order) != bookings[order.client_order_id]]
            )
            self._announce(conn, written)
        return answers

    def _one_at_a_time(self, conn: Connection, orders: Iterable[Order]) -> None:
        """Fills and orders of an account are linked and added up: that wants one writer at a time."""
        for account in sorted({order.account for order in orders}):
            self._database.serialize(conn, "orders", account)

    def _announce(self, conn: Connection, orders: Iterable[Order]) -> None:
        for account in sorted({order.account for order in orders}):
            self._database.announce(conn, account)


def _booking(order: Order) -> tuple[str | None, Decimal]:
    return order.venue_order_id, order.filled_quantity


def _pending(account: str) -> Select[Any]:
    t = tables.orders.c
    unknown = select(t.symbol).where(
        t.account == account, t.state == OrderState.SUBMITTED, t.unknown_since.is_not(None)
    )
    place = func.row_number().over(partition_by=t.symbol, order_by=BY_AGE).label("place")
    first = (
        select(t.number, place)
        .where(
            t.account == account,
            t.state == OrderState.INITIALIZED,
            t.cancel_requested_at.is_(None),
            t.symbol.not_in(unknown),
        )
        .subquery()
    )
    is_first = and_(first.c.number == t.number, first.c.place == 1)
    return select(*ORDER).join_from(first, tables.orders, is_first).order_by(*BY_AGE)


def _check_fencing(conn: Connection, accounts: Iterable[str], fencing: int) -> None:
    t = tables.leases.c
    by_name = {lease_name(account): account for account in accounts}
    # Locked in shared mode: a takeover that has not committed yet waits until this transaction has.
    query = select(t.name, t.fencing).where(t.name.in_(by_name)).with_for_update(read=True)
    for name, newest in conn.execute(query):
        check_fencing(by_name[name], fencing, newest)


def _load(conn: Connection, client_order_ids: Iterable[str], *, lock: bool = False) -> dict[str, Order]:
    found: dict[str, Order] = {}
    t = tables.orders.c
    for some in chunks(list(dict.fromkeys(client_order_ids))):
        # One order of locking for everybody, so that two transactions cannot wait for each other.
        query = select(*ORDER).where(t.client_order_id.in_(some)).order_by(t.number)
        rows = conn.execute(query.with_for_update() if lock else query)
        found |= {row.client_order_id: Order(*row) for row in rows}
    return found


def _append(conn: Connection, events: Sequence[OrderEvent]) -> None:
    conn.execute(insert(conn, tables.order_events), [values_of(event) for event in events])
