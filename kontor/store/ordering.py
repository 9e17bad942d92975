"""What the queue decides without looking at a database: whether a change still applies, and what it leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kontor.domain.order import CANCELABLE, FINISHED, Order, OrderEvent, OrderState, advance
from kontor.errors import LeaseLost

CANCELED_UNSENT = "canceled before it was sent"
CANCEL_REQUESTED = "cancel requested"

Change = tuple[Order, Order]


@dataclass(frozen=True, slots=True)
class Note:
    """Who made a change, when, and why."""

    actor: str
    at: datetime
    detail: str = ""


def still_applies(stored: Order, old: Order) -> bool:
    """Whether nobody has changed the order since `old` was read, as far as decisions depend on it."""
    return _decisive(stored) == _decisive(old)


def check_ids(changes: Sequence[Change]) -> None:
    """A pair is one order before and after; anything else is a mistake of the caller."""
    for old, new in changes:
        if (old.client_order_id, old.account) != (new.client_order_id, new.account):
            raise ValueError(
                f"order {old.client_order_id}: a change to {new.client_order_id} is no change of one order"
            )


def event_of(old: Order | None, new: Order, note: Note) -> OrderEvent:
    """The line of history for a change; without a detail, a new reason is one."""
    detail = note.detail
    if not detail and new.reason and (old is None or new.reason != old.reason):
        detail = new.reason
    return OrderEvent(new.client_order_id, note.at, old.state if old else None, new.state, note.actor, detail)


def with_cancel_requested(order: Order, at: datetime) -> Order:
    """The order after a wish to cancel it; the same order when there is nothing more to wish."""
    if order.state is OrderState.INITIALIZED:
        return advance(order, OrderState.CANCELED, at, cancel_requested_at=at, reason=CANCELED_UNSENT)
    if order.state in FINISHED or order.cancel_requested_at is not None:
        return order
    return replace(order, cancel_requested_at=at, updated_at=at)


def is_to_be_canceled(order: Order) -> bool:
    """Whether somebody has asked for the cancel of an order that is live at the venue."""
    return order.state in CANCELABLE and order.cancel_requested_at is not None


def lease_name(account: str) -> str:
    """The lease that whoever executes this account's orders must hold."""
    return f"executor:{account}"


def check_fencing(account: str, held: int, newest: int | None) -> None:
    """Raise LeaseLost when somebody has had the executor's lease after the holder of number `held`."""
    if newest is not None and newest > held:
        raise LeaseLost(
            f"lease {lease_name(account)}: number {held} is over, {newest} is the newest: stop at once, write nothing"
        )


def _decisive(order: Order) -> tuple[object, ...]:
    return (order.state, order.filled_quantity, order.attempts, order.unknown_since, order.cancel_requested_at)
