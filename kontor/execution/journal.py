"""Recording what becomes of orders: optimistic, decided again when somebody was faster, one log line per transition."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kontor.domain.fill import Fill, total_of
from kontor.domain.order import Order, apply_fills
from kontor.errors import KontorError
from kontor.ports import Clock, OrderQueue

log = logging.getLogger(__name__)

Decide = Callable[[Order], Order]
_TRIES = 20
# Of one order; what the store returns without a limit is a page for people.
MOST_FILLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """A wanted change to one order: `decide` gives its next value from the one that is stored."""

    order: Order
    decide: Decide
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """Records changes in the name of `actor`; with a fencing number only while no newer executor has begun."""

    orders: OrderQueue
    clock: Clock
    actor: str
    fencing: int | None = None

    async def change(self, order: Order, decide: Decide, detail: str = "") -> Order:
        """The order after `decide` was applied to what is stored by now."""
        [changed] = await self.change_all([Change(order, decide, detail)])
        return changed

    async def change_all(self, changes: Sequence[Change]) -> list[Order]:
        """Several at once, one transaction per distinct detail; results in order."""
        results: dict[str, Order] = {}
        open_changes = list(changes)
        for attempt in range(_TRIES):
            wanted = [(change, change.decide(change.order)) for change in open_changes]
            results |= {new.client_order_id: new for _, new in wanted}
            refused = await self._record([(change, new) for change, new in wanted if new != change.order])
            if not refused:
                return [results[change.order.client_order_id] for change in changes]
            open_changes = [await self._read_again(change) for change in refused]
            names = ",".join(change.order.client_order_id for change in refused)
            log.debug("orders changed meanwhile client_order_ids=%s try=%d", names, attempt)
        ids = ", ".join(change.order.client_order_id for change in open_changes)
        raise KontorError(f"orders {ids} changed {_TRIES} times while being recorded; read them and try again")

    async def claim(self, pairs: Sequence[tuple[Order, Order]], detail: str = "") -> list[Order]:
        """Record (old, new) pairs as they are; those that somebody changed meanwhile are left out of the answer."""
        if not pairs:
            return []
        done = await self.orders.record(
            pairs, actor=self.actor, at=self.clock.now(), detail=detail, fencing=self.fencing
        )
        claimed = [pair for pair, ok in zip(pairs, done, strict=True) if ok]
        for old, new in claimed:
            tell(old, new, detail)
        return [new for _, new in claimed]

    async def fills_of(self, order: Order) -> Sequence[Fill]:
        """Every recorded fill of an order, oldest first: a part of them has another sum."""
        return await self.orders.fills(order.account, client_order_id=order.client_order_id, limit=MOST_FILLS)

    async def book_fills(self, order: Order) -> Order:
        """The order with its filled quantity derived from all its recorded fills."""
        fills = await self.fills_of(order)
        quantity, price = total_of(fills)
        if quantity <= Decimal(0):
            return order
        at = max(fill.filled_at for fill in fills)
        return await self.change(order, lambda stored: apply_fills(stored, quantity, price, at), "fills")

    async def _record(self, wanted: list[tuple[Change, Order]]) -> list[Change]:
        refused: list[Change] = []
        for detail in dict.fromkeys(change.detail for change, _ in wanted):
            group = [(change, new) for change, new in wanted if change.detail == detail]
            done = await self.orders.record(
                [(change.order, new) for change, new in group],
                actor=self.actor,
                at=self.clock.now(),
                detail=detail,
                fencing=self.fencing,
            )
            for (change, new), ok in zip(group, done, strict=True):
                if ok:
                    tell(change.order, new, detail)
                else:
                    refused.append(change)
        return refused

    async def _read_again(self, change: Change) -> Change:
        stored = await self.orders.get(change.order.client_order_id)
        if stored is None:
            raise KontorError(f"order {change.order.client_order_id} is not in the store; enqueue it first")
        return Change(stored, change.decide, change.detail)


def tell(old: Order, new: Order, detail: str = "") -> None:
    """One log line for a transition or a growing fill."""
    if new.state is old.state and new.filled_quantity == old.filled_quantity:
        return
    log.info(
        "order %s client_order_id=%s account=%s symbol=%s side=%s quantity=%s filled=%s venue_order_id=%s from=%s%s%s",
        new.state.lower(),
        new.client_order_id,
        new.account,
        new.symbol,
        new.side,
        new.quantity,
        new.filled_quantity,
        new.venue_order_id,
        old.state,
        f" reason={new.reason!r}" if new.reason else "",
        f" detail={detail!r}" if detail else "",
    )
