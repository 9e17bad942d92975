"""Orders as alerts: what happened, to which order, at what price, for which strategy."""

from datetime import datetime
from decimal import Decimal

from kontor.domain.order import Order, OrderState
from kontor.ports import Alert

_WORDS = {
    OrderState.DENIED: "Denied",
    OrderState.ACCEPTED: "Accepted",
    OrderState.PARTIALLY_FILLED: "Partly filled",
    OrderState.FILLED: "Filled",
    OrderState.CANCELED: "Canceled",
    OrderState.EXPIRED: "Expired",
    OrderState.REJECTED: "Rejected",
}
_TROUBLE = {OrderState.DENIED, OrderState.REJECTED}


def order_alert(order: Order, at: datetime, *, mode: str = "paper") -> Alert:
    """The alert for an order as it stands now: green or red by its side, unless it is in trouble.

    An order whose outcome nobody knows is critical; one that was refused, by us or by the venue, is a warning.
    """
    unknown = order.unknown_since is not None
    in_trouble = unknown or order.state in _TROUBLE
    word = "Outcome unknown" if unknown else _WORDS.get(order.state, order.state.value.capitalize())
    fields = (
        ("Symbol", order.symbol),
        ("Side", order.side.value),
        ("Quantity", _quantity(order)),
        ("Price", _price(order)),
        ("Strategy", order.strategy or ""),
        ("Mode", mode),
        ("Order", order.client_order_id),
    )
    return Alert(
        title=f"{word}: {order.side.value} {plain(order.quantity)} {order.symbol}",
        text=order.reason or "",
        severity="critical" if unknown else "warning" if in_trouble else "info",
        at=at,
        account=order.account,
        fields=tuple((name, value) for name, value in fields if value),
        side=None if in_trouble else order.side.value,
        event="order.unknown" if unknown else f"order.{order.state.value.lower()}",
    )


def plain(figure: Decimal) -> str:
    """A figure as people write it: no exponent, no zeros at its end."""
    text = f"{figure:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _quantity(order: Order) -> str:
    if order.filled_quantity in (0, order.quantity):
        return plain(order.quantity)
    return f"{plain(order.filled_quantity)} of {plain(order.quantity)}"


def _price(order: Order) -> str:
    price = order.average_price or order.price
    return plain(price) if price is not None else "market"
