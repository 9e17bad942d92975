"""Orders on their way out: what the venue could not take is refused here, nothing is changed in silence."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kontor.domain.market import Market
from kontor.domain.order import Order, OrderType, Side, TimeInForce
from kontor.errors import InvalidOrder, NotSupported
from kontor.exchange.order_requests import check_order, expires_at, order_request

from .conftest import NOW, made, raw_market, raw_spot

Maker = Callable[..., Order]
MARKET = OrderType.MARKET


def test_an_order_becomes_contracts_with_our_id(swap: Market, make_order: Maker) -> None:
    """0.1 BTC are ten contracts of 0.01."""
    order = make_order(post_only=True, reduce_only=True)
    check_order(order, swap)
    assert order_request(order, swap, cost_only_buys=False) == {
        "symbol": "BTC/USD:USD",
        "type": "limit",
        "side": "buy",
        "amount": 10.0,
        "price": 60000.1,
        "params": {"clientOrderId": "k1", "postOnly": True, "reduceOnly": True},
    }


def test_a_time_in_force_goes_along_for_limit_orders_only(swap: Market, make_order: Maker) -> None:
    """A market order is immediate anyway; with a time in force okx makes another order type of it."""
    ioc = order_request(make_order(time_in_force=TimeInForce.IOC), swap, cost_only_buys=False)
    assert ioc["params"]["timeInForce"] == "IOC"
    market = order_request(make_order(order_type=MARKET, time_in_force=TimeInForce.IOC), swap, cost_only_buys=False)
    assert market["price"] is None
    assert market["params"] == {"clientOrderId": "k1"}


def test_a_market_buy_by_cost_is_refused_where_the_venue_knows_no_other(spot: Market, make_order: Maker) -> None:
    """The quantity could not be kept, and the operator asked for a quantity."""
    order = make_order("BTC/USD", order_type=MARKET)
    with pytest.raises(NotSupported, match=r"by cost only.*limit order with time in force IOC"):
        order_request(order, spot, cost_only_buys=True)
    assert order_request(order, spot, cost_only_buys=False)["amount"] == 0.1
    sale = make_order("BTC/USD", order_type=MARKET, side=Side.SELL)
    assert order_request(sale, spot, cost_only_buys=True)["side"] == "sell"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"quantity": Decimal("0.015")}, "quantity 0.015 is not a multiple of the venue's step of 0.01 BTC"),
        ({"quantity": Decimal("0.001")}, "quantity 0.001 is below the venue's minimum of 0.01 BTC"),
        ({"quantity": Decimal(11)}, "quantity 11 is above the venue's maximum of 10 BTC"),
        ({"quantity": Decimal(0)}, "quantity 0 is not above zero"),
        ({"quantity": Decimal(-1)}, "quantity -1 is not above zero"),
        ({"price": Decimal("60000.15")}, "price 60000.15 is not a multiple of the venue's step of 0.1 USD"),
        ({"price": Decimal(-1)}, "price -1 is not above zero"),
        ({"price": None}, "a limit order needs a price"),
        ({"order_type": MARKET, "price": Decimal(1)}, "a market order takes no price"),
        ({"order_type": MARKET, "post_only": True}, "post only means a resting limit order"),
        ({"time_in_force": TimeInForce.IOC, "post_only": True}, "post only means a resting limit order"),
        ({"order_type": MARKET, "time_in_force": TimeInForce.FOK}, "a market order cannot be fill-or-kill"),
    ],
)
def test_what_the_venue_could_not_take_is_refused_with_its_figure(
    swap: Market, make_order: Maker, changes: dict[str, Any], sentence: str
) -> None:
    """Before the wire, and without rounding: a rounded quantity is another order."""
    with pytest.raises(InvalidOrder) as caught:
        check_order(make_order(**changes), swap)
    assert str(caught.value) == f"order k1 on BTC/USD:USD: {sentence}"


def test_a_cost_below_the_venues_minimum_is_refused(spot: Market, make_order: Maker) -> None:
    """Ccxt does not enforce it, and the venue's own answer comes a round trip later."""
    with pytest.raises(InvalidOrder, match=r"cost 0\.60+1 is below the venue's minimum of 5 USD"):
        check_order(make_order("BTC/USD", quantity=Decimal("0.00001")), spot)
    check_order(make_order("BTC/USD", quantity=Decimal("0.0001")), spot)
    check_order(make_order("BTC/USD", quantity=Decimal("0.00001"), order_type=MARKET), spot)


def test_reduce_only_on_spot_is_refused(spot: Market, make_order: Maker) -> None:
    """There is nothing to reduce, and a venue would ignore the word."""
    with pytest.raises(InvalidOrder, match="reduce only exists on swaps"):
        check_order(make_order("BTC/USD", reduce_only=True), spot)


def test_a_suspended_market_takes_no_order(make_order: Maker) -> None:
    """Better told here than by an error code."""
    with pytest.raises(InvalidOrder, match="not open for trading"):
        check_order(make_order(), made(raw_market(active=False)))


def test_a_venue_without_a_fixed_step_takes_any_quantity(make_order: Maker) -> None:
    """Nothing is known that could be enforced."""
    market = made(raw_spot(precision={"amount": None, "price": None}, limits={}))
    check_order(make_order("BTC/USD", quantity=Decimal("0.123456789"), price=Decimal("1.23456789")), market)


def test_a_request_expires_when_nobody_waits_any_more_or_its_price_is_stale(make_order: Maker) -> None:
    """A process that was stopped between its check and its send must not order at an old price."""
    patience = timedelta(seconds=10)
    assert expires_at(make_order(), NOW, patience) == NOW + patience
    assert expires_at(make_order(good_until=NOW + timedelta(seconds=3)), NOW, patience) == NOW + timedelta(seconds=3)
    assert expires_at(make_order(good_until=NOW + timedelta(seconds=60)), NOW, patience) == NOW + patience
