"""The order queue on a SQL database: orders, their history, and who may change what."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select

from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.ports import DueOrders, FillCounts, HistoryMark, News
from kontor.store import fills as booking
from kontor.store.database import Database
from kontor.store.desk import load_attribute
from kontor.store.order_queries import (
    BY_VENUE_ORDER_ID,
    COUNTS,
    EVENTS,
    FENCING,
    IN_HAND,
    LAST_EVENT,
    LAST_FILL,
    NEW_FILLS,
    NEWS,
    PENDING,
    SHORT,
    find,
)
from kontor.store.order_writes import OrderWrites, load
from kontor.store.ordering import (
    CANCEL_REQUESTED,
    Change,
    Note,
    check_fencing,
    check_ids,
    is_to_be_canceled,
    lease_name,
    with_cancel_requested,
)
from kontor.store.rows import chunks


class SqlOrderQueue:
    """The OrderQueue port on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writes = OrderWrites(database)

    async def enqueue(self, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Commit new orders; one whose client_order_id is known is returned as stored and changes nothing."""
        if not orders:
            return []
        return await self._database.write(lambda conn: self._writes.enqueue(conn, orders, actor))

    async def pending(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """INITIALIZED orders by priority and age, at most the first one per symbol; see the port."""
        await self._database.watch(account)
        return await self._orders(PENDING, account=account, limit=limit)

    async def due(self, account: str, *, limit: int = 100, attribute: str | None = None) -> DueOrders:
        """Everything an executor has to look at, in one consistent reading."""
        await self._database.watch(account)
        mine = {"account": account}

        def work(conn: Connection) -> DueOrders:
            in_hand = _read(conn, IN_HAND, mine)
            return DueOrders(
                pending=_read(conn, PENDING, {**mine, "limit": limit}),
                submitted=[order for order in in_hand if order.state is OrderState.SUBMITTED],
                to_cancel=[order for order in in_hand if is_to_be_canceled(order)],
                attribute=None if attribute is None else load_attribute(conn, account, attribute),
            )

        return await self._database.read(work)

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
            self._writes.one_at_a_time(conn, (old for old, _ in changes))
            if fencing is not None:
                _check_fencing(conn, {old.account for old, _ in changes}, fencing)
            return self._writes.record(conn, changes, note)

        return await self._database.write(work)

    async def request_cancel(self, client_order_ids: Sequence[str], *, actor: str, at: datetime) -> Sequence[Order]:
        """Durably ask for cancels; the orders as they are now, unknown ids left out."""
        if not client_order_ids:
            return []
        note = Note(actor, at, CANCEL_REQUESTED)

        def work(conn: Connection) -> Sequence[Order]:
            self._writes.one_at_a_time(conn, load(conn, client_order_ids).values())
            stored = load(conn, client_order_ids, lock=True)
            after = {name: with_cancel_requested(order, at) for name, order in stored.items()}
            self._writes.record(conn, [(stored[name], new) for name, new in after.items() if new != stored[name]], note)
            return [after[name] for name in dict.fromkeys(client_order_ids) if name in after]

        return await self._database.write(work)

    async def get(self, client_order_id: str) -> Order | None:
        """One order by our id."""
        found = await self._database.read(lambda conn: load(conn, [client_order_id]))
        return found.get(client_order_id)

    async def find(
        self,
        account: str,
        *,
        states: Collection[OrderState] | None = None,
        symbol: str | None = None,
        since: datetime | None = None,
        cancel_requested: bool = False,
        limit: int = 1000,
    ) -> Sequence[Order]:
        """Orders made at or after `since`, newest first."""
        given = {"states": None if states is None else list(states), "symbol": symbol, "since": since}
        named = {name: value for name, value in given.items() if value is not None}
        query = find(frozenset(named), cancel_requested=cancel_requested)
        return await self._orders(query, account=account, limit=limit, **named)

    async def by_venue_order_id(
        self, account: str, venue_order_ids: Collection[str]
    ) -> Mapping[tuple[str, str], Order]:
        """Orders by symbol and the venue's id; where an id came twice, the newer order."""
        found: dict[tuple[str, str], Order] = {}
        for some in chunks(sorted(set(venue_order_ids))):
            for order in await self._orders(BY_VENUE_ORDER_ID, account=account, venue_order_ids=some):
                found[order.symbol, order.venue_order_id or ""] = order
        return found

    async def counts(self, account: str) -> Mapping[OrderState, int]:
        """How many orders are in each state; a state without any is left out."""
        rows = await self._database.read(lambda conn: conn.execute(COUNTS, {"account": account}).tuples().all())
        return dict(rows)

    async def events(self, client_order_id: str) -> Sequence[OrderEvent]:
        """An order's history, oldest first."""
        rows = await self._database.read(lambda conn: conn.execute(EVENTS, {"which": client_order_id}).all())
        return [OrderEvent(*row) for row in rows]

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

    async def strategy_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Every fill of an order that a strategy placed, with the strategy's name, oldest first."""
        return await self._database.read(lambda conn: booking.load_strategy_fills(conn, account, since))

    async def owned_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str | None, Fill]]:
        """Every fill with the strategy of its order, None where that is nobody's, oldest first."""
        return await self._database.read(lambda conn: booking.load_owned_fills(conn, account, since))

    async def count_fills(self, account: str) -> FillCounts:
        """How many fills there are."""
        return await self._database.read(lambda conn: booking.count_fills(conn, account))

    async def short_of_fills(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """Orders whose recorded fills sum to less than their filled quantity, oldest first."""
        return await self._orders(SHORT, account=account, limit=limit)

    async def history_end(self, account: str) -> HistoryMark:
        """Where the history ends now."""

        def work(conn: Connection) -> HistoryMark:
            given = {"account": account}
            return HistoryMark(conn.scalar(LAST_EVENT, given) or 0, conn.scalar(LAST_FILL, given) or 0)

        return await self._database.read(work)

    async def news(self, account: str, since: HistoryMark, *, limit: int = 200) -> News:
        """What was committed after `since`; numbers of one account grow in the order of commits, see `serialize`."""

        def work(conn: Connection) -> News:
            given = {"account": account, "limit": limit}
            events = conn.execute(NEWS, {**given, "since": since.event}).all()
            fills = conn.execute(NEW_FILLS, {**given, "since": since.fill}).all()
            width = 1 + len(fields(OrderEvent))
            return News(
                [(OrderEvent(*row[1:width]), Order(*row[width:])) for row in events],
                [Fill(*row[1:]) for row in fills],
                HistoryMark(events[-1][0] if events else since.event, fills[-1][0] if fills else since.fill),
            )

        return await self._database.read(work)

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as any process has committed an order, cancel request or fill; False after `seconds`.

        What was committed since the last True counts too, so nothing is missed between two calls.
        """
        return await self._database.wait_for_change(account, seconds=seconds)

    async def _orders(self, query: Select[Any], **given: Any) -> Sequence[Order]:
        return await self._database.read(lambda conn: _read(conn, query, given))


def _read(conn: Connection, query: Select[Any], given: Mapping[str, Any]) -> list[Order]:
    return [Order(*row) for row in conn.execute(query, given)]


def _check_fencing(conn: Connection, accounts: Iterable[str], fencing: int) -> None:
    by_name = {lease_name(account): account for account in accounts}
    for name, newest in conn.execute(FENCING, {"names": list(by_name)}):
        check_fencing(by_name[name], fencing, newest)
