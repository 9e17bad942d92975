"""The order: its values, its states, and the one table that says which state may follow which."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from kontor.errors import IllegalTransition


class Side(StrEnum):
    """Buy or sell."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """Limit orders carry a price, market orders do not; a stop rests at the venue and becomes a market order there."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"


class TimeInForce(StrEnum):
    """How long the venue keeps trying."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class OrderState(StrEnum):
    """Where an order stands; DENIED is our own refusal, REJECTED the venue's."""

    INITIALIZED = "INITIALIZED"
    DENIED = "DENIED"
    SUBMITTED = "SUBMITTED"
    ACCEPTED = "ACCEPTED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


S = OrderState

# SUBMITTED -> INITIALIZED is the proof that the venue does not have it. A fill can overtake a cancel or an expiry.
# What the venue reports is a fact, also where we thought that nothing had left (INITIALIZED) or had closed the order on
# our own word (CANCELED, EXPIRED, REJECTED without a venue order id): those may become ACCEPTED; see apply_report.
TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    S.INITIALIZED: frozenset(
        {S.DENIED, S.SUBMITTED, S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}
    ),
    S.DENIED: frozenset(),
    S.SUBMITTED: frozenset(
        {S.INITIALIZED, S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}
    ),
    S.ACCEPTED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED}),
    S.PARTIALLY_FILLED: frozenset({S.PARTIALLY_FILLED, S.FILLED, S.CANCELED, S.EXPIRED}),
    S.CANCELED: frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED}),
    S.EXPIRED: frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED}),
    S.REJECTED: frozenset({S.ACCEPTED, S.PARTIALLY_FILLED, S.FILLED}),
    S.FILLED: frozenset(),
}

# At the venue, or perhaps there: tracked until the venue says otherwise.
LIVE = frozenset({S.SUBMITTED, S.ACCEPTED, S.PARTIALLY_FILLED})
# At the venue by its own word: what a cancel can be asked of it for.
CANCELABLE = frozenset({S.ACCEPTED, S.PARTIALLY_FILLED})
# Wanted or live: what may still change a position.
OPEN = LIVE | {S.INITIALIZED}
FINISHED = frozenset({S.DENIED, S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED})


@dataclass(frozen=True, slots=True)
class Order:
    """One intent to trade, in base currency; `client_order_id` is fixed when it is made and names it forever."""

    client_order_id: str
    account: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    created_at: datetime
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    # Past this moment an unsent order expires instead of being sent at a stale price.
    good_until: datetime | None = None
    # Lower goes first; cancels never wait behind creates.
    priority: int = 100
    strategy: str | None = None
    # Who wanted it: a flow run, a strategy, an operator.
    actor: str = ""
    state: OrderState = OrderState.INITIALIZED
    venue_order_id: str | None = None
    filled_quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    reason: str | None = None
    submitted_at: datetime | None = None
    # Set while nobody knows whether the venue has the order; cleared by the venue's answer.
    unknown_since: datetime | None = None
    cancel_requested_at: datetime | None = None
    attempts: int = 0
    updated_at: datetime | None = None
    # The price at which a stop becomes a market order; of an entry, that of the stop which it brings along.
    trigger_price: Decimal | None = None

    @property
    def is_finished(self) -> bool:
        """No further change is expected (a late fill after a cancel aside)."""
        return self.state in FINISHED

    @property
    def is_stop(self) -> bool:
        """It rests at the venue until a price is reached, and is asked for and canceled as such."""
        return self.order_type is OrderType.STOP

    @property
    def remaining_quantity(self) -> Decimal:
        """What has not been filled."""
        return max(self.quantity - self.filled_quantity, Decimal(0))


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the venue says of one order, by REST or WebSocket, in base currency."""

    symbol: str
    side: Side
    order_type: OrderType
    state: OrderState
    quantity: Decimal
    filled_quantity: Decimal
    venue_order_id: str
    at: datetime
    client_order_id: str | None = None
    price: Decimal | None = None
    average_price: Decimal | None = None
    reduce_only: bool = False
    reason: str | None = None
    created_at: datetime | None = None
    trigger_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One line of an order's history."""

    client_order_id: str
    at: datetime
    old_state: OrderState | None
    new_state: OrderState
    actor: str
    detail: str = ""


def advance(order: Order, state: OrderState, at: datetime, **changes: object) -> Order:
    """The order in its new state; raises IllegalTransition when the table does not allow it."""
    if state not in TRANSITIONS[order.state]:
        raise IllegalTransition(order.client_order_id, order.state, state)
    return replace(order, state=state, updated_at=at, **changes)  # pyright: ignore[reportArgumentType]


def apply_report(order: Order, report: OrderReport) -> Order:
    """The order after a venue report; the same order when the report says nothing new or is older than what is known.

    Reports may come twice and in any order. The filled quantity never goes down, and a state word never overrules it:
    a "canceled" order whose quantity is filled is FILLED.
    """
    filled = max(order.filled_quantity, report.filled_quantity)
    state = _state_after(order, report, filled)
    if state is not order.state and state not in TRANSITIONS[order.state]:
        state = order.state
    return _touched(
        order,
        replace(
            order,
            state=state,
            venue_order_id=report.venue_order_id or order.venue_order_id,
            filled_quantity=filled,
            average_price=_average_after(order, report),
            reason=report.reason or order.reason if state in FINISHED else None,
            unknown_since=None,
        ),
        report.at,
    )


def apply_fills(order: Order, quantity: Decimal, average_price: Decimal, at: datetime) -> Order:
    """The order given the sum and mean price of all its recorded fills; a sum below what is known changes nothing."""
    if quantity < order.filled_quantity or quantity <= 0:
        return order
    state = order.state
    if quantity >= order.quantity:
        state = S.FILLED
    elif quantity > order.filled_quantity or state not in FINISHED:
        state = S.PARTIALLY_FILLED
    if state is not order.state and state not in TRANSITIONS[order.state]:
        state = order.state
    changed = replace(order, state=state, filled_quantity=quantity, average_price=average_price, unknown_since=None)
    return _touched(order, changed, at)


def _touched(order: Order, changed: Order, at: datetime) -> Order:
    if changed == order:
        return order
    return replace(changed, updated_at=max(at, order.updated_at) if order.updated_at else at)


def _average_after(order: Order, report: OrderReport) -> Decimal | None:
    # At equal quantity the known average stays: it may be the exact one, computed from fills.
    if report.filled_quantity > order.filled_quantity or order.average_price is None:
        return report.average_price or order.average_price
    return order.average_price


def _state_after(order: Order, report: OrderReport, filled: Decimal) -> OrderState:
    # A venue may have cut the quantity to its own step; what it holds is what can be filled.
    wanted = min(order.quantity, report.quantity) if report.quantity > 0 else order.quantity
    if filled >= wanted:
        return S.FILLED
    if report.state in _CLOSING:
        return S.CANCELED if report.state is S.REJECTED and filled > 0 else report.state
    if filled > order.filled_quantity:
        return S.PARTIALLY_FILLED
    if order.state in _CLOSING and order.venue_order_id:
        # An open report that the venue's own cancel has overtaken.
        return order.state
    return S.PARTIALLY_FILLED if filled > 0 else S.ACCEPTED


_CLOSING = frozenset({S.CANCELED, S.EXPIRED, S.REJECTED})


def reopen(order: Order, report: OrderReport) -> Order:
    """A closed order that the venue, asked by its id just now, says is open: the venue is right."""
    if order.state not in _CLOSING or report.state in FINISHED:
        return apply_report(order, report)
    return apply_report(replace(order, venue_order_id=None), report)
