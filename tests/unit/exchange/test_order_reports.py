"""Orders on their way in: fills are believed before words."""

import logging
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.market import Market
from kontor.domain.order import Order, OrderState, OrderType, Side
from kontor.exchange.order_reports import order_state, parse_created, parse_order

from .conftest import NOW

S = OrderState
EPOCH_MS = int(NOW.timestamp() * 1000)


def raw_order(**changes: Any) -> dict[str, Any]:
    """A ccxt order: a limit buy of ten contracts, three of them filled."""
    return {
        "id": "123",
        "clientOrderId": "k1",
        "symbol": "BTC/USD:USD",
        "type": "limit",
        "side": "buy",
        "price": 60000.1,
        "average": 59999.9,
        "amount": 10.0,
        "filled": 3.0,
        "remaining": 7.0,
        "status": "open",
        "timestamp": EPOCH_MS,
        "lastUpdateTimestamp": EPOCH_MS + 5000,
        "reduceOnly": False,
        "info": {},
        **changes,
    }


def test_an_order_comes_back_in_base_currency(swap: Market) -> None:
    """Contracts end at this edge."""
    report = parse_order(raw_order(), swap, NOW)
    assert (report.quantity, report.filled_quantity) == (Decimal("0.1"), Decimal("0.03"))
    assert (report.price, report.average_price) == (Decimal("60000.1"), Decimal("59999.9"))
    assert (report.state, report.side, report.order_type) == (S.PARTIALLY_FILLED, Side.BUY, OrderType.LIMIT)
    assert (report.venue_order_id, report.client_order_id) == ("123", "k1")
    assert (report.created_at, report.at) == (NOW, NOW + timedelta(seconds=5))


@pytest.mark.parametrize(
    ("word", "filled", "state"),
    [
        ("open", 0, S.ACCEPTED),
        ("open", 3, S.PARTIALLY_FILLED),
        ("open", 10, S.FILLED),
        ("canceling", 3, S.PARTIALLY_FILLED),
        ("closed", 10, S.FILLED),
        ("closed", 3, S.CANCELED),
        ("closed", 0, S.CANCELED),
        ("canceled", 0, S.CANCELED),
        ("canceled", 3, S.CANCELED),
        ("canceled", 10, S.FILLED),
        ("expired", 0, S.EXPIRED),
        ("expired", 3, S.EXPIRED),
        ("rejected", 0, S.REJECTED),
        ("rejected", 3, S.CANCELED),
        (None, 0, S.ACCEPTED),
        (None, 3, S.PARTIALLY_FILLED),
        (None, 10, S.FILLED),
    ],
)
def test_every_word_becomes_a_state_that_agrees_with_the_fills(
    word: str | None, filled: int, state: OrderState
) -> None:
    """A partly filled order that was canceled or rejected has still been filled in part."""
    assert order_state(word, Decimal(10), Decimal(filled)) is state


def test_an_unknown_word_is_said_and_the_fills_decide(caplog: pytest.LogCaptureFixture) -> None:
    """It must neither crash nor pass unnoticed."""
    with caplog.at_level(logging.WARNING):
        assert order_state("effective", Decimal(10), Decimal(3)) is S.PARTIALLY_FILLED
    assert "effective" in caplog.text


def test_a_canceled_order_keeps_its_partial_fill_and_its_reason(swap: Market) -> None:
    """In the notebook the fill vanished with the status change."""
    raw = raw_order(status="canceled", info={"cancelSourceReason": "Canceled by user", "code": "0"})
    report = parse_order(raw, swap, NOW)
    assert (report.state, report.filled_quantity) == (S.CANCELED, Decimal("0.03"))
    assert (report.average_price, report.reason) == (Decimal("59999.9"), "Canceled by user")


def test_a_market_orders_price_is_not_the_average_ccxt_writes_there(swap: Market) -> None:
    """A market order has no price."""
    report = parse_order(raw_order(type="market", price=59999.9), swap, NOW)
    assert (report.order_type, report.price, report.average_price) == (OrderType.MARKET, None, Decimal("59999.9"))


def test_null_fields_do_not_crash(swap: Market) -> None:
    """Venues leave out what they like."""
    raw = raw_order(price=None, average=None, filled=None, status=None, clientOrderId=None, type=None, info=None)
    raw |= {"lastUpdateTimestamp": None, "timestamp": None, "reduceOnly": None}
    report = parse_order(raw, swap, NOW)
    assert (report.state, report.at, report.created_at) == (S.ACCEPTED, NOW, None)
    assert (report.client_order_id, report.average_price) == (None, None)


def test_an_order_by_cost_has_the_quantity_it_came_to(spot: Market) -> None:
    """Somebody bought by hand for 100 USD: the venue tells no quantity."""
    report = parse_order(raw_order(amount=None, remaining=None, filled=0.25, status="closed"), spot, NOW)
    assert (report.quantity, report.state) == (Decimal("0.25"), S.FILLED)


def test_an_order_without_an_id_is_none(swap: Market) -> None:
    """What has no id cannot be tracked; to pass it on would be to guess."""
    with pytest.raises(KeyError):
        parse_order(raw_order(id=None), swap, NOW)


def test_a_bare_receipt_is_filled_up_from_the_order(swap: Market, make_order: Callable[..., Order]) -> None:
    """Okx answers with two ids and nothing else."""
    raw = raw_order(
        amount=None, filled=None, remaining=None, status=None, side=None, type=None, price=None, average=None
    )
    report = parse_created(raw, make_order(), swap, NOW)
    assert (report.state, report.quantity, report.filled_quantity) == (S.ACCEPTED, Decimal("0.1"), Decimal(0))
    assert (report.price, report.side, report.client_order_id) == (Decimal("60000.1"), Side.BUY, "k1")


@pytest.mark.parametrize("word", ["closed", "canceled", "expired"])
def test_a_receipt_that_ends_an_order_without_its_fills_ends_nothing(
    swap: Market, make_order: Callable[..., Order], word: str
) -> None:
    """How much of it was filled is asked later; FILLED and CANCELED would both be guesses."""
    raw = raw_order(amount=None, filled=None, status=word)
    assert parse_created(raw, make_order(), swap, NOW).state is S.ACCEPTED
    assert parse_created(raw_order(status="closed", filled=10), make_order(), swap, NOW).state is S.FILLED
