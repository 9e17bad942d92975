"""What an answer, or the lack of one, makes of a submitted order: pure decisions, shared by those who ask the venue."""

from dataclasses import replace
from datetime import datetime

from kontor.domain.order import Order, OrderReport, OrderState, advance, apply_report
from kontor.errors import ExchangeError, KontorError, Rejected, Resend

S = OrderState


def submitted(order: Order, at: datetime) -> Order:
    """The order as it is committed before the wire: its outcome is unknown from this moment on."""
    return advance(order, S.SUBMITTED, at, submitted_at=at, unknown_since=at, attempts=order.attempts + 1)


def absent(order: Order, at: datetime) -> Order:
    """The order once the venue is known not to have it: it may go out again, unless that is no longer wanted."""
    if order.state is not S.SUBMITTED:
        return order
    cleared = replace(order, unknown_since=None, submitted_at=None)
    if order.cancel_requested_at is not None:
        return advance(cleared, S.CANCELED, at, reason="canceled before the venue had it")
    if order.good_until is not None and order.good_until <= at:
        return expired(cleared, at)
    return advance(cleared, S.INITIALIZED, at)


def expired(order: Order, at: datetime) -> Order:
    """The order that could not be sent in time."""
    until = f"{order.good_until:%Y-%m-%d %H:%M:%S} UTC" if order.good_until else "its time"
    return advance(order, S.EXPIRED, at, reason=f"not sent before {until}: its price is stale")


def refused(order: Order, error: Rejected, at: datetime) -> Order:
    """The order that the venue looked at and refused."""
    if order.state is not S.SUBMITTED:
        return order
    return advance(order, S.REJECTED, at, reason=str(error), unknown_since=None)


def answered(order: Order, report: OrderReport) -> Order:
    """The order after the venue's own word."""
    return apply_report(order, report)


def is_receipt(order: Order, report: OrderReport) -> bool:
    """Whether a reply to a create names a venue order, and ours: anything else leaves the outcome unknown."""
    return bool(report.venue_order_id) and report.client_order_id in {None, order.client_order_id}


def may_resend(error: BaseException) -> bool:
    """Whether the error proves that the venue did not take the order."""
    return isinstance(error, ExchangeError) and error.resend is Resend.YES


def sentence(error: BaseException) -> str:
    """The error as one line for an order's history."""
    return str(error) if isinstance(error, KontorError) else f"{type(error).__name__}: {error}"
