"""The order queue in memory: the same rules as on a database, told in plain Python."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from kontor.domain.fill import Fill
from kontor.domain.identity import EXTERNAL
from kontor.domain.order import Order, OrderEvent, OrderState
from kontor.domain.snapshot import Snapshot
from kontor.ports import DueOrders, FillCounts, HistoryMark, News
from kontor.store.changes import Changes
from kontor.store.ordering import (
    CANCEL_REQUESTED,
    Change,
    Note,
    check_fencing,
    check_ids,
    event_of,
    is_to_be_canceled,
    lease_name,
    still_applies,
    with_cancel_requested,
)


class DeskFacts(Protocol):
    """What the queue has to know of the desk."""

    def newest_fencing(self, name: str) -> int | None:
        """The number given out last; None for a lease that nobody has had."""
        ...

    def load_attribute(self, account: str, name: str) -> Snapshot[Any] | None:
        """A value with the moment it was set."""
        ...


class MemoryOrderQueue:
    """The OrderQueue port in memory. Every method runs without an await in between, so each is one transaction."""

    def __init__(self, desk: DeskFacts) -> None:
        self._desk = desk
        # In the order of arrival, which decides between orders of one priority and moment.
        self._orders: dict[str, Order] = {}
        self._events: dict[str, list[OrderEvent]] = {}
        self._history: list[OrderEvent] = []
        self._fills: dict[tuple[str, str, str], Fill] = {}
        self._changes = Changes()

    async def enqueue(self, orders: Sequence[Order], actor: str) -> Sequence[Order]:
        """Store new orders; one whose client_order_id is known is returned as stored and changes nothing."""
        for order in orders:
            if order.client_order_id not in self._orders:
                self._write(None, order, Note(actor, order.created_at))
        return [self._orders[order.client_order_id] for order in orders]

    async def pending(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """INITIALIZED orders by priority and age, at most the first one per symbol; see the port."""
        self._changes.watch(account)
        mine = self._of(account)
        unknown = {o.symbol for o in mine if o.state is OrderState.SUBMITTED and o.unknown_since is not None}
        ready = [
            order
            for order in mine
            if order.state is OrderState.INITIALIZED
            and order.cancel_requested_at is None
            and order.symbol not in unknown
        ]
        firsts: dict[str, Order] = {}
        for order in sorted(ready, key=lambda order: (order.priority, order.created_at)):
            firsts.setdefault(order.symbol, order)
        return list(firsts.values())[:limit]

    async def due(self, account: str, *, limit: int = 100, attribute: str | None = None) -> DueOrders:
        """Everything an executor has to look at."""
        mine = sorted(self._of(account), key=lambda order: (order.priority, order.created_at))
        return DueOrders(
            pending=await self.pending(account, limit=limit),
            submitted=[order for order in mine if order.state is OrderState.SUBMITTED],
            to_cancel=[order for order in mine if is_to_be_canceled(order)],
            attribute=None if attribute is None else self._desk.load_attribute(account, attribute),
        )

    async def record(
        self,
        changes: Sequence[Change],
        *,
        actor: str,
        at: datetime,
        detail: str = "",
        fencing: int | None = None,
    ) -> Sequence[bool]:
        """Store (old, new) pairs with their events, all or, on LeaseLost, nothing; see the port."""
        check_ids(changes)
        if fencing is not None:
            for account in {old.account for old, _ in changes}:
                check_fencing(account, fencing, self._desk.newest_fencing(lease_name(account)))
        return [self._record(old, new, Note(actor, at, detail)) for old, new in changes]

    async def request_cancel(self, client_order_ids: Sequence[str], *, actor: str, at: datetime) -> Sequence[Order]:
        """Ask for cancels; the orders as they are now, unknown ids left out."""
        known = [name for name in dict.fromkeys(client_order_ids) if name in self._orders]
        for name in known:
            old = self._orders[name]
            new = with_cancel_requested(old, at)
            if new != old:
                self._write(old, new, Note(actor, at, CANCEL_REQUESTED))
        return [self._orders[name] for name in known]

    async def get(self, client_order_id: str) -> Order | None:
        """One order by our id."""
        return self._orders.get(client_order_id)

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
        found = [
            order
            for order in self._of(account)
            if (states is None or order.state in states)
            and symbol in {None, order.symbol}
            and (since is None or order.created_at >= since)
            and (order.cancel_requested_at is not None or not cancel_requested)
        ]
        return sorted(found, key=lambda order: order.created_at)[::-1][:limit]

    async def by_venue_order_id(
        self, account: str, venue_order_ids: Collection[str]
    ) -> Mapping[tuple[str, str], Order]:
        """Orders by symbol and the venue's id; where an id came twice, the newer order."""
        wanted = set(venue_order_ids)
        mine = sorted(self._of(account), key=lambda order: order.created_at)
        return {
            (order.symbol, order.venue_order_id): order
            for order in mine
            if order.venue_order_id and order.venue_order_id in wanted
        }

    async def counts(self, account: str) -> Mapping[OrderState, int]:
        """How many orders are in each state; a state without any is left out."""
        counts: dict[OrderState, int] = {}
        for order in self._of(account):
            counts[order.state] = counts.get(order.state, 0) + 1
        return counts

    async def events(self, client_order_id: str) -> Sequence[OrderEvent]:
        """An order's history, oldest first."""
        return list(self._events.get(client_order_id, []))

    async def save_fills(self, account: str, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Store fills by trade id; returns those that were new, with the client order id where it is known."""
        new: list[Fill] = []
        for fill in (self._linked(account, fill) for fill in fills):
            key = account, fill.symbol, fill.trade_id
            stored = self._fills.get(key)
            if stored is None:
                self._fills[key] = fill
                new.append(fill)
            elif stored.client_order_id is None:
                self._fills[key] = replace(stored, client_order_id=fill.client_order_id)
        if new:
            self._changes.advance(account)
        return new

    async def fills(
        self, account: str, *, client_order_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Fill]:
        """Fills, oldest first; of more than `limit` the newest."""
        found = [
            fill
            for (owner, _, _), fill in self._fills.items()
            if owner == account
            and client_order_id in {None, fill.client_order_id}
            and (since is None or fill.filled_at >= since)
        ]
        return sorted(found, key=lambda fill: fill.filled_at)[-limit:] if limit > 0 else []

    async def strategy_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str, Fill]]:
        """Every fill of an order that a strategy placed, with the strategy's name, oldest first."""
        found = [
            (order.strategy, fill)
            for (owner, _, _), fill in self._fills.items()
            if owner == account
            and (since is None or fill.filled_at >= since)
            and (order := self._orders.get(fill.client_order_id or "")) is not None
            and order.strategy not in {None, EXTERNAL}
        ]
        return sorted(((name, fill) for name, fill in found if name), key=lambda pair: pair[1].filled_at)

    async def owned_fills(self, account: str, *, since: datetime | None = None) -> Sequence[tuple[str | None, Fill]]:
        """Every fill with the strategy of its order, None where that is nobody's, oldest first."""
        found = [
            (order.strategy if order is not None and order.strategy != EXTERNAL else None, fill)
            for (owner, _, _), fill in self._fills.items()
            if owner == account and (since is None or fill.filled_at >= since)
            for order in [self._orders.get(fill.client_order_id or "")]
        ]
        return sorted(found, key=lambda pair: pair[1].filled_at)

    async def count_fills(self, account: str) -> FillCounts:
        """How many fills there are."""
        mine = [fill for (owner, _, _), fill in self._fills.items() if owner == account]
        linked = sum(fill.client_order_id is not None for fill in mine)
        return FillCounts(len(mine), linked, len(await self.strategy_fills(account)))

    async def short_of_fills(self, account: str, *, limit: int = 100) -> Sequence[Order]:
        """Orders whose recorded fills sum to less than their filled quantity, oldest first."""
        booked: dict[str | None, Decimal] = {}
        for (owner, _, _), fill in self._fills.items():
            if owner == account:
                booked[fill.client_order_id] = booked.get(fill.client_order_id, Decimal(0)) + fill.quantity
        short = [o for o in self._of(account) if o.filled_quantity > booked.get(o.client_order_id, Decimal(0))]
        return sorted(short, key=lambda order: order.created_at)[:limit]

    async def history_end(self, account: str) -> HistoryMark:
        """Where the history ends now."""
        del account
        return HistoryMark(len(self._history), len(self._fills))

    async def news(self, account: str, since: HistoryMark, *, limit: int = 200) -> News:
        """What was stored after `since`, oldest first."""
        events = [
            (number, event, self._orders[event.client_order_id])
            for number, event in enumerate(self._history[since.event :], since.event + 1)
            if self._orders[event.client_order_id].account == account
        ][:limit]
        fills = [
            (number, fill)
            for number, ((owner, _, _), fill) in enumerate(list(self._fills.items())[since.fill :], since.fill + 1)
            if owner == account
        ][:limit]
        mark = HistoryMark(events[-1][0] if events else since.event, fills[-1][0] if fills else since.fill)
        return News([(event, order) for _, event, order in events], [fill for _, fill in fills], mark)

    async def wait_for_change(self, account: str, *, seconds: float) -> bool:
        """True as soon as an order, cancel request or fill is stored; False after `seconds`."""
        return await self._changes.wait(account, seconds=seconds)

    def close(self) -> None:
        """Let whoever waits go."""
        self._changes.close()

    def _of(self, account: str) -> list[Order]:
        return [order for order in self._orders.values() if order.account == account]

    def _record(self, old: Order, new: Order, note: Note) -> bool:
        stored = self._orders.get(old.client_order_id)
        if stored is None or not still_applies(stored, old):
            return False
        self._write(old, new, note)
        return True

    def _write(self, old: Order | None, new: Order, note: Note) -> None:
        self._orders[new.client_order_id] = new
        event = event_of(old, new, note)
        self._events.setdefault(new.client_order_id, []).append(event)
        self._history.append(event)
        if new.venue_order_id is not None:
            for key, fill in self._fills.items():
                if fill.client_order_id is None and key[0] == new.account:
                    self._fills[key] = self._linked(new.account, fill)
        self._changes.advance(new.account)

    def _linked(self, account: str, fill: Fill) -> Fill:
        if fill.client_order_id is not None:
            return fill
        owners = (
            order.client_order_id
            for order in self._of(account)
            if order.symbol == fill.symbol and order.venue_order_id == fill.venue_order_id
        )
        return replace(fill, client_order_id=next(owners, None))
