"""Orders as people read them on a phone."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.notify.repeats import Repeats
from kontor.notify.trades import order_alert, plain

AT = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order(
    "kabc0001",
    "paper",
    "BTC/USD:USD",
    Side.BUY,
    OrderType.LIMIT,
    Decimal("0.100"),
    AT,
    price=Decimal(64000),
    strategy="sma",
    state=OrderState.FILLED,
    filled_quantity=Decimal("0.1"),
    average_price=Decimal("63999.50"),
)


def test_a_fill_tells_symbol_price_quantity_strategy_account_and_mode() -> None:
    """What behaviour 28 asks for, in one alert."""
    alert = order_alert(ORDER, AT, mode="live")
    assert (alert.title, alert.severity, alert.side) == ("Filled: buy 0.1 BTC/USD:USD", "info", "buy")
    assert (alert.account, alert.at) == ("paper", AT)
    assert dict(alert.fields) == {
        "Symbol": "BTC/USD:USD",
        "Side": "buy",
        "Quantity": "0.1",
        "Price": "63999.5",
        "Strategy": "sma",
        "Mode": "live",
        "Order": "kabc0001",
    }


def test_a_partial_fill_says_how_much_of_how_much() -> None:
    """A canceled order with a fill is a position."""
    order = replace(ORDER, state=OrderState.CANCELED, filled_quantity=Decimal("0.04"))
    assert dict(order_alert(order, AT).fields)["Quantity"] == "0.04 of 0.1"


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.DENIED])
def test_a_refusal_is_a_warning_with_its_reason_and_not_a_green_buy(state: OrderState) -> None:
    """Green would be read as bought."""
    alert = order_alert(replace(ORDER, state=state, reason="insufficient funds"), AT)
    assert (alert.severity, alert.side, alert.text) == ("warning", None, "insufficient funds")


def test_two_orders_with_an_unknown_outcome_are_two_critical_alerts() -> None:
    """Each of them has to be looked up at the venue."""
    first = replace(ORDER, state=OrderState.SUBMITTED, unknown_since=AT)
    alerts = [order_alert(order, AT) for order in (first, replace(first, client_order_id="kabc0002"))]
    assert [alert.severity for alert in alerts] == ["critical", "critical"]
    repeats = Repeats()
    assert all(repeats.admit(alert, 0) for alert in alerts)


def test_a_market_order_has_no_price_before_its_fill() -> None:
    """An empty field would make Discord refuse the message."""
    order = replace(ORDER, state=OrderState.ACCEPTED, price=None, average_price=None, strategy=None)
    fields = dict(order_alert(order, AT).fields)
    assert fields["Price"] == "market"
    assert "Strategy" not in fields


@pytest.mark.parametrize(
    ("figure", "text"), [("1E+3", "1000"), ("0.10", "0.1"), ("100", "100"), ("1E-8", "0.00000001"), ("5.00", "5")]
)
def test_figures_are_written_as_people_write_them(figure: str, text: str) -> None:
    """1E+3 is not a quantity anybody trades."""
    assert plain(Decimal(figure)) == text
