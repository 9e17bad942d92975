"""Orders written within a transaction, each with its line of history."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import Connection, insert

from kontor.domain.order import Order, OrderEvent
from kontor.store import fills as booking
from kontor.store.database import Database
from kontor.store.order_queries import INSERT_NEW, LOADED, LOCKED, TOLD, UPDATE
from kontor.store.ordering import Change, Note, event_of, still_applies
from kontor.store.rows import chunks, values_of
from kontor.store.tables import orders as tables

FIXED = ("client_order_id", "account")
UNBOOKED = {"booked_quantity": Decimal(0), "is_short": False}


class OrderWrites:
    """What the queue does to orders on a connection that the database gave it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enqueue(self, conn: Connection, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Write those that are new, with the first line of their history; returns all of them as stored."""
        self.one_at_a_time(conn, orders)
        first: dict[str, Order] = {}
        for order in orders:
            first.setdefault(order.client_order_id, order)
        rows = [{**values_of(order), **UNBOOKED} for order in first.values()]
        if conn.execute(INSERT_NEW, rows).rowcount == len(rows):
            stored, new = first, list(first.values())
        else:
            # Some were known, or the driver does not count. Only those of this moment have no history yet.
            stored = load(conn, first)
            told = {name for some in chunks(list(first)) for name in conn.execute(TOLD, {"names": some}).scalars()}
            new = [order for name, order in stored.items() if name not in told]
        if new:
            _append(conn, [event_of(None, order, Note(actor, order.created_at)) for order in new])
            booking.link_and_book(conn, [order for order in new if _booking(order) != (None, 0)])
            self._announce(conn, new)
        return [stored[order.client_order_id] for order in orders]

    def record(self, conn: Connection, changes: Sequence[Change], note: Note) -> Sequence[bool]:
        """Write the (old, new) pairs that still apply; returns for each whether it did."""
        current = load(conn, [old.client_order_id for old, _ in changes], lock=True)
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

    def one_at_a_time(self, conn: Connection, orders: Iterable[Order]) -> None:
        """Fills and orders of an account are linked and added up: that wants one writer at a time."""
        for account in sorted({order.account for order in orders}):
            self._database.serialize(conn, "orders", account)

    def _announce(self, conn: Connection, orders: Iterable[Order]) -> None:
        for account in sorted({order.account for order in orders}):
            self._database.announce(conn, account)


def load(conn: Connection, client_order_ids: Iterable[str], *, lock: bool = False) -> dict[str, Order]:
    """Orders by our id, as they are stored; `lock` holds them until the transaction ends."""
    found: dict[str, Order] = {}
    for some in chunks(list(dict.fromkeys(client_order_ids))):
        for row in conn.execute(LOCKED if lock else LOADED, {"client_order_ids": some}):
            found[row.client_order_id] = Order(*row)
    return found


def _booking(order: Order) -> tuple[str | None, Decimal]:
    return order.venue_order_id, order.filled_quantity


def _append(conn: Connection, events: Sequence[OrderEvent]) -> None:
    conn.execute(insert(tables.order_events), [values_of(event) for event in events])
